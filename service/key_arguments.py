"""Keys as the command line takes them: a key's text, or a file or folder that holds it."""

from collections.abc import Sequence
from pathlib import Path

from pipelines.keystore import KeyStore
from verifier.errors import InputError
from verifier.transparency.cosignature import CosignatureVerifier
from verifier.transparency.note import NoteVerifier


def read_vkey(value: str) -> NoteVerifier:
    """Read a log's verifier key, or the file that holds it; ``InputError`` if it is neither."""
    return NoteVerifier.from_vkey(_key_text(value))


def read_witnesses(values: Sequence[str] | None) -> tuple[CosignatureVerifier, ...]:
    """Read witnesses' keys, or the files that hold them; errors as for the log's own."""
    return tuple(CosignatureVerifier.from_vkey(_key_text(value)) for value in values or ())


def open_keys(folder: Path) -> KeyStore:
    """Open a key store that is there; ``InputError`` if there is none, and none is made."""
    if not (folder / "authority.key").is_file():
        raise InputError(f"{folder.name} is no key store: it has no authority.key")
    return KeyStore.open(folder)


def _key_text(value: str) -> str:
    """Return a key's text, out of the file that holds it if it is one."""
    # A key always has a plus sign, and nothing stops a file's name from having one.
    if _is_file(value):
        value = Path(value).read_text("utf-8", errors="replace")
    elif "+" not in value:
        raise InputError(f"{value}: neither a verifier key (name+hex id+base64) nor a file")
    return value.strip()


def _is_file(value: str) -> bool:
    try:
        return Path(value).is_file()
    except OSError:  # longer than a file name may be
        return False
