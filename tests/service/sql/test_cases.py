"""Cases on record: one for a pair, closed by two persons, seen by the gate from either side."""

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from threading import Thread
from typing import Any

import pytest
from sqlalchemy import Connection, func, insert, select
from sqlalchemy.exc import IntegrityError

from service.sql import tables
from service.sql.cases import (
    approve_resolution,
    cases,
    count_standing,
    open_case,
    propose_resolution,
    standing_cases,
)
from service.sql.database import Database
from verifier.errors import InputError, ProtocolError, UnknownSubjectError
from verifier.review_case import CaseKind, CaseResolution

AT = datetime(2026, 3, 2, 1, tzinfo=UTC)
SAME, DIFFERENT = CaseResolution.SAME_PERSON, CaseResolution.DIFFERENT_PEOPLE
EXPLAINED = CaseResolution.EXPLAINED


@pytest.fixture(name="tx")
def unit_of_work(database: Database) -> Iterator[Connection]:
    with database.writing() as tx:
        register(tx)
        yield tx


def register(tx: Connection) -> None:
    people = [{"learner_id": name, "registered_at": AT} for name in ("a", "b", "c")]
    tx.execute(insert(tables.learner), people)


def duplicate(tx: Connection, one: str = "b", other: str = "a", **changed: Any) -> str:
    said = {"at": AT, "details": {"comparison_log10_lr": 1.7}, **changed}
    return open_case(
        tx, kind=CaseKind.DUPLICATE_FACE, learner_id=one, other_learner_id=other, **said
    )


def crowded(tx: Connection, learner_id: str = "a") -> str:
    return open_case(
        tx,
        kind=CaseKind.TOO_MANY_COMPARISONS,
        learner_id=learner_id,
        at=AT,
        details={"comparisons": 501},
    )


def resolve(tx: Connection, case_id: str, resolution: CaseResolution) -> None:
    propose_resolution(tx, case_id=case_id, resolution=resolution, proposed_by="王芳", at=AT)
    approve_resolution(tx, case_id=case_id, resolution=resolution, closed_by="李强", at=AT)


def code_of(refused: pytest.ExceptionInfo[ProtocolError]) -> str:
    return refused.value.code


def closed_meanwhile(
    database: Database, opened: Callable[[Connection], str], resolution: CaseResolution
) -> tuple[str, list[str]]:
    """Open and close a case while another unit opens it; return its id and what that one got."""
    found: list[str] = []

    def open_it() -> None:
        with database.writing() as tx:
            found.append(opened(tx))

    thread = Thread(target=open_it)
    with database.writing() as tx:
        case_id = opened(tx)
        thread.start()
        thread.join(0.2)  # it waits for this unit
        resolve(tx, case_id, resolution)
    thread.join()
    return case_id, found


