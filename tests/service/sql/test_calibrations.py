"""Calibrations on record: two persons put one in force, and none is ever forgotten."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from threading import Barrier, Thread
from typing import Any

import pytest
from sqlalchemy import Connection, insert, update

from service.sql import tables
from service.sql.calibrations import (
    Activation,
    KnownCalibration,
    SqlCalibrations,
    UnknownCalibrationError,
)
from service.sql.database import Database
from tests.fakes import CALIBRATION, CALIBRATION_DATA, CONTRACT
from verifier.calibration import MOST_BYTES, Calibration, Metric
from verifier.errors import (
    ContractMismatchError,
    InputError,
    InvalidRecordError,
    LedgerError,
    ProtocolError,
)

AT = datetime(2026, 3, 2, 1, tzinfo=UTC)
OURS = replace(CALIBRATION, name="our county", slope=12.0)
NEWER = replace(CALIBRATION, name="our county, newer", slope=14.0)


@pytest.fixture(name="book")
def book_of_the_contract(database: Database) -> SqlCalibrations:
    return book_of(database)


def book_of(
    database: Database, built_in: Calibration | None = CALIBRATION, contract_id: str = CONTRACT
) -> SqlCalibrations:
    book = SqlCalibrations(database, contract_id=contract_id, metric=Metric.L2, built_in=built_in)
    book.begin(at=AT)
    return book


def propose(database: Database, book: SqlCalibrations, what: Calibration, by: str = "王芳") -> None:
    with database.writing() as tx:
        book.propose(tx, what, proposed_by=by, at=AT)


def approve(
    database: Database, book: SqlCalibrations, what: Calibration, by: str = "李强"
) -> KnownCalibration:
    with database.writing() as tx:
        return book.approve(tx, calibration_id=what.calibration_id, approved_by=by, at=AT)


def activate(database: Database, book: SqlCalibrations, what: Calibration) -> None:
    propose(database, book, what)
    approve(database, book, what)


def known(database: Database, book: SqlCalibrations) -> dict[str, bool]:
    with database.reading() as tx:
        return {each.calibration.name: each.active for each in book.known(tx)}


class TestTwoPersons:
    def test_a_proposal_judges_nobody(self, database: Database, book: SqlCalibrations) -> None:
        propose(database, book, OURS)
        assert book.current() == CALIBRATION
        assert known(database, book) == {"made up": True, "our county": False}

    def test_an_approval_is_in_force_at_once(
        self, database: Database, book: SqlCalibrations
    ) -> None:
        propose(database, book, OURS)
        approved = approve(database, book, OURS)
        assert (approved.proposed_by, approved.approved_by) == ("王芳", "李强")
        assert approved.active
        assert book.current() == OURS
        assert known(database, book) == {"made up": False, "our county": True}

    @pytest.mark.parametrize("spelt", ["王芳", " 王芳 "])
    def test_nobody_puts_one_in_force_alone(
        self, database: Database, book: SqlCalibrations, spelt: str
    ) -> None:
        propose(database, book, OURS)
        with pytest.raises((ProtocolError, InputError)):
            approve(database, book, OURS, by=spelt)
        assert book.current() == CALIBRATION

    def test_who_repeats_a_proposal_does_not_become_its_author(
        self, database: Database, book: SqlCalibrations
    ) -> None:
        propose(database, book, OURS, by="王芳")
        propose(database, book, OURS, by="李强")
        with pytest.raises(ProtocolError) as refused:
            approve(database, book, OURS, by="王芳")
        assert refused.value.code == "second_person_wanted"

    def test_approving_twice(self, database: Database, book: SqlCalibrations) -> None:
        activate(database, book, OURS)
        for act in (approve, propose):
            with pytest.raises(ProtocolError) as refused:
                act(database, book, OURS)
            assert refused.value.code == "already_approved"

    def test_of_two_approved_at_one_moment_the_later_holds(
        self, database: Database, book: SqlCalibrations
    ) -> None:
        activate(database, book, OURS)
        activate(database, book, NEWER)
        assert book.current() == NEWER

    def test_an_earlier_one_is_gone_back_to_by_two_persons(
        self, database: Database, book: SqlCalibrations
    ) -> None:
        activate(database, book, OURS)
        activate(database, book, NEWER)
        propose(database, book, OURS, by="赵敏")
        assert book.current() == NEWER
        assert approve(database, book, OURS).proposed_by == "赵敏"
        assert book.current() == OURS
        propose(database, book, CALIBRATION)
        approve(database, book, CALIBRATION)
        assert book.current() == CALIBRATION

    def test_who_put_it_in_force_before_stays_on_record(
        self, database: Database, book: SqlCalibrations
    ) -> None:
        """Sessions were judged by it: two persons wanted that, whatever is proposed since."""
        activate(database, book, OURS)
        activate(database, book, NEWER)
        for which in (OURS, CALIBRATION):
            propose(database, book, which, by="赵敏")
        with database.reading() as tx:
            shown = {each.calibration.name: each for each in book.known(tx)}
        ours = shown["our county"]
        assert (ours.proposed_by, ours.approved_by) == ("赵敏", None)
        (first,) = ours.earlier
        assert (first.proposed_by, first.proposed_at, first.approved_by) == ("王芳", AT, "李强")
        built_in = Activation(proposed_by=None, proposed_at=AT, approved_by=None, approved_at=None)
        assert shown["made up"].earlier == (built_in,)
        assert shown["our county, newer"].earlier == ()
        approve(database, book, OURS, by="王芳")
        activate(database, book, NEWER)
        propose(database, book, OURS)
        with database.reading() as tx:
            (again,) = (each for each in book.known(tx) if each.calibration == OURS)
        assert [each.approved_by for each in again.earlier] == ["李强", "王芳"]

    def test_of_many_approved_at_once_each_has_its_own_time(
        self, database: Database, book: SqlCalibrations
    ) -> None:
        """Or which of them is in force would be anybody's guess."""
        many = [replace(OURS, name=f"at once {number}") for number in range(6)]
        for each in many:
            propose(database, book, each)
        start = Barrier(len(many))

        def approve_one(what: Calibration) -> None:
            start.wait()
            approve(database, book, what)

        threads = [Thread(target=approve_one, args=(each,)) for each in many]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        with database.reading() as tx:
            known_now = [each for each in book.known(tx) if each.approved_at is not None]
        assert len({each.approved_at for each in known_now}) == len(many)
        latest = max(known_now, key=lambda each: each.approved_at or AT)
        assert latest.active

    def test_nobody_has_proposed_the_built_in_one(
        self, database: Database, book: SqlCalibrations
    ) -> None:
        """It is in force by itself; once it is not, one person cannot bring it back."""
        activate(database, book, OURS)
        with pytest.raises(UnknownCalibrationError):
            approve(database, book, CALIBRATION)
        assert book.current() == OURS

    def test_a_proposal_for_a_pack_that_is_not_in_use_any_more(
        self, database: Database, book: SqlCalibrations
    ) -> None:
        propose(database, book, OURS)
        other = replace(CALIBRATION, contract_id="other@1")
        now = book_of(database, other, "other@1")
        with pytest.raises(InputError, match=f"for {CONTRACT}; other@1 is in use"):
            approve(database, now, OURS)
        assert now.current() == other


