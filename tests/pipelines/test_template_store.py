"""Templates at rest: sealed, bound to one learner and contract, and telling nobody anything."""

import json
import os
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from pipelines.keystore import KeyStore, RecordClass
from pipelines.template_store import EnrolledTemplate, TemplateStore
from tests.fakes import CONTRACT
from verifier.comparison import Template
from verifier.enrolment import Anchor
from verifier.errors import (
    ContractMismatchError,
    LedgerError,
    UnknownSubjectError,
    WrongKeyError,
)
from verifier.transparency.base64_text import to_base64
from verifier.transparency.canonical_json import canonical_json

LEARNER, ANOTHER = "500101199001011234", "500101199002021234"
VECTOR = np.random.default_rng(5).normal(0, 0.1, 128).astype(np.float32)
ENROLLED = EnrolledTemplate(
    template=Template(contract_id=CONTRACT, vector=VECTOR),
    anchor=Anchor.AUTHORITY,
    enrolled_at=datetime(2026, 5, 1, 9, 30, tzinfo=UTC),
)


@pytest.fixture(autouse=True)
def _no_flushing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Skip flushing; order and content are what is tested."""
    monkeypatch.setattr(os, "fsync", lambda _: None)


@pytest.fixture(name="store")
def make_store(tmp_path: Path) -> TemplateStore:
    return store_in(tmp_path)


def store_in(
    folder: Path, *, secrets: str = "secrets", authority: str = "chongqing"
) -> TemplateStore:
    keystore = KeyStore.open(folder / secrets)
    return TemplateStore(folder / "templates", keystore, authority=authority)


def files_in(folder: Path) -> list[Path]:
    return sorted(path for path in (folder / "templates").rglob("*") if path.is_file())


def test_what_was_stored_comes_back_to_the_bit(store: TemplateStore, tmp_path: Path) -> None:
    store.store(LEARNER, ENROLLED)
    for opened in (store, store_in(tmp_path)):
        again = opened.load(LEARNER, contract_id=CONTRACT)
        assert again.template.contract_id == CONTRACT
        assert again.template.vector.dtype == np.float32
        assert again.template.vector.tobytes() == VECTOR.tobytes()
        assert (again.anchor, again.enrolled_at) == (Anchor.AUTHORITY, ENROLLED.enrolled_at)


def test_storing_again_replaces_the_one_file(store: TemplateStore, tmp_path: Path) -> None:
    store.store(LEARNER, ENROLLED)
    (before,) = files_in(tmp_path)
    first = before.read_bytes()
    store.store(LEARNER, ENROLLED)
    assert files_in(tmp_path) == [before]
    # A fresh nonce: equal templates must not show as equal files.
    assert before.read_bytes() != first


def test_neither_name_nor_content_tells_learner_or_face(
    store: TemplateStore, tmp_path: Path
) -> None:
    store.store(LEARNER, ENROLLED)
    (path,) = files_in(tmp_path)
    told = str(path.relative_to(tmp_path)).encode() + path.read_bytes()
    raw = VECTOR.tobytes()
    # Long enough that chance never spells them in a ciphertext.
    enrolled_at = ENROLLED.enrolled_at.isoformat().encode()
    for secret in (LEARNER.encode(), to_base64(LEARNER.encode()).encode(), enrolled_at):
        assert secret not in told
    for at in range(0, len(raw), 12):
        assert raw[at : at + 12] not in told
        assert to_base64(raw[at : at + 12]).encode() not in told


def test_only_the_owner_may_read(store: TemplateStore, tmp_path: Path) -> None:
    store.store(LEARNER, ENROLLED)
    (path,) = files_in(tmp_path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o077 == 0


def test_every_changed_byte_is_found(store: TemplateStore, tmp_path: Path) -> None:
    """A changed contract name reads as another contract; everything else is damage."""
    store.store(LEARNER, ENROLLED)
    (path,) = files_in(tmp_path)
    data = path.read_bytes()
    contract_at = data.index(CONTRACT.encode())
    for at in range(len(data)):
        path.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
        named = contract_at <= at < contract_at + len(CONTRACT)
        with pytest.raises(ContractMismatchError if named else LedgerError):
            store.load(LEARNER, contract_id=CONTRACT)
    path.write_bytes(data)
    store.load(LEARNER, contract_id=CONTRACT)


@pytest.mark.parametrize("length", [0, 1, 100, -1])
def test_a_file_cut_short_or_made_longer_is_found(
    store: TemplateStore, tmp_path: Path, length: int
) -> None:
    store.store(LEARNER, ENROLLED)
    (path,) = files_in(tmp_path)
    data = path.read_bytes()
    for changed in (data[:length], data + b" "):
        path.write_bytes(changed)
        with pytest.raises(LedgerError):
            store.load(LEARNER, contract_id=CONTRACT)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("format", "zhenxue/template/v2"),
        ("nonce", to_base64(b"short")),
        ("nonce", 7),
        ("ciphertext", to_base64(b"")),
        ("ciphertext", None),
        ("key_check", "not base64!"),
        ("bound_to", []),
    ],
)
def test_a_well_formed_file_with_other_content_is_refused(
    store: TemplateStore, tmp_path: Path, name: str, value: str | int | list[str] | None
) -> None:
    store.store(LEARNER, ENROLLED)
    (path,) = files_in(tmp_path)
    path.write_bytes(canonical_json({**json.loads(path.read_bytes()), name: value}))
    with pytest.raises(LedgerError):
        store.load(LEARNER, contract_id=CONTRACT)


def test_a_template_of_another_contract_asks_for_a_new_enrolment(store: TemplateStore) -> None:
    store.store(LEARNER, ENROLLED)
    with pytest.raises(ContractMismatchError, match="enrol again"):
        store.load(LEARNER, contract_id="another-network@4567")


def test_the_name_of_the_contract_cannot_be_exchanged(store: TemplateStore, tmp_path: Path) -> None:
    """Relabelled, an old template would be compared under a calibration that is not its own."""
    store.store(LEARNER, ENROLLED)
    (path,) = files_in(tmp_path)
    path.write_bytes(path.read_bytes().replace(CONTRACT.encode(), b"another-network@4567"))
    with pytest.raises(LedgerError):
        store.load(LEARNER, contract_id="another-network@4567")


def test_another_learners_file_moved_into_place_is_refused(
    store: TemplateStore, tmp_path: Path
) -> None:
    """Otherwise whoever can write files could enrol one face for everybody."""
    store.store(LEARNER, ENROLLED)
    (mine,) = files_in(tmp_path)
    store.store(ANOTHER, ENROLLED)
    (other,) = set(files_in(tmp_path)) - {mine}
    mine.write_bytes(other.read_bytes())
    with pytest.raises(LedgerError, match="bound to something else"):
        store.load(LEARNER, contract_id=CONTRACT)


def test_another_authoritys_store_refuses_the_file(store: TemplateStore, tmp_path: Path) -> None:
    store.store(LEARNER, ENROLLED)
    with pytest.raises(LedgerError, match="bound to something else"):
        store_in(tmp_path, authority="chengdu").load(LEARNER, contract_id=CONTRACT)


def test_a_wrong_key_is_told_apart_from_damage(store: TemplateStore, tmp_path: Path) -> None:
    """The key check of another key, in a file that is otherwise whole."""
    store.store(LEARNER, ENROLLED)
    (path,) = files_in(tmp_path)
    changed = {**json.loads(path.read_bytes()), "key_check": to_base64(bytes(32))}
    path.write_bytes(canonical_json(changed))
    with pytest.raises(WrongKeyError):
        store.load(LEARNER, contract_id=CONTRACT)


def test_with_another_key_store_nobody_is_enrolled(store: TemplateStore, tmp_path: Path) -> None:
    store.store(LEARNER, ENROLLED)
    with pytest.raises(UnknownSubjectError):
        store_in(tmp_path, secrets="others").load(LEARNER, contract_id=CONTRACT)


def test_nobody_is_enrolled_once_the_key_is_destroyed(store: TemplateStore, tmp_path: Path) -> None:
    store.store(LEARNER, ENROLLED)
    KeyStore.open(tmp_path / "secrets").destroy(LEARNER, RecordClass.FACE_EVIDENCE)
    with pytest.raises(UnknownSubjectError):
        store.load(LEARNER, contract_id=CONTRACT)


def test_a_learner_nobody_enrolled_is_unknown_and_the_message_does_not_name_them(
    store: TemplateStore,
) -> None:
    with pytest.raises(UnknownSubjectError) as caught:
        store.load(LEARNER, contract_id=CONTRACT)
    assert LEARNER not in str(caught.value)
