"""Classes, rosters and claims; another platform's are unknown."""

from dataclasses import replace
from datetime import date, timedelta

import pytest
from sqlalchemy import Connection

from service.sql.api_keys import create_platform
from service.sql.registry import register_learner
from service.sql.training_classes import (
    add_to_roster,
    apply_for_class,
    approve_class,
    claimed_s,
    class_of,
    record_claim,
    remove_from_roster,
    roster_fact,
    whole_roster,
    withdraw_class,
)
from tests.service.sql.lesson_samples import STARTS
from verifier.claim import Claim
from verifier.eligibility_facts import ClassFact, RosterFact, RosterGap
from verifier.errors import InputError, ProtocolError, UnknownSubjectError

DAY = timedelta(days=1)
FACT = ClassFact(
    institution_id="i",
    platform_id="p",
    applied_at=STARTS,
    approved_at=None,
    withdrawn_at=None,
    starts_on=date(2026, 3, 2),
    ends_on=date(2026, 3, 31),
    required_credit_hours=40.5,
)


@pytest.fixture(autouse=True)
def learner_id(tx: Connection) -> str:
    for platform_id in ("p", "q"):
        create_platform(tx, platform_id=platform_id, name=platform_id, at=STARTS)
    registration = register_learner(tx, platform_id="p", reference="r", identity=None, at=STARTS)
    apply_for_class(tx, class_id="c", title="电工", fact=FACT)
    return registration.learner_id


def test_a_class_comes_back_as_it_was_applied_for(tx: Connection) -> None:
    found = class_of(tx, "c", platform_id="p")
    assert (found.title, found.fact, found.approved_by) == ("电工", FACT, None)


def test_an_application_never_brings_its_own_approval(tx: Connection) -> None:
    apply_for_class(tx, class_id="d", title="T", fact=replace(FACT, approved_at=STARTS))
    assert class_of(tx, "d").fact.approved_at is None


def test_the_same_application_again_changes_nothing(tx: Connection) -> None:
    later = replace(FACT, applied_at=STARTS + DAY)
    assert apply_for_class(tx, class_id="c", title="电工", fact=later).fact == FACT


@pytest.mark.parametrize(
    "other",
    [
        {"platform_id": "q"},
        {"institution_id": "j"},
        {"ends_on": date(2026, 4, 1)},
        {"required_credit_hours": 41.0},
    ],
)
def test_another_application_under_the_same_id_is_refused(
    tx: Connection, other: dict[str, object]
) -> None:
    with pytest.raises(ProtocolError) as refused:
        apply_for_class(tx, class_id="c", title="电工", fact=replace(FACT, **other))  # type: ignore[arg-type] # a field of any type
    assert refused.value.code == "class_exists"


def test_the_first_approval_and_the_first_withdrawal_stay(tx: Connection) -> None:
    approve_class(tx, class_id="c", approved_by="k1", at=STARTS + DAY)
    approved = approve_class(tx, class_id="c", approved_by="k2", at=STARTS + 2 * DAY)
    assert (approved.approved_by, approved.fact.approved_at) == ("k1", STARTS + DAY)
    withdraw_class(tx, class_id="c", at=STARTS + 3 * DAY)
    withdrawn = withdraw_class(tx, class_id="c", at=STARTS + 4 * DAY, platform_id="p")
    assert withdrawn.fact.withdrawn_at == STARTS + 3 * DAY
    with pytest.raises(ProtocolError) as refused:
        approve_class(tx, class_id="c", approved_by="k1", at=STARTS + 5 * DAY)
    assert refused.value.code == "class_withdrawn"


def test_a_class_of_another_platform_is_unknown(tx: Connection, learner_id: str) -> None:
    claim = Claim(learner_id=learner_id, class_id="c", claimed_s=1.0)
    for attempt in (
        lambda: class_of(tx, "c", platform_id="q"),
        lambda: class_of(tx, "nothing"),
        lambda: approve_class(tx, class_id="nothing", approved_by="k", at=STARTS),
        lambda: withdraw_class(tx, class_id="c", at=STARTS, platform_id="q"),
        lambda: add_to_roster(tx, platform_id="q", class_id="c", learner_id=learner_id, at=STARTS),
        lambda: add_to_roster(tx, platform_id="p", class_id="c", learner_id="x", at=STARTS),
        lambda: remove_from_roster(
            tx, platform_id="q", class_id="c", learner_id=learner_id, at=STARTS
        ),
        lambda: record_claim(tx, claim, platform_id="q", at=STARTS),
        lambda: record_claim(tx, replace(claim, class_id="d"), platform_id="p", at=STARTS),
    ):
        with pytest.raises(UnknownSubjectError):
            attempt()


