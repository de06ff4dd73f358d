"""Data keys: one for each learner and class, never in the clear, destroyable."""

import os
from pathlib import Path

import pytest

from pipelines.keystore import KeyStore, RecordClass
from pipelines.private_files import load_or_create_secret, load_or_create_signer
from verifier.errors import InputError, LedgerError, UnknownSubjectError, WrongKeyError

FACE, MONEY = RecordClass.FACE_EVIDENCE, RecordClass.MONEY_FACTS
LEARNER = "500101199001011234"


def all_bytes(folder: Path) -> bytes:
    return b"".join(
        str(path).encode() + path.read_bytes() for path in folder.rglob("*") if path.is_file()
    )


def test_a_key_stays_the_same_and_differs_by_learner_and_class(tmp_path: Path) -> None:
    store = KeyStore.open(tmp_path / "keys")
    key_id, key = store.key_for(LEARNER, FACE)
    again = KeyStore.open(tmp_path / "keys")
    assert again.key_for(LEARNER, FACE) == (key_id, key)
    assert again.key_by_id(key_id, FACE) == key
    keys = {key, store.key_for(LEARNER, MONEY)[1], store.key_for("another", FACE)[1]}
    assert len(keys) == 3
    assert {len(k) for k in keys} == {32}


def test_neither_names_nor_contents_tell_learner_or_key(tmp_path: Path) -> None:
    store = KeyStore.open(tmp_path / "keys")
    _, key = store.key_for(LEARNER, FACE)
    stored = all_bytes(tmp_path)
    for secret in (LEARNER.encode(), key, key.hex().encode()):
        assert secret not in stored


def test_a_destroyed_key_is_gone_and_a_new_one_opens_nothing_old(tmp_path: Path) -> None:
    store = KeyStore.open(tmp_path / "keys")
    key_id, key = store.key_for(LEARNER, FACE)
    money = store.key_for(LEARNER, MONEY)
    assert store.destroy(LEARNER, FACE)
    assert not store.destroy(LEARNER, FACE)
    assert key_id.encode() not in all_bytes(tmp_path)
    with pytest.raises(UnknownSubjectError):
        store.key_by_id(key_id, FACE)
    assert store.key_for(LEARNER, MONEY) == money
    assert store.key_for(LEARNER, FACE)[1] != key


def test_a_key_is_bound_to_its_class_and_name(tmp_path: Path) -> None:
    store = KeyStore.open(tmp_path / "keys")
    key_id, _ = store.key_for(LEARNER, FACE)
    with pytest.raises(WrongKeyError):
        store.key_by_id(key_id, MONEY)
    other_id, _ = store.key_for("another", FACE)
    files = {path.stem: path for path in tmp_path.rglob("*.key")}
    files[other_id].write_bytes(files[key_id].read_bytes())
    with pytest.raises(WrongKeyError):
        store.key_by_id(other_id, FACE)


def test_another_authority_key_is_refused_at_once(tmp_path: Path) -> None:
    KeyStore.open(tmp_path / "a").key_for(LEARNER, FACE)
    KeyStore.open(tmp_path / "b")
    (tmp_path / "a" / "authority.key").write_bytes((tmp_path / "b" / "authority.key").read_bytes())
    with pytest.raises(WrongKeyError):
        KeyStore.open(tmp_path / "a")
    (tmp_path / "a" / "authority.key").unlink()
    with pytest.raises(WrongKeyError, match="missing"):
        KeyStore.open(tmp_path / "a")


def test_secrets_that_others_may_read_are_refused(tmp_path: Path) -> None:
    KeyStore.open(tmp_path / "keys")
    path = tmp_path / "keys" / "authority.key"
    assert path.stat().st_mode & 0o777 == 0o600
    path.chmod(0o640)
    with pytest.raises(InputError, match="0600"):
        KeyStore.open(tmp_path / "keys")


@pytest.mark.parametrize("key_id", ["", "../../etc/passwd", "AB" * 16, "ab" * 15])
def test_a_key_id_is_never_a_path(tmp_path: Path, key_id: str) -> None:
    with pytest.raises(LedgerError):
        KeyStore.open(tmp_path / "keys").key_by_id(key_id, FACE)


def test_the_first_secret_wins(tmp_path: Path) -> None:
    assert load_or_create_secret(tmp_path / "s", "first") == "first"
    assert load_or_create_secret(tmp_path / "s", "second") == "first"
    assert [path.name for path in tmp_path.iterdir()] == ["s"]


