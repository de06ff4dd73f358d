"""Cases for review: two persons close one, and only what came to a good end stands no more."""

from datetime import UTC, datetime
from typing import Any

import pytest

from verifier.errors import InvalidRecordError
from verifier.review_case import CaseKind, CaseResolution, ReviewCase, still_stands

OPENED_AT = datetime(2026, 3, 2, 1, tzinfo=UTC)
PROPOSED = {"proposed_by": "王芳", "proposed_at": OPENED_AT}
CLOSED = {**PROPOSED, "closed_by": "李强", "closed_at": OPENED_AT}


def case(**said: Any) -> ReviewCase:
    whole = {"kind": CaseKind.DUPLICATE_FACE, "learner_ids": ("a", "b"), **said}
    return ReviewCase(case_id="k", opened_at=OPENED_AT, **whole)


@pytest.mark.parametrize(
    ("resolution", "stands"),
    [("same_person", True), ("different_people", False), ("explained", False)],
)
def test_a_case_stands_until_nothing_is_wrong(resolution: str, stands: bool) -> None:
    found = CaseResolution(resolution)
    assert case().stands
    assert case(resolution=found, **PROPOSED).stands  # one person's word closes nothing
    assert case(resolution=found, **CLOSED).stands is stands
    assert still_stands(found) is stands


@pytest.mark.parametrize(
    ("said", "wanted"),
    [
        ({"learner_ids": ("a",)}, "1 learners; 2 wanted"),
        ({"learner_ids": ("a", "a")}, "1 learners; 2 wanted"),
        ({"kind": CaseKind.TOO_MANY_COMPARISONS}, "2 learners; 1 wanted"),
        ({"kind": CaseKind.NON_FACE_SHARE}, "2 learners; 1 wanted"),
        (
            {
                "kind": CaseKind.NON_FACE_SHARE,
                "learner_ids": ("a",),
                "resolution": CaseResolution.DIFFERENT_PEOPLE,
                **PROPOSED,
            },
            "does not come to different_people",
        ),
        (
            {
                "kind": CaseKind.TOO_MANY_COMPARISONS,
                "learner_ids": ("a",),
                "resolution": CaseResolution.SAME_PERSON,
                **PROPOSED,
            },
            "does not come to same_person",
        ),
        ({"resolution": CaseResolution.EXPLAINED}, "half there"),
        (PROPOSED, "half there"),
        ({**CLOSED, "closed_at": None, "resolution": CaseResolution.EXPLAINED}, "go together"),
        ({"closed_by": "李强", "closed_at": OPENED_AT}, "without a proposal"),
        (
            {**CLOSED, "closed_by": " 王芳 ", "resolution": CaseResolution.EXPLAINED},
            "one person",
        ),
    ],
)
def test_what_is_no_case(said: dict[str, Any], wanted: str) -> None:
    with pytest.raises(InvalidRecordError, match=wanted):
        case(**said)
