"""The examples of ``docs/formats.md`` are messages of the service, field for field."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import BaseModel, TypeAdapter

from service.http.accommodations import GrantProposal, LearnerGrantsOut, WaitingGrantsOut
from service.http.calibrations import CalibrationsOut
from service.http.cases import CasesOut, ResolutionIn
from service.http.eligibility import ClaimIn, EligibilityOut, SettlementOut
from service.http.learners import EnrolmentPassed, EnrolmentRefused
from service.http.lists import ListAnswer, ListQuestion
from service.http.problems import Problem
from service.http.prompts import (
    AnswerIn,
    AnswerOut,
    CallRecording,
    PromptAdded,
    PromptAdding,
    PromptReply,
)
from service.http.sessions import SessionOpening, SessionOut
from service.http.uploads import UploadBeginning, UploadBegun

DOCUMENT = Path(__file__).parents[3] / "docs" / "formats.md"
MESSAGES: tuple[type[BaseModel], ...] = (
    PromptReply,
    AnswerIn,
    AnswerOut,
    UploadBeginning,
    UploadBegun,
    PromptAdding,
    PromptAdded,
    CallRecording,
    EnrolmentPassed,
    EnrolmentRefused,
    SessionOpening,
    SessionOut,
    EligibilityOut,
    ListQuestion,
    ListAnswer,
    ClaimIn,
    SettlementOut,
    CasesOut,
    ResolutionIn,
    GrantProposal,
    WaitingGrantsOut,
    LearnerGrantsOut,
    CalibrationsOut,
    Problem,
)
"""In the order of the examples."""

FOR_OFFICERS = {"values", "reason_code", "since"}
NOT_ALWAYS_THERE = FOR_OFFICERS | {"reason", "errors", "retry_after_s"}


def examples() -> list[str]:
    _, _, section = DOCUMENT.read_text(encoding="utf-8").partition("## Over HTTP\n")
    return re.findall(r"```json\n(.*?)```", section.partition("\n## ")[0], re.DOTALL)


def unsaid(value: object) -> Iterator[str]:
    """Return the fields that an example leaves to their defaults, at any depth."""
    if isinstance(value, BaseModel):
        yield from type(value).model_fields.keys() - value.model_fields_set
        yield from unsaid(list(value.__dict__.values()))
    elif isinstance(value, list | tuple):
        for each in value:
            yield from unsaid(each)


def test_every_message_has_its_example() -> None:
    assert len(examples()) == len(MESSAGES)


@pytest.mark.parametrize("message", MESSAGES)
def test_an_example_is_the_message(message: type[BaseModel]) -> None:
    """All fields and no other, each of its kind; neither a field forgotten nor one made up."""
    example = examples()[MESSAGES.index(message)]
    read = TypeAdapter(message).validate_json(example, extra="forbid")
    missing = set(unsaid(read))
    allowed = NOT_ALWAYS_THERE if message is Problem else FOR_OFFICERS
    assert missing <= allowed
