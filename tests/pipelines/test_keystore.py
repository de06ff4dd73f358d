"""Data keys: one for each learner and class, never in the clear, destroyable."""

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
