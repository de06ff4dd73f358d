"""A person is one learner; a platform knows those whom it brought."""

from datetime import date, timedelta

import pytest
from sqlalchemy import Connection, insert

from service.sql import tables
from service.sql.api_keys import create_platform
from service.sql.registry import (
    consents,
    give_consent,
    identity_of,
    learner_of,
    register_learner,
    registered_at,
    require_own_learner,
    withdraw_consent,
)
from tests.service.sql.lesson_samples import STARTS
from verifier.enrolment import Anchor
from verifier.errors import InputError, UnknownSubjectError
from verifier.identity import Identity, parse_identity

TODAY = date(2026, 3, 1)
# The example of GB 11643-1999, and another number made up by its rule.
ZHANG = parse_identity("张三", "11010519491231002X", today=TODAY)
LI = parse_identity("李四", "440524188001010014", today=TODAY)
LATER = STARTS + timedelta(days=1)


@pytest.fixture(autouse=True)
def platforms(tx: Connection) -> None:
    for platform_id in ("p", "q"):
        create_platform(tx, platform_id=platform_id, name=platform_id, at=STARTS)


def register(
    tx: Connection, reference: str = "r", identity: Identity | None = ZHANG, platform_id: str = "p"
) -> str:
    registration = register_learner(
        tx, platform_id=platform_id, reference=reference, identity=identity, at=STARTS
    )
    return registration.learner_id


def enrol(tx: Connection, learner_id: str, anchor: Anchor = Anchor.OFFICER) -> None:
    tx.execute(
        insert(tables.enrolment).values(
            learner_id=learner_id,
            contract_id="m@1",
            sealed_template=b"t",
            anchor=anchor.value,
            enrolled_at=STARTS,
            evidence_id="aa",
        )
    )


def test_a_learner_is_registered_once(tx: Connection) -> None:
    first = register_learner(tx, platform_id="p", reference="r", identity=ZHANG, at=STARTS)
    again = register_learner(tx, platform_id="p", reference="r", identity=ZHANG, at=LATER)
    assert (first.created, again.created) == (True, False)
    assert (again.learner_id, again.registered_at) == (first.learner_id, STARTS)
    assert registered_at(tx, first.learner_id) == STARTS
    assert learner_of(tx, platform_id="p", reference="r") == first.learner_id
    assert identity_of(tx, first.learner_id) == ZHANG


def test_the_same_person_is_the_same_learner_on_every_platform(tx: Connection) -> None:
    assert register(tx, "r-1") == register(tx, "r-2") == register(tx, "r-1", platform_id="q")
    assert register(tx, "r-3", LI) != register(tx, "r-1")


def test_without_an_identity_every_reference_is_somebody_else(tx: Connection) -> None:
    ids = {register(tx, "r-1", None), register(tx, "r-2", None), register(tx, "r-1", None, "q")}
    assert len(ids) == 3
    assert register(tx, "r-1", None) in ids
    assert identity_of(tx, ids.pop()) is None


def test_neither_name_nor_number_is_readable(tx: Connection) -> None:
    register(tx)
    row = tx.exec_driver_sql("SELECT id_index, identity FROM learner").one()
    stored = b"".join(map(bytes, row))
    assert ZHANG.id_number.encode() not in stored
    assert ZHANG.name.encode() not in stored


def test_an_identity_may_come_later(tx: Connection) -> None:
    learner_id = register(tx, "r", None)
    assert register(tx, "r", ZHANG) == learner_id
    assert register(tx, "another") == learner_id


def test_a_reference_does_not_change_hands(tx: Connection) -> None:
    register(tx, "r", ZHANG)
    with pytest.raises(InputError, match="another identity number") as refused:
        register(tx, "r", LI)
    assert LI.id_number not in str(refused.value)


def test_a_number_that_is_known_is_not_given_to_a_second_learner(tx: Connection) -> None:
    register(tx, "r-1", ZHANG)
    register(tx, "r-2", None)
    with pytest.raises(InputError, match="another reference"):
        register(tx, "r-2", ZHANG)


