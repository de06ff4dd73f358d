"""Sealed templates: bound to one learner and contract, and telling nobody anything."""

import json
import os
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from pipelines.keystore import KeyStore, RecordClass
from pipelines.sealed_template import EnrolledTemplate, TemplateSealer
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
from verifier.transparency.canonical_json import JSONValue, canonical_json

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


@pytest.fixture(name="sealer")
def make_sealer(tmp_path: Path) -> TemplateSealer:
    return sealer_in(tmp_path)


def sealer_in(
    folder: Path, *, secrets: str = "secrets", authority: str = "chongqing"
) -> TemplateSealer:
    return TemplateSealer(keystore=KeyStore.open(folder / secrets), authority=authority)


def test_what_was_sealed_comes_back_to_the_bit(sealer: TemplateSealer, tmp_path: Path) -> None:
    sealed = sealer.seal(LEARNER, ENROLLED)
    for opened in (sealer, sealer_in(tmp_path)):
        again = opened.open(LEARNER, sealed, contract_id=CONTRACT)
        assert again.template.contract_id == CONTRACT
        assert again.template.vector.dtype == np.float32
        assert again.template.vector.tobytes() == VECTOR.tobytes()
        assert (again.anchor, again.enrolled_at) == (Anchor.AUTHORITY, ENROLLED.enrolled_at)


def test_equal_templates_do_not_show_as_equal(sealer: TemplateSealer) -> None:
    first, second = (json.loads(sealer.seal(LEARNER, ENROLLED)) for _ in range(2))
    assert first["nonce"] != second["nonce"]
    assert first["ciphertext"] != second["ciphertext"]
    assert first["bound_to"] == second["bound_to"]


def test_it_tells_neither_learner_nor_face(sealer: TemplateSealer) -> None:
    sealed = sealer.seal(LEARNER, ENROLLED)
    raw = VECTOR.tobytes()
    # Long enough that chance never spells them in a ciphertext.
    enrolled_at = ENROLLED.enrolled_at.isoformat().encode()
    for secret in (LEARNER.encode(), to_base64(LEARNER.encode()).encode(), enrolled_at):
        assert secret not in sealed
    for at in range(0, len(raw), 12):
        assert raw[at : at + 12] not in sealed
        assert to_base64(raw[at : at + 12]).encode() not in sealed


def test_every_changed_byte_is_found(sealer: TemplateSealer) -> None:
    """A changed contract reads as another one, a changed key id as a key that is gone."""
    sealed = sealer.seal(LEARNER, ENROLLED)
    key_id = json.loads(sealed)["bound_to"]["key_id"].encode()
    named = {place for text in (CONTRACT.encode(), key_id) for place in places_of(text, sealed)}
    for at in range(len(sealed)):
        changed = sealed[:at] + bytes([sealed[at] ^ 1]) + sealed[at + 1 :]
        with pytest.raises((ContractMismatchError, LedgerError, UnknownSubjectError)) as caught:
            sealer.open(LEARNER, changed, contract_id=CONTRACT)
        assert isinstance(caught.value, LedgerError) or at in named
    sealer.open(LEARNER, sealed, contract_id=CONTRACT)


def places_of(text: bytes, data: bytes) -> range:
    start = data.index(text)
    return range(start, start + len(text))


@pytest.mark.parametrize("length", [0, 1, 100, -1])
def test_one_cut_short_or_made_longer_is_found(sealer: TemplateSealer, length: int) -> None:
    sealed = sealer.seal(LEARNER, ENROLLED)
    for changed in (sealed[:length], sealed + b" "):
        with pytest.raises(LedgerError):
            sealer.open(LEARNER, changed, contract_id=CONTRACT)


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
        ("bound_to", {}),
        ("bound_to", {"key_id": "../authority"}),
        ("bound_to", {"key_id": 7}),
    ],
)
def test_well_formed_with_other_content_is_refused(
    sealer: TemplateSealer, name: str, value: str | int | list[str] | dict[str, JSONValue] | None
) -> None:
    changed = {**json.loads(sealer.seal(LEARNER, ENROLLED)), name: value}
    with pytest.raises(LedgerError):
        sealer.open(LEARNER, canonical_json(changed), contract_id=CONTRACT)