class TestReading:
    def test_a_document_comes_back_as_it_was(self, book: SqlCalibrations) -> None:
        assert book.parse(OURS.document()) == OURS

    @pytest.mark.parametrize(
        ("document", "wanted"),
        [
            (replace(OURS, contract_id="other@1").document(), "other@1"),
            (replace(OURS, metric=Metric.COSINE).document(), "cosine"),
            (OURS.document() + b" " * MOST_BYTES, f"at most {MOST_BYTES}"),
            (replace(OURS, max_log10_lr=5.0).document(), r"5.* at most 4\.17"),
            (replace(OURS, max_log10_lr=0.9).document(), "nobody would match anybody.* 1 was"),
            (replace(OURS, min_log10_lr=-3.0).document(), r"-3.* at least -2\.0"),
        ],
    )
    def test_what_does_not_fit_is_refused(
        self, book: SqlCalibrations, document: bytes, wanted: str
    ) -> None:
        with pytest.raises(InputError, match=wanted):
            book.parse(document)

    def test_the_built_in_one_may_exceed_its_data(self, database: Database) -> None:
        """It says why; and it must be possible to go back to it."""
        bold = replace(CALIBRATION, max_log10_lr=5.0)
        assert book_of(database, bold).parse(bold.document()) == bold

    @pytest.mark.parametrize("document", [b"", b"{}", b"[]", b'{"format":"x"}'])
    def test_what_is_no_calibration(self, book: SqlCalibrations, document: bytes) -> None:
        with pytest.raises(InvalidRecordError):
            book.parse(document)


