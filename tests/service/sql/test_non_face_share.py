"""The share without the face: cases for all concerned, asked again when more of them come."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import Connection, insert, update

from service.sql import tables
from service.sql.accommodations import watch_share
from service.sql.cases import approve_resolution, cases, open_case, propose_resolution
from service.sql.lesson_store import SqlLessonUnit
from service.sql.non_face_share import class_share
from tests.service.sql.lesson_samples import POLICY, STARTS, add_opened, fresh, register
from verifier.assurance import LearnerPath
from verifier.review_case import CaseKind, CaseResolution, ReviewCase

EXPLAINED = CaseResolution.EXPLAINED


class School:
    """A class ``c`` and another ``d``; learners come with a face, without, or as names only."""

    def __init__(self, tx: Connection) -> None:
        self.tx = tx
        register(tx)
        columns = tables.training_class.c
        row = tx.execute(tables.training_class.select().where(columns.class_id == "c")).one()
        tx.execute(insert(tables.training_class).values({**row._mapping, "class_id": "d"}))

    def names(self, count: int, class_id: str = "c") -> Sequence[str]:
        """Put people on the roster who never come."""
        ids = [fresh("learner") for _ in range(count)]
        people = [{"learner_id": each, "registered_at": STARTS} for each in ids]
        self.tx.execute(insert(tables.learner), people)
        placed = [{"class_id": class_id, "learner_id": e, "added_at": STARTS} for e in ids]
        self.tx.execute(insert(tables.roster_entry), placed)
        return ids

    def faces(self, count: int) -> Sequence[str]:
        """Put enrolled people on the roster."""
        ids = self.names(count)
        enrolled = {
            "contract_id": "x",
            "sealed_template": b"x",
            "anchor": "officer",
            "enrolled_at": STARTS,
            "evidence_id": "e",
        }
        rows = [{"learner_id": each, **enrolled} for each in ids]
        self.tx.execute(insert(tables.enrolment), rows)
        return ids

    def attend(self, learner_id: str, class_id: str = "c", path: str = "non_face") -> None:
        """Let a learner hold a session, over at once, and look at the share."""
        unit = SqlLessonUnit(self.tx)
        lesson = replace(
            add_opened(unit, learner_id=learner_id, class_id=class_id), path=LearnerPath(path)
        )
        unit.save(lesson)
        this = tables.session.c.session_id == lesson.state.session_id
        self.tx.execute(update(tables.session).where(this).values(ended_at=STARTS))
        if path == "non_face":
            self.watch(class_id)

    def watch(self, class_id: str = "c") -> None:
        watch_share(self.tx, class_id=class_id, policy=POLICY, at=STARTS)

    def asked(self) -> Sequence[ReviewCase]:
        return [case for case in cases(self.tx, limit=1000) if case.stands]

    def explain(self, case: ReviewCase) -> None:
        said: dict[str, Any] = {"case_id": case.case_id, "resolution": EXPLAINED, "at": STARTS}
        propose_resolution(self.tx, proposed_by="王芳", **said)
        approve_resolution(self.tx, closed_by="李强", **said)


@pytest.fixture(name="school")
def _school(tx: Connection) -> School:
    return School(tx)


def measured(case: ReviewCase) -> Any:
    return case.details["classes"]


def test_a_class_of_ghosts_has_a_case_each(school: School) -> None:
    ghosts = school.names(40)
    for ghost in ghosts:
        school.attend(ghost)
    asked = school.asked()
    assert sorted(case.learner_ids[0] for case in asked) == sorted(ghosts)
    assert {case.kind for case in asked} == {CaseKind.NON_FACE_SHARE}
    assert measured(asked[0]) == [{"class_id": "c", "non_face": 40, "learners": 40, "share": 1.0}]


def test_at_the_share_nobody_is_asked_and_above_it_everybody(school: School) -> None:
    first, second, third = school.names(3)
    school.faces(38)
    school.attend(first)
    school.attend(second)
    found = class_share(school.tx, "c")
    assert (len(found.learner_ids), found.learners, found.share) == (2, 40, 0.05)
    assert school.asked() == []
    school.attend(third)
    assert {case.learner_ids for case in school.asked()} == {(first,), (second,), (third,)}


def test_names_on_the_roster_dilute_nothing(school: School) -> None:
    """The platform writes it; who has a face enrolled, or held a session, could have come."""
    (ghost,) = school.names(1)
    school.names(100)
    school.attend(ghost)
    assert len(school.asked()) == 1
    for learner_id in school.names(2):
        school.attend(learner_id, path="face")
    assert class_share(school.tx, "c").learners == 3


def test_who_left_the_roster_is_counted(school: School) -> None:
    school.faces(20)
    (ghost,) = school.names(1)
    school.tx.execute(update(tables.roster_entry).values(removed_at=STARTS))
    school.attend(ghost)
    assert class_share(school.tx, "c").learners == 21
    assert school.asked() == []


def test_a_session_without_a_roster_counts_too(school: School) -> None:
    school.attend("l")
    assert [case.learner_ids for case in school.asked()] == [("l",)]


def test_what_two_explained_holds_until_more_come(school: School) -> None:
    one, other, third = school.names(3)
    school.attend(one)
    (case,) = school.asked()
    school.explain(case)
    school.attend(one)
    assert school.asked() == []
    school.attend(other)
    assert sorted(case.learner_ids[0] for case in school.asked()) == sorted([one, other])
    for case in school.asked():
        school.explain(case)
    school.watch()
    assert school.asked() == []
    school.attend(third)
    assert len(school.asked()) == 3
    assert len(cases(school.tx, limit=100)) == 6


def test_an_open_case_tells_of_every_class_and_forgets_what_was_proposed(school: School) -> None:
    """Or a word about one class would free another's money."""
    (ghost,) = school.names(1)
    school.attend(ghost)
    (case,) = school.asked()
    propose_resolution(
        school.tx, case_id=case.case_id, resolution=EXPLAINED, proposed_by="王芳", at=STARTS
    )
    school.watch()  # nothing new: the proposal stands
    assert school.asked()[0].proposed_by == "王芳"
    school.attend(ghost, "d")
    (again,) = school.asked()
    assert (again.case_id, again.proposed_by, again.resolution) == (case.case_id, None, None)
    assert [each["class_id"] for each in measured(again)] == ["c", "d"]
    school.explain(again)
    school.watch()
    school.watch("d")
    assert school.asked() == []


def test_cases_of_other_kinds_are_others(school: School) -> None:
    (ghost,) = school.names(1)
    kind = CaseKind.TOO_MANY_COMPARISONS
    open_case(school.tx, kind=kind, learner_id=ghost, at=STARTS, details={})
    school.attend(ghost)
    assert len(school.asked()) == 2
