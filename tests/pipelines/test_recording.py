"""A unit of work and its sealed objects share one fate, as far as it is known."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NoReturn

import pytest

from pipelines.archive_verification import verify_archive
from pipelines.evidence_store import EvidenceStore
from pipelines.recording import recording
from tests.memory_store import MemoryStore, MemoryUnit
from tests.pipelines.archive_samples import (
    AUTHORITY,
    LEARNER,
    OPENED_AT,
    Folders,
    make_folders,
    prepared_snapshot,
)
from verifier.errors import LedgerError, ProtocolError, UncertainOutcomeError, VerifierError
from verifier.transparency.leaf import Leaf

__all__ = ["make_folders"]  # a fixture


class UncertainStore(MemoryStore):
    """Goes away while a unit is committed; only ``kept`` knows what became of it."""

    def __init__(self, *, kept: bool, error: Exception) -> None:
        super().__init__()
        self._kept, self._error = kept, error

    @contextmanager
    def writing(self) -> Iterator[MemoryUnit]:
        self.broken = not self._kept
        try:
            with super().writing() as unit:
                yield unit
        except LedgerError:
            assert self.broken
        raise self._error


@pytest.fixture(name="evidence")
def make_evidence(folders: Folders) -> EvidenceStore:
    return EvidenceStore(folders.archive, authority=AUTHORITY, keystore=folders.keystore())


def require_ok(folders: Folders, store: MemoryStore, objects: int) -> None:
    """Let the archive take over what the store holds, and verify all of it."""
    with folders.open(store) as archive:
        assert archive.publish().size == store.entry_count()
    report = verify_archive(folders.archive, keystore=folders.keystore())
    assert (report.problems, report.opened) == ([], objects)
    assert (len(folders.objects()), folders.drafts()) == (objects, [])


def test_what_was_committed_keeps_its_objects(folders: Folders, evidence: EvidenceStore) -> None:
    store = MemoryStore()
    before = prepared_snapshot(evidence, 0)
    with recording(store, evidence, before) as work:
        assert [work.append(before), work.append(prepared_snapshot(evidence, 1))] == [0, 1]
        assert len(folders.drafts()) == 2  # not before it is committed
    assert (len(folders.objects()), folders.drafts()) == (2, [])
    assert [Leaf.parse(entry).sequence for entry in store.entries(0, limit=9)] == [0, 1]
    require_ok(folders, store, objects=2)


def refused(_: MemoryStore) -> None:
    raise ProtocolError("session_changed", "somebody else was first")


def interrupted(_: MemoryStore) -> None:
    raise RuntimeError("a defect")


def lost_in_the_block(_: MemoryStore) -> None:
    raise UncertainOutcomeError("whatever it is, nothing was committed yet")


def broken(store: MemoryStore) -> None:
    store.broken = True


@pytest.mark.parametrize("happens", [refused, interrupted, lost_in_the_block, broken])
def test_what_was_not_committed_leaves_no_object(
    folders: Folders, evidence: EvidenceStore, happens: Callable[[MemoryStore], None]
) -> None:
    """Neither one prepared beforehand, nor one that had its place already."""
    store = MemoryStore()
    first, never = prepared_snapshot(evidence, 0), prepared_snapshot(evidence, 1)

    def act() -> None:
        with recording(store, evidence, first, never) as work:
            work.append(first)
            work.append(prepared_snapshot(evidence, 2))
            happens(store)

    with pytest.raises((VerifierError, RuntimeError)):
        act()
    assert (folders.objects(), folders.drafts(), store.entry_count()) == ([], [], 0)
    require_ok(folders, store, objects=0)


def test_a_unit_that_cannot_even_begin_leaves_no_object(
    folders: Folders, evidence: EvidenceStore
) -> None:
    class Busy(MemoryStore):
        def writing(self) -> NoReturn:
            raise LedgerError("the store is busy")

    store = Busy()
    prepared = prepared_snapshot(evidence, 0)
    with pytest.raises(LedgerError, match="busy"), recording(store, evidence, prepared):
        pytest.fail("there is no unit")
    require_ok(folders, store, objects=0)


@pytest.mark.parametrize("kept", [True, False], ids=["it was kept", "it was not"])
@pytest.mark.parametrize(
    "error",
    [UncertainOutcomeError("the connection is gone"), RuntimeError("a defect in the store")],
    ids=["uncertain", "unforeseen"],
)
def test_where_nobody_knows_the_object_stays_until_the_archive_is_opened(
    folders: Folders, evidence: EvidenceStore, kept: bool, error: Exception
) -> None:
    """To remove it would be worse: the leaf may be there, and then its evidence must be."""
    store = UncertainStore(kept=kept, error=error)
    prepared = prepared_snapshot(evidence, 0)
    with pytest.raises(type(error)), recording(store, evidence, prepared) as work:
        work.append(prepared)
    assert folders.objects() == folders.drafts() == [prepared.leaf.object_sha256]
    assert store.entry_count() == kept
    require_ok(folders, store, objects=int(kept))


def test_a_process_that_ends_in_the_middle_leaves_it_to_the_next_opening(
    folders: Folders, evidence: EvidenceStore
) -> None:
    store = MemoryStore()
    prepared = prepared_snapshot(evidence, 0)

    def act() -> None:
        with recording(store, evidence, prepared) as work:
            work.append(prepared)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        act()
    assert len(folders.drafts()) == 1
    require_ok(folders, store, objects=0)


def test_the_place_of_an_entry_is_the_stores(folders: Folders, evidence: EvidenceStore) -> None:
    store = MemoryStore()
    for expected in range(3):
        with recording(store, evidence) as work:
            note = evidence.prepare_record(
                "note", at=OPENED_AT, facts={"n": expected}, learner_id=LEARNER
            )
            assert work.append(note) == expected
    require_ok(folders, store, objects=0)