def test_a_learner_is_put_on_the_roster_taken_off_and_put_on_again(
    tx: Connection, learner_id: str
) -> None:
    def add(days: int) -> RosterFact:
        return add_to_roster(
            tx, platform_id="p", class_id="c", learner_id=learner_id, at=STARTS + days * DAY
        )

    def standing() -> RosterFact | None:
        return roster_fact(tx, class_id="c", learner_id=learner_id)

    assert standing() is None
    with pytest.raises(UnknownSubjectError):
        remove_from_roster(tx, platform_id="p", class_id="c", learner_id=learner_id, at=STARTS)
    assert add(0) == add(1) == standing() == RosterFact(added_at=STARTS, removed_at=None)
    remove_from_roster(
        tx, platform_id="p", class_id="c", learner_id=learner_id, at=STARTS + 2 * DAY
    )
    assert standing() == RosterFact(added_at=STARTS, removed_at=STARTS + 2 * DAY)
    assert add(3) == standing() == RosterFact(added_at=STARTS + 3 * DAY, removed_at=None)


def test_leaving_and_coming_back_is_one_time_with_gaps(tx: Connection, learner_id: str) -> None:
    """For the gate: who was on the roster from the first has been on it since then."""
    place = {"class_id": "c", "learner_id": learner_id}

    def whole() -> RosterFact | None:
        return whole_roster(tx, **place)

    def gap(start: int, end: int) -> RosterGap:
        return RosterGap(removed_at=STARTS + start * DAY, added_at=STARTS + end * DAY)

    assert whole() is None
    for added, removed in ((0, 1), (2, 3), (3, 4)):
        add_to_roster(tx, platform_id="p", **place, at=STARTS + added * DAY)
        remove_from_roster(tx, platform_id="p", **place, at=STARTS + removed * DAY)
    left = RosterFact(added_at=STARTS, removed_at=STARTS + 4 * DAY, gaps=(gap(1, 2),))
    assert whole() == left
    add_to_roster(tx, platform_id="p", **place, at=STARTS + 5 * DAY)
    assert whole() == replace(left, removed_at=None, gaps=(gap(1, 2), gap(4, 5)))
    # In one instant, as if it had stayed on.
    remove_from_roster(tx, platform_id="p", **place, at=STARTS + 6 * DAY)
    add_to_roster(tx, platform_id="p", **place, at=STARTS + 6 * DAY)
    assert whole() == replace(left, removed_at=None, gaps=(gap(1, 2), gap(4, 5)))


def test_nobody_joins_a_class_that_was_withdrawn(tx: Connection, learner_id: str) -> None:
    withdraw_class(tx, class_id="c", at=STARTS)
    with pytest.raises(ProtocolError) as refused:
        add_to_roster(tx, platform_id="p", class_id="c", learner_id=learner_id, at=STARTS)
    assert refused.value.code == "class_withdrawn"


def test_the_latest_claim_counts(tx: Connection, learner_id: str) -> None:
    assert claimed_s(tx, class_id="c", learner_id=learner_id) is None
    for seconds in (3600.5, 1800.25):
        claim = Claim(learner_id=learner_id, class_id="c", claimed_s=seconds)
        record_claim(tx, claim, platform_id="p", at=STARTS)
    assert claimed_s(tx, class_id="c", learner_id=learner_id) == 1800.25


@pytest.mark.parametrize("title", ["", "x" * 201, "a\nb"])
def test_odd_titles_are_refused(tx: Connection, title: str) -> None:
    with pytest.raises(InputError):
        apply_for_class(tx, class_id="d", title=title, fact=FACT)