def test_a_name_is_corrected_until_somebody_vouched_for_it(tx: Connection) -> None:
    corrected = Identity("张珊", ZHANG.id_number)
    learner_id = register(tx, "r", ZHANG)
    assert register(tx, "r", corrected) == learner_id
    assert identity_of(tx, learner_id) == corrected
    enrol(tx, learner_id)
    for reference in ("r", "another"):
        with pytest.raises(InputError, match="enrolled with another name"):
            register(tx, reference, ZHANG)
    assert identity_of(tx, learner_id) == corrected


def test_an_institutions_word_fixes_no_name(tx: Connection) -> None:
    """Or whoever enrolled a number first, with a name made up, would lock the person out."""
    squatted = register(tx, "r", Identity("张珊", ZHANG.id_number))
    enrol(tx, squatted, Anchor.INSTITUTION)
    assert register(tx, "own", ZHANG, platform_id="q") == squatted
    assert identity_of(tx, squatted) == ZHANG


def test_whoever_is_enrolled_by_an_institution_may_be_named_later(tx: Connection) -> None:
    learner_id = register(tx, "r", None)
    enrol(tx, learner_id, Anchor.INSTITUTION)
    assert register(tx, "r", ZHANG) == learner_id
    assert identity_of(tx, learner_id) == ZHANG


@pytest.mark.parametrize("anchor", [Anchor.OFFICER, Anchor.AUTHORITY])
def test_a_face_enrolled_without_a_name_is_given_none_afterwards(
    tx: Connection, anchor: Anchor
) -> None:
    learner_id = register(tx, "r", None)
    enrol(tx, learner_id, anchor)
    with pytest.raises(InputError, match="or with none"):
        register(tx, "r", ZHANG)


def test_a_learner_is_unknown_where_nobody_brought_them(tx: Connection) -> None:
    learner_id = register(tx)
    require_own_learner(tx, platform_id="p", learner_id=learner_id)
    with pytest.raises(UnknownSubjectError):
        require_own_learner(tx, platform_id="q", learner_id=learner_id)
    with pytest.raises(UnknownSubjectError):
        learner_of(tx, platform_id="q", reference="r")
    for ask in (registered_at, identity_of):
        with pytest.raises(UnknownSubjectError):
            ask(tx, "nobody")


@pytest.mark.parametrize("reference", ["", " ", "r" * 129, "a\x00b", "a\u200bb"])
def test_odd_references_are_refused(tx: Connection, reference: str) -> None:
    with pytest.raises(InputError):
        register(tx, reference)


def give(tx: Connection, learner_id: str, version: str = "v1", platform_id: str = "p") -> None:
    give_consent(
        tx,
        platform_id=platform_id,
        learner_id=learner_id,
        purpose="attendance",
        version=version,
        at=STARTS,
    )


def test_consent_is_given_withdrawn_and_given_again(tx: Connection) -> None:
    learner_id = register(tx)
    give(tx, learner_id)
    give(tx, learner_id)
    assert withdraw_consent(tx, learner_id=learner_id, purpose="another", at=LATER) == 0
    assert withdraw_consent(tx, learner_id=learner_id, purpose="attendance", at=LATER) == 1
    give(tx, learner_id, "v2")
    later = LATER + timedelta(days=1)
    assert withdraw_consent(tx, learner_id=learner_id, purpose="attendance", at=later) == 1
    give(tx, learner_id)
    found = consents(tx, learner_id=learner_id, purpose="attendance")
    assert {(each.version, each.withdrawn_at) for each in found} == {
        ("v1", LATER),
        ("v2", later),
        ("v1", None),
    }
    assert consents(tx, learner_id=learner_id, purpose="another") == ()


def test_a_platform_records_consent_of_its_own_learners_only(tx: Connection) -> None:
    learner_id = register(tx)
    with pytest.raises(UnknownSubjectError):
        give(tx, learner_id, platform_id="q")
