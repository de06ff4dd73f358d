"""Names of leaves: what is written as an answer is read as one."""

import pytest

from pipelines.leaf_kinds import ANSWERS, answer_kind
from verifier.prompt import PromptKind


@pytest.mark.parametrize("asked", PromptKind)
@pytest.mark.parametrize("with_picture", [False, True])
def test_every_answer_is_known_to_who_proves_a_schedule(
    asked: PromptKind, with_picture: bool
) -> None:
    assert answer_kind(asked, with_picture=with_picture) in ANSWERS


def test_the_names_that_logs_hold() -> None:
    assert {"snapshot", "answer_unreadable", "code_answered", "call_recorded"} == ANSWERS