def test_a_template_of_another_contract_asks_for_a_new_enrolment(sealer: TemplateSealer) -> None:
    sealed = sealer.seal(LEARNER, ENROLLED)
    with pytest.raises(ContractMismatchError, match="enrol again"):
        sealer.open(LEARNER, sealed, contract_id="another-network@4567")


def test_the_name_of_the_contract_cannot_be_exchanged(sealer: TemplateSealer) -> None:
    """Relabelled, an old template would be compared under a calibration that is not its own."""
    sealed = sealer.seal(LEARNER, ENROLLED)
    relabelled = sealed.replace(CONTRACT.encode(), b"another-network@4567")
    with pytest.raises(LedgerError):
        sealer.open(LEARNER, relabelled, contract_id="another-network@4567")


def test_another_learners_template_is_refused(sealer: TemplateSealer) -> None:
    """Otherwise whoever can write rows could enrol one face for everybody."""
    sealer.seal(LEARNER, ENROLLED)
    others = sealer.seal(ANOTHER, ENROLLED)
    with pytest.raises(LedgerError, match="bound to something else") as caught:
        sealer.open(LEARNER, others, contract_id=CONTRACT)
    assert LEARNER not in str(caught.value)


def test_another_learners_template_with_ones_own_name_in_it_is_refused(
    sealer: TemplateSealer,
) -> None:
    """Who is named may be exchanged; whose key it is may not."""
    own = json.loads(sealer.seal(LEARNER, ENROLLED))["bound_to"]
    others = json.loads(sealer.seal(ANOTHER, ENROLLED))
    for names in ({"learner"}, {"learner", "key_id"}):
        bound = {**others["bound_to"], **{name: own[name] for name in names}}
        with pytest.raises(LedgerError):
            sealer.open(
                LEARNER, canonical_json({**others, "bound_to": bound}), contract_id=CONTRACT
            )


def test_another_authority_refuses_it(sealer: TemplateSealer, tmp_path: Path) -> None:
    sealed = sealer.seal(LEARNER, ENROLLED)
    with pytest.raises(LedgerError, match="bound to something else"):
        sealer_in(tmp_path, authority="chengdu").open(LEARNER, sealed, contract_id=CONTRACT)


def test_a_wrong_key_is_told_apart_from_damage(sealer: TemplateSealer) -> None:
    """The key check of another key, in data that are otherwise whole."""
    changed = {**json.loads(sealer.seal(LEARNER, ENROLLED)), "key_check": to_base64(bytes(32))}
    with pytest.raises(WrongKeyError):
        sealer.open(LEARNER, canonical_json(changed), contract_id=CONTRACT)


def test_with_another_key_store_nobody_is_enrolled(sealer: TemplateSealer, tmp_path: Path) -> None:
    sealed = sealer.seal(LEARNER, ENROLLED)
    with pytest.raises(UnknownSubjectError):
        sealer_in(tmp_path, secrets="others").open(LEARNER, sealed, contract_id=CONTRACT)


@pytest.mark.parametrize("new_key", [False, True], ids=["no key", "a new key"])
def test_nobody_is_enrolled_once_the_key_is_destroyed(
    sealer: TemplateSealer, new_key: bool
) -> None:
    """Nor with the key that a new consent brings: it opens nothing old, and that is no damage."""
    sealed = sealer.seal(LEARNER, ENROLLED)
    sealer.keystore.destroy(LEARNER, RecordClass.FACE_EVIDENCE)
    if new_key:
        sealer.keystore.key_for(LEARNER, RecordClass.FACE_EVIDENCE)
    with pytest.raises(UnknownSubjectError, match="not enrolled") as caught:
        sealer.open(LEARNER, sealed, contract_id=CONTRACT)
    assert LEARNER not in str(caught.value)


def test_opening_leaves_no_key_behind(sealer: TemplateSealer, tmp_path: Path) -> None:
    sealed = sealer.seal(LEARNER, ENROLLED)
    sealer.keystore.destroy(LEARNER, RecordClass.FACE_EVIDENCE)
    before = sorted((tmp_path / "secrets").rglob("*"))
    with pytest.raises(UnknownSubjectError):
        sealer.open(LEARNER, sealed, contract_id=CONTRACT)
    assert sorted((tmp_path / "secrets").rglob("*")) == before
