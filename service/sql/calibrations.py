"""Calibrations on record: proposed by one person, in force once another has approved them.

A document is named by its SHA-256 and kept for good, since sessions are judged by the one that
they were opened under. Of a contract the one approved last is in force; before any was, the one
that is built in, where there is one. To go back to an earlier one, propose it again: who proposed
and approved it before stays on record.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from threading import Lock
from typing import Any, Final

from sqlalchemy import Connection, Row, Select, select, update

from service.sql.checked_text import require_text
from service.sql.database import Database
from service.sql.insertion import insert_new
from service.sql.tables import LONGEST_ID, LONGEST_TITLE, calibration
from verifier.calibration import Calibration, Metric, parse_calibration
from verifier.comparison import DEFAULT_RULES
from verifier.errors import (
    ContractMismatchError,
    InputError,
    LedgerError,
    ProtocolError,
    UnknownSubjectError,
)
from verifier.list_entry import is_same_person
from verifier.transparency.canonical_json import JSONValue

_BUILT_IN: Final = ""
"""Who proposed what came with the program: no person's name is empty."""
_MOMENT: Final = timedelta(microseconds=1)
"""What times on record are told apart by."""


class UnknownCalibrationError(UnknownSubjectError):
    """A calibration that nobody proposed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Activation:
    """A proposal, and the approval that put it in force.

    Attributes
    ----------
    proposed_by
        None for what came with the program.
    approved_by, approved_at
        None of what was in force without an approval: the built-in one.
    """

    proposed_by: str | None
    proposed_at: datetime
    approved_by: str | None
    approved_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownCalibration:
    """A calibration and the persons behind it.

    Attributes
    ----------
    proposed_by
        None for the one that came with the program.
    approved_by, approved_at
        None until another person approved it.
    active
        Whether sessions opened now are judged by it.
    earlier
        How it came to be in force before it was proposed once more, the first time first.
    """

    calibration: Calibration
    proposed_by: str | None
    proposed_at: datetime
    approved_by: str | None
    approved_at: datetime | None
    active: bool
    earlier: tuple[Activation, ...] = ()


class SqlCalibrations:
    """Implements :class:`pipelines.calibration_book.CalibrationBook`; safe for threads.

    What takes a ``tx`` is part of that unit of work.

    Parameters
    ----------
    contract_id, metric
        Of the pack in use.
    built_in
        In force until two persons say otherwise; None where a site has to make its own.

    Raises
    ------
    ContractMismatchError
        If the built-in one is for something else.
    """

    def __init__(
        self,
        database: Database,
        *,
        contract_id: str,
        metric: Metric,
        built_in: Calibration | None,
    ) -> None:
        if built_in is not None:
            built_in.require_fits(contract_id, metric)
        self.contract_id = contract_id
        self._database = database
        self._metric = metric
        self._built_in = built_in
        self._by_id: dict[str, Calibration] = {}  # what a document says never changes
        self._lock = Lock()

    def begin(self, *, at: datetime) -> None:
        """Keep the built-in one, and see that one is in force; to be called once, at a start.

        A later version may come with another: a session that was opened under this one goes on
        under it.

        Raises
        ------
        InputError
            If none is in force for the contract in use.
        """
        if self._built_in is not None:
            with self._database.writing() as tx:
                _keep(tx, self._built_in, proposed_by=_BUILT_IN, proposed_at=at)
        self.current()

    def parse(self, document: bytes) -> Calibration:
        """Read a document for the contract in use.

        Raises
        ------
        InvalidRecordError
            If it is no calibration, or too long for one.
        InputError
            If it is one for another contract or metric, its caps promise more than its data
            support, so that a few people would outvote every other finding, or they let nobody
            match.
        """
        parsed = parse_calibration(document)
        try:
            parsed.require_fits(self.contract_id, self._metric)
        except ContractMismatchError as error:
            raise InputError(str(error)) from None
        parsed.require_supported(self._built_in)
        _require_matches(parsed)
        return parsed

    def propose(
        self, tx: Connection, proposed: Calibration, *, proposed_by: str, at: datetime
    ) -> KnownCalibration:
        """Keep a proposal, by which nobody is judged until another person approves it.

        One that was in force earlier may be proposed again; how it came to be is kept. While a
        proposal waits, whoever repeats it changes nothing.

        Raises
        ------
        ProtocolError
            ``already_approved`` if it is in force now.
        """
        require_text("contract_id", proposed.contract_id, longest=LONGEST_TITLE)
        require_text("proposed_by", proposed_by, longest=LONGEST_ID)
        calibration_id = proposed.calibration_id
        said = {"proposed_by": proposed_by, "proposed_at": at}
        if not _keep(tx, proposed, **said):
            row = _locked(tx, calibration_id)
            if calibration_id == self._active_id(tx):
                raise ProtocolError("already_approved", "this calibration is in force already")
            if row.approved_at is not None or row.proposed_by == _BUILT_IN:
                again = {**said, "approved_by": None, "approved_at": None}
                _change(tx, calibration_id, **again, earlier=[*row.earlier, _record(row)])
        return self._known(_locked(tx, calibration_id), self._active_id(tx))

    def approve(
        self, tx: Connection, *, calibration_id: str, approved_by: str, at: datetime
    ) -> KnownCalibration:
        """Put a proposal in force, for everything that begins from now on.

        Raises
        ------
        UnknownSubjectError
            If there is no such proposal.
        InputError
            If it was proposed for another contract, when another pack was in use.
        ProtocolError
            ``already_approved``; ``second_person_wanted`` if the proposer approves.
        """
        require_text("approved_by", approved_by, longest=LONGEST_ID)
        self._lock_all(tx)
        row = _locked(tx, calibration_id)
        if row.contract_id != self.contract_id:
            raise InputError(f"a calibration for {row.contract_id}; {self.contract_id} is in use")
        if row.approved_at is not None:
            raise ProtocolError("already_approved", "the calibration was approved before")
        if row.proposed_by == _BUILT_IN:
            raise UnknownCalibrationError("nobody has proposed the built-in calibration")
        if is_same_person(approved_by, row.proposed_by):
            raise ProtocolError("second_person_wanted", "another person has to approve it")
        # Of two approved at one moment nobody could say which is in force.
        latest = tx.execute(_latest_approved(self.contract_id)).one_or_none()
        at = max(at, row.proposed_at, at if latest is None else latest.approved_at + _MOMENT)
        _change(tx, calibration_id, approved_by=approved_by, approved_at=at)
        return self._known(_locked(tx, calibration_id), self._active_id(tx))

    def known(self, tx: Connection) -> Sequence[KnownCalibration]:
        """Return all calibrations, of other contracts too, the latest proposal first."""
        order = (calibration.c.proposed_at.desc(), calibration.c.calibration_id)
        active_id = self._active_id(tx)
        rows = tx.execute(select(calibration).order_by(*order))
        return [self._known(row, active_id) for row in rows]

    def current(self) -> Calibration:
        """Return the one that whatever begins now is judged by.

        Raises
        ------
        InputError
            If none is in force for the contract in use.
        """
        with self._database.reading() as tx:
            row = tx.execute(_latest_approved(self.contract_id)).one_or_none()
        found = self._built_in if row is None else self._read(row)
        if found is None:
            raise InputError(
                f"no calibration is in force for {self.contract_id}: make one with `zhenxue "
                "calibrate`; two persons put it in force (`zhenxue calibrations`)"
            )
        return found

    def of_session(self, calibration_id: str | None) -> Calibration:
        """Return the one that a session was opened under; None: the built-in one.

        Raises
        ------
        LedgerError
            If it is not on record.
        """
        if calibration_id is None:
            if self._built_in is None:
                raise LedgerError("the session has no calibration, and none is built in")
            return self._built_in
        if (known := self._remembered(calibration_id)) is not None:
            return known
        with self._database.reading() as tx:
            row = tx.execute(_by_id(calibration_id)).one_or_none()
        if row is None:
            raise LedgerError("the session's calibration is not on record")
        return self._read(row)

    def _lock_all(self, tx: Connection) -> None:
        """Let nobody else put one of this contract in force until this unit of work is over.

        All of them, in one order, or two who each hold one would wait for each other. What is read
        after the wait is what the other one left.
        """
        row = calibration.c
        of_contract = select(row.calibration_id).where(row.contract_id == self.contract_id)
        tx.execute(of_contract.order_by(row.calibration_id).with_for_update()).all()

    def _active_id(self, tx: Connection) -> str | None:
        latest = tx.execute(_latest_approved(self.contract_id)).one_or_none()
        if latest is not None:
            return str(latest.calibration_id)
        return None if self._built_in is None else self._built_in.calibration_id

    def _known(self, row: Row[Any], active_id: str | None) -> KnownCalibration:
        return KnownCalibration(
            calibration=self._read(row),
            proposed_by=row.proposed_by or None,
            proposed_at=row.proposed_at,
            approved_by=row.approved_by,
            approved_at=row.approved_at,
            active=row.calibration_id == active_id,
            earlier=tuple(_activation(record) for record in row.earlier),
        )

    def _read(self, row: Row[Any]) -> Calibration:
        if (known := self._remembered(row.calibration_id)) is not None:
            return known
        read = parse_calibration(row.document)
        if read.calibration_id != row.calibration_id:
            raise LedgerError("a calibration on record was changed")
        with self._lock:
            self._by_id[row.calibration_id] = read
        return read

    def _remembered(self, calibration_id: str) -> Calibration | None:
        with self._lock:
            return self._by_id.get(calibration_id)


def _keep(tx: Connection, kept: Calibration, **proposal: Any) -> bool:
    """Keep a document unless it is on record; say whether it was not."""
    return insert_new(
        tx,
        calibration,
        calibration_id=kept.calibration_id,
        contract_id=kept.contract_id,
        document=kept.document().decode(),
        earlier=[],
        **proposal,
    )


def _require_matches(proposed: Calibration) -> None:
    """Raise if the cap keeps every comparison from being a match: nobody could attend or enrol."""
    cap, wanted = proposed.max_log10_lr, DEFAULT_RULES.match_from_log10_lr
    if cap < wanted:
        raise InputError(
            f"max_log10_lr is {cap:.4g}: nobody would match anybody, not even themselves; at least"
            f" {wanted:g} was wanted, which takes more people behind it"
        )


def _record(row: Row[Any]) -> Mapping[str, JSONValue]:
    """Return who put a calibration in force, to be kept when it is proposed once more."""
    return {
        "proposed_by": row.proposed_by,
        "proposed_at": row.proposed_at.isoformat(),
        "approved_by": row.approved_by,
        "approved_at": None if row.approved_at is None else row.approved_at.isoformat(),
    }


def _activation(record: Mapping[str, Any]) -> Activation:
    approved_at = record["approved_at"]
    return Activation(
        proposed_by=record["proposed_by"] or None,
        proposed_at=datetime.fromisoformat(record["proposed_at"]),
        approved_by=record["approved_by"],
        approved_at=None if approved_at is None else datetime.fromisoformat(approved_at),
    )


def _by_id(calibration_id: str) -> Select[Any]:
    return select(calibration).where(calibration.c.calibration_id == calibration_id)


def _latest_approved(contract_id: str) -> Select[Any]:
    row = calibration.c
    approved = (row.contract_id == contract_id) & row.approved_at.is_not(None)
    order = (row.approved_at.desc(), row.calibration_id)
    return select(calibration).where(approved).order_by(*order).limit(1)


def _locked(tx: Connection, calibration_id: str) -> Row[Any]:
    row = tx.execute(_by_id(calibration_id).with_for_update()).one_or_none()
    if row is None:
        raise UnknownCalibrationError("there is no calibration with that id")
    return row


def _change(tx: Connection, calibration_id: str, **values: Any) -> None:
    this = calibration.c.calibration_id == calibration_id
    tx.execute(update(calibration).where(this).values(values))