def test_a_signing_key_belongs_to_one_log(tmp_path: Path) -> None:
    signer = load_or_create_signer(tmp_path / "signing.key", "log.example/a")
    again = load_or_create_signer(tmp_path / "signing.key", "log.example/a")
    assert again.verifier == signer.verifier
    with pytest.raises(InputError, match="belongs to"):
        load_or_create_signer(tmp_path / "signing.key", "log.example/b")


def test_looking_a_key_up_makes_none(tmp_path: Path) -> None:
    store = KeyStore.open(tmp_path / "keys")
    before = all_bytes(tmp_path)
    with pytest.raises(UnknownSubjectError):
        store.find(LEARNER, FACE)
    assert all_bytes(tmp_path) == before
    made = store.key_for(LEARNER, FACE)
    assert store.find(LEARNER, FACE) == made
    with pytest.raises(UnknownSubjectError):
        store.find(LEARNER, MONEY)
    store.destroy(LEARNER, FACE)
    with pytest.raises(UnknownSubjectError):
        store.find(LEARNER, FACE)


@pytest.mark.parametrize("damage", [b"", b"\xff", "é".encode(), b"not base64", b"AAAA"])
@pytest.mark.parametrize("pattern", ["authority.key", "authority.check", "*.key", "*.ref"])
def test_a_damaged_file_is_named_as_such(tmp_path: Path, pattern: str, damage: bytes) -> None:
    folder = tmp_path / "keys"
    KeyStore.open(folder).key_for(LEARNER, FACE)
    (path,) = (p for p in folder.rglob(pattern) if pattern[0] != "*" or p.parent != folder)
    path.write_bytes(damage + b"\n")
    with pytest.raises(LedgerError) as caught:
        KeyStore.open(folder).key_for(LEARNER, FACE)
    assert LEARNER not in str(caught.value)


@pytest.mark.parametrize("pattern", ["*.key", "*.ref"])
def test_a_folder_in_place_of_a_key_is_no_crash(tmp_path: Path, pattern: str) -> None:
    store = KeyStore.open(tmp_path / "keys")
    key_id, _ = store.key_for(LEARNER, FACE)
    (path,) = (p for p in tmp_path.rglob(pattern) if p.name != "authority.key")
    path.unlink()
    path.mkdir()
    for act in (
        lambda: store.find(LEARNER, FACE),
        lambda: store.key_for(LEARNER, FACE),
        lambda: store.destroy(LEARNER, FACE),
    ):
        with pytest.raises(LedgerError):
            act()
    if pattern == "*.key":
        with pytest.raises(LedgerError):
            store.key_by_id(key_id, FACE)


def test_a_damaged_signing_key_is_named_as_such(tmp_path: Path) -> None:
    path = tmp_path / "signing.key"
    load_or_create_signer(path, "log.example/a")
    path.write_bytes(b"\xff")
    with pytest.raises(LedgerError, match=r"signing\.key is damaged"):
        load_or_create_signer(path, "log.example/a")


def test_an_id_that_is_no_text_is_bad_input_and_is_not_repeated(tmp_path: Path) -> None:
    store = KeyStore.open(tmp_path / "keys")
    for act in (store.key_for, store.find, store.destroy):
        with pytest.raises(InputError, match="not valid Unicode") as caught:
            act(LEARNER + "\udcff", FACE)
        assert caught.value.__cause__ is None
        assert caught.value.__suppress_context__


def test_a_key_is_on_the_disk_before_anything_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name flushed before the key's could outlive it, and what the key sealed would be lost."""
    store = KeyStore.open(tmp_path / "keys")
    real, flushed = os.fsync, list[Path]()

    def fsync(descriptor: int) -> None:
        flushed.append(Path(f"/proc/self/fd/{descriptor}").readlink())
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    store.key_for(LEARNER, FACE)
    (key,) = (tmp_path / "keys" / "keys").rglob("*.key")
    (name,) = tmp_path.rglob("*.ref")
    order = [flushed.index(path) for path in (key, key.parent, name.parent)]
    assert order == sorted(order)


def test_a_full_disk_is_told_as_such(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = KeyStore.open(tmp_path / "keys")

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        with pytest.raises(LedgerError, match="No space left"):
            store.key_for(LEARNER, FACE)
    assert len(store.key_for(LEARNER, FACE)[1]) == 32