class TestOpening:
    def test_a_pair_has_one_case_whoever_comes_first(self, tx: Connection) -> None:
        assert duplicate(tx, "b", "a") == duplicate(tx, "a", "b", details={})
        (case,) = cases(tx, limit=10)
        assert case.learner_ids == ("a", "b")
        assert case.details == {"comparison_log10_lr": 1.7}
        assert duplicate(tx, "a", "c") != case.case_id

    @pytest.mark.parametrize("resolution", [SAME, DIFFERENT])
    def test_what_two_persons_found_out_about_a_pair_is_not_asked_again(
        self, tx: Connection, resolution: CaseResolution
    ) -> None:
        case_id = duplicate(tx)
        resolve(tx, case_id, resolution)
        assert duplicate(tx, "a", "b") == case_id
        (case,) = cases(tx, limit=10)
        assert case.resolution is resolution
        assert case.closed_at is not None

    def test_a_pair_that_was_explained_is_asked_about_again(self, tx: Connection) -> None:
        """Whoever was found once may enrol the same face once more."""
        case_id = duplicate(tx)
        for resolution in (SAME, EXPLAINED):
            resolve(tx, case_id, resolution)
        assert standing_cases(tx, "a") == ()
        later = AT + timedelta(days=9)
        measured = {"comparison_log10_lr": 2.5}
        assert duplicate(tx, "a", "b", at=later, details=measured) == case_id
        (case,) = cases(tx, limit=10)
        assert (case.opened_at, case.resolution, case.proposed_by) == (later, None, None)
        assert case.stands
        assert case.details["comparison_log10_lr"] == 2.5
        same, explained = case.earlier
        assert isinstance(same, dict)
        assert isinstance(explained, dict)
        assert (same["resolution"], explained["resolution"]) == ("same_person", "explained")
        assert explained["opened_at"] == AT.isoformat()
        assert explained["details"] == {"comparison_log10_lr": 1.7}
        # What was explained then is no answer to what was noticed now.
        assert [fact.resolution for fact in standing_cases(tx, "a")] == [None]
        resolve(tx, case_id, EXPLAINED)
        duplicate(tx, at=later)
        assert len(cases(tx, limit=1)[0].earlier) == 3

    def test_a_case_about_one_learner_may_come_again(self, tx: Connection) -> None:
        first = crowded(tx)
        assert crowded(tx) == first
        assert crowded(tx, "b") != first
        resolve(tx, first, EXPLAINED)
        second = crowded(tx)
        assert second != first
        assert crowded(tx) == second

    def test_two_units_at_once_open_one(self, database: Database) -> None:
        with database.writing() as tx:
            register(tx)
        found: list[str] = []

        def open_it() -> None:
            with database.writing() as tx:
                found.append(duplicate(tx))

        threads = [Thread(target=open_it) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(found) == 4
        assert len(set(found)) == 1

    def test_of_a_pair_whose_case_is_closed_meanwhile_there_is_no_second(
        self, database: Database
    ) -> None:
        with database.writing() as tx:
            register(tx)
        case_id, found = closed_meanwhile(database, duplicate, DIFFERENT)
        assert found == [case_id]

    def test_a_case_about_one_learner_that_is_closed_meanwhile_comes_again(
        self, database: Database
    ) -> None:
        """What is noticed now was not known when the earlier one was explained."""
        with database.writing() as tx:
            register(tx)
        first, found = closed_meanwhile(database, crowded, EXPLAINED)
        with database.reading() as tx:
            ids = {case.case_id for case in cases(tx, limit=10)}
        assert ids == {first, *found}
        assert len(ids) == 2

    @pytest.mark.parametrize("other", ["b", None])
    def test_the_table_itself_takes_no_second_case_of_a_pair(
        self, tx: Connection, other: str | None
    ) -> None:
        """And any number about one learner, once those before are closed."""
        case_id = duplicate(tx, "a", "b") if other else crowded(tx)
        resolve(tx, case_id, EXPLAINED)
        copied = tx.execute(select(tables.review_case)).mappings().one()
        again = insert(tables.review_case).values({**copied, "case_id": "again"})
        with pytest.raises(IntegrityError) if other else nullcontext():
            tx.execute(again)

    def test_the_score_is_not_readable_in_the_database(self, tx: Connection) -> None:
        duplicate(tx)
        stored = tx.exec_driver_sql("SELECT details FROM review_case").scalar_one()
        assert b"comparison" not in bytes(stored)


class TestResolution:
    def test_one_person_closes_nothing(self, tx: Connection) -> None:
        case_id = duplicate(tx)
        proposed = propose_resolution(
            tx, case_id=case_id, resolution=DIFFERENT, proposed_by="王芳", at=AT
        )
        assert (proposed.resolution, proposed.closed_at) == (DIFFERENT, None)
        with pytest.raises(ProtocolError) as refused:
            approve_resolution(tx, case_id=case_id, resolution=DIFFERENT, closed_by=" 王芳", at=AT)
        assert code_of(refused) == "second_person_wanted"
        assert [fact.resolution for fact in standing_cases(tx, "a")] == [None]

    def test_two_persons_do(self, tx: Connection) -> None:
        case_id = duplicate(tx)
        resolve(tx, case_id, DIFFERENT)
        (case,) = cases(tx, limit=10)
        assert (case.proposed_by, case.closed_by, case.closed_at) == ("王芳", "李强", AT)
        assert standing_cases(tx, "a") == standing_cases(tx, "b") == ()
        for act in (propose_resolution, approve_resolution):
            name = "proposed_by" if act is propose_resolution else "closed_by"
            said: dict[str, Any] = {"case_id": case_id, "resolution": SAME, name: "赵敏", "at": AT}
            with pytest.raises(ProtocolError) as refused:
                act(tx, **said)
            assert code_of(refused) == "case_closed"

    def test_nobody_approves_what_was_not_proposed(self, tx: Connection) -> None:
        """Or a proposal changed in the last moment would be approved unseen."""
        case_id = duplicate(tx)
        said: dict[str, Any] = {"case_id": case_id, "closed_by": "李强", "at": AT}
        with pytest.raises(ProtocolError) as refused:
            approve_resolution(tx, **said, resolution=DIFFERENT)
        assert code_of(refused) == "not_proposed"
        for resolution in (SAME, DIFFERENT):  # the later takes the earlier one's place
            propose_resolution(
                tx, case_id=case_id, resolution=resolution, proposed_by="王芳", at=AT
            )
        with pytest.raises(ProtocolError) as refused:
            approve_resolution(tx, **said, resolution=SAME)
        assert code_of(refused) == "not_proposed"

    def test_one_person_twice_stands_until_what_follows_has_followed(self, tx: Connection) -> None:
        case_id = duplicate(tx)
        resolve(tx, case_id, SAME)
        assert [fact.resolution for fact in standing_cases(tx, "b")] == [SAME]
        for resolution in (DIFFERENT, EXPLAINED):
            propose_resolution(
                tx, case_id=case_id, resolution=resolution, proposed_by="李强", at=AT
            )
            # What two found holds until two find something else.
            assert [fact.resolution for fact in standing_cases(tx, "b")] == [SAME]
        approve_resolution(tx, case_id=case_id, resolution=EXPLAINED, closed_by="王芳", at=AT)
        assert standing_cases(tx, "b") == ()
        (case,) = cases(tx, limit=10)
        assert case.details["comparison_log10_lr"] == 1.7
        assert case.details["earlier"] == [
            {
                "opened_at": AT.isoformat(),
                "resolution": "same_person",
                "proposed_by": "王芳",
                "closed_by": "李强",
                "closed_at": AT.isoformat(),
            }
        ]

    def test_too_many_comparisons_are_explained_or_nothing(self, tx: Connection) -> None:
        said: dict[str, Any] = {"case_id": crowded(tx), "proposed_by": "王芳", "at": AT}
        with pytest.raises(InputError, match="does not come to same_person"):
            propose_resolution(tx, **said, resolution=SAME)

    def test_a_case_that_nobody_opened(self, tx: Connection) -> None:
        with pytest.raises(UnknownSubjectError):
            propose_resolution(tx, case_id="none", resolution=SAME, proposed_by="王芳", at=AT)


class TestListing:
    def test_those_that_stand_come_first_the_oldest_of_them_first(self, tx: Connection) -> None:
        closed = duplicate(tx)
        resolve(tx, closed, DIFFERENT)
        later = duplicate(tx, "a", "c", at=AT + timedelta(days=2))
        found = duplicate(tx, "b", "c", at=AT + timedelta(days=1))
        resolve(tx, found, SAME)
        assert [case.case_id for case in cases(tx, limit=10)] == [found, later, closed]
        assert [case.case_id for case in cases(tx, limit=1)] == [found]
        assert count_standing(tx) == 2

    def test_the_gate_sees_a_case_from_either_side(self, tx: Connection) -> None:
        case_id = duplicate(tx)
        for learner_id in ("a", "b"):
            assert [fact.case_id for fact in standing_cases(tx, learner_id)] == [case_id]
        assert standing_cases(tx, "c") == ()
        count = select(func.count()).select_from(tables.review_case)
        assert tx.execute(count).scalar_one() == 1
