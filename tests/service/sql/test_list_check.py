"""Many subjects on the lists at once; the law is what the core says of each alone."""

from datetime import UTC, datetime, timedelta

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete

from service.sql import tables
from service.sql.database import Database
from service.sql.list_check import listings
from service.sql.subject_lists import approve_entry, entries_about, propose_entry
from verifier.list_entry import (
    ListEntry,
    ListName,
    ListStanding,
    SubjectKind,
    check_subject,
)

NOW = datetime(2026, 3, 2, 1, tzinfo=UTC)
SUBJECTS = [(SubjectKind.LEARNER, "a"), (SubjectKind.INSTITUTION, "a")]  # few, so that entries meet

hours = st.integers(-3, 3)
entries = st.builds(
    lambda number, name, subject, start, length, approved: (
        ListEntry(
            entry_id=f"e{number}",
            list_name=name,
            subject_kind=subject[0],
            subject_id=subject[1],
            valid_from=NOW + timedelta(hours=start),
            valid_to=None if length is None else NOW + timedelta(hours=start + length),
            reason_code=f"reason_{number}",
            proposed_by="one",
            proposed_at=NOW,
        ),
        approved,
    ),
    st.integers(0, 999),
    st.sampled_from(ListName),
    st.sampled_from(SUBJECTS),
    hours,
    st.none() | st.integers(1, 3),
    st.booleans(),
)


@given(kept=st.lists(entries, max_size=8, unique_by=lambda entry: entry[0].entry_id))
@settings(
    deadline=None,
    max_examples=60,
    # One database for all examples: each begins by emptying the table.
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_many_at_once_stand_as_each_alone(
    database: Database, kept: list[tuple[ListEntry, bool]]
) -> None:
    with database.writing() as tx:
        tx.execute(delete(tables.list_entry))
        for entry, approved in kept:
            propose_entry(tx, entry)
            if approved:
                approve_entry(tx, entry_id=entry.entry_id, approved_by="two", at=NOW)
        on_record = entries_about(tx, SUBJECTS)
        found = listings(tx, [*SUBJECTS, *SUBJECTS], at=NOW)
    for kind, subject_id in SUBJECTS:
        alone = check_subject(on_record, kind, subject_id, NOW)
        listing = found.get((kind, subject_id))
        if alone.standing is ListStanding.UNLISTED:
            assert listing is None
        else:
            first = (alone.black or alone.white)[0]
            assert listing is not None
            assert listing.list_name.value == alone.standing.value
            assert (listing.reason_code, listing.since) == (first.reason_code, first.valid_from)
