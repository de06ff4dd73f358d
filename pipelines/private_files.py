"""Secret keys in files that only their owner may read."""

import secrets
from pathlib import Path

from pipelines.durable_files import as_ledger_error, link_new, make_folder, read_ordinary, write_new
from verifier.errors import InputError, LedgerError
from verifier.transparency.cosignature import CosignatureSigner
from verifier.transparency.note import NoteSigner


@as_ledger_error("a secret could not be read or written")
def load_or_create_secret(path: Path, make_text: str) -> str:
    """Return the text of the secret at ``path``, writing ``make_text`` there if it is absent.

    Raises
    ------
    InputError
        If others than the owner may read the file.
    LedgerError
        If it is damaged, or the disk refused.
    """
    make_folder(path.parent, mode=0o700)
    if not path.exists():
        draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
        try:
            write_new(draft, make_text.encode("utf-8") + b"\n", mode=0o600)
            # Linked, not renamed: of two processes that start at once, the first one wins.
            link_new(draft, path)
        finally:
            draft.unlink(missing_ok=True)
    if path.stat().st_mode & 0o077:
        raise InputError(f"{path.name} may be read by others; it must have mode 0600")
    try:
        return read_ordinary(path).decode("utf-8").removesuffix("\n")
    except UnicodeDecodeError:  # not chained: it carries the bytes
        raise LedgerError(f"{path.name} is damaged: it is not text") from None


def load_or_create_signer(path: Path, origin: str) -> NoteSigner:
    """Return the log's signing key, making one for ``origin`` if the file is absent.

    Raises
    ------
    InputError
        If others may read the file, or its key is named after another log.
    """
    signer = NoteSigner.from_text(
        load_or_create_secret(path, NoteSigner.generate(origin).private_text())
    )
    if signer.verifier.name != origin:
        raise InputError(f"the key in {path.name} belongs to {signer.verifier.name}, not {origin}")
    return signer


def create_cosigner(path: Path, name: str) -> CosignatureSigner:
    """Make a witness's key and keep it at ``path``.

    Raises
    ------
    InputError
        If there is one already: a witness that gets another key is another witness.
    LedgerError
        If the disk refused.
    """
    if path.exists():
        raise InputError(f"{path.name} exists already; a witness keeps its key")
    fresh = CosignatureSigner.generate(name)
    return CosignatureSigner.from_text(load_or_create_secret(path, fresh.private_text()))


def load_cosigner(path: Path) -> CosignatureSigner:
    """Return a witness's key.

    Raises
    ------
    InputError
        If there is none, or others may read it.
    LedgerError
        If the disk refused.
    """
    if not path.is_file():
        raise InputError(f"{path.parent.name} holds no {path.name}: run `zhenxue witness init`")
    return CosignatureSigner.from_text(load_or_create_secret(path, ""))