class TestSessions:
    def test_each_is_judged_by_its_own(self, database: Database, book: SqlCalibrations) -> None:
        activate(database, book, OURS)
        activate(database, book, NEWER)
        for of in (book, book_of(database)):  # also after a restart
            assert of.of_session(OURS.calibration_id) == OURS
            assert of.of_session(NEWER.calibration_id) == NEWER
            assert of.of_session(CALIBRATION.calibration_id) == CALIBRATION
            assert of.of_session(None) == CALIBRATION

    def test_a_later_version_with_another_built_in_one_knows_the_earlier(
        self, database: Database, book: SqlCalibrations
    ) -> None:
        assert book.current() == CALIBRATION
        later = book_of(database, NEWER)
        assert later.current() == NEWER
        assert later.of_session(CALIBRATION.calibration_id) == CALIBRATION
        assert known(database, later) == {"made up": False, "our county, newer": True}

    def test_an_unknown_one_is_not_made_up(self, book: SqlCalibrations) -> None:
        with pytest.raises(LedgerError, match="not on record"):
            book.of_session("00" * 32)

    def test_a_changed_one_is_not_used(self, database: Database, book: SqlCalibrations) -> None:
        with database.writing() as tx:
            tx.execute(update(tables.calibration).values(document=OURS.document().decode()))
        with pytest.raises(LedgerError, match="was changed"):
            book.of_session(CALIBRATION.calibration_id)

    def test_a_document_is_read_once(
        self, database: Database, book: SqlCalibrations, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Every opening asks which one is in force; what its id names never changes."""
        activate(database, book, OURS)
        found = book.current()

        def read_again(_document: object) -> Calibration:
            raise AssertionError("it was read again")

        monkeypatch.setattr("service.sql.calibrations.parse_calibration", read_again)
        assert book.current() is book.of_session(OURS.calibration_id) is found == OURS


class TestWithoutABuiltInOne:
    def test_nothing_begins_until_two_persons_put_one_in_force(self, database: Database) -> None:
        with pytest.raises(InputError, match=f"no calibration is in force for {CONTRACT}"):
            book_of(database, None)
        book = SqlCalibrations(database, contract_id=CONTRACT, metric=Metric.L2, built_in=None)
        propose(database, book, OURS)
        with pytest.raises(InputError, match="no calibration"):
            book_of(database, None)
        approve(database, book, OURS)
        assert book_of(database, None).current() == OURS

    def test_a_session_without_one_is_not_judged_by_any(self, database: Database) -> None:
        book = SqlCalibrations(database, contract_id=CONTRACT, metric=Metric.L2, built_in=None)
        with pytest.raises(LedgerError, match="none is built in"):
            book.of_session(None)


@pytest.mark.parametrize("change", [{"contract_id": "other@1"}, {"metric": Metric.COSINE}])
def test_a_built_in_one_for_something_else_is_refused(
    database: Database, change: dict[str, Any]
) -> None:
    with pytest.raises(ContractMismatchError):
        book_of(database, replace(CALIBRATION, **change))


def test_a_later_approval_for_another_contract_changes_nothing(
    database: Database, book: SqlCalibrations
) -> None:
    other = replace(NEWER, contract_id="other@1")
    with database.writing() as tx:
        insert_approved(tx, other)
    assert book.current() == CALIBRATION


def insert_approved(tx: Connection, what: Calibration) -> None:
    tx.execute(
        insert(tables.calibration).values(
            calibration_id=what.calibration_id,
            contract_id=what.contract_id,
            document=what.document().decode(),
            proposed_by="王芳",
            proposed_at=AT,
            approved_by="李强",
            approved_at=AT + timedelta(days=1),
            earlier=[],
        )
    )


def test_the_samples_promise_no_more_than_their_data() -> None:
    assert not OURS.exceeds_its_data
    assert CALIBRATION_DATA.most_log10_lr < 5
