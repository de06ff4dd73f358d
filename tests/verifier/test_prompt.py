"""One prompt: answered once, in time, with the nonce it was issued with."""

from datetime import UTC, datetime, timedelta

import pytest

from verifier.check import Check, Outcome
from verifier.errors import ProtocolError
from verifier.policy import default_policy
from verifier.prompt import (
    Attempt,
    Judgement,
    Prompt,
    PromptKind,
    PromptOrigin,
    PromptStatus,
    answer_prompt,
    begin_upload,
    miss_prompt,
)

RULES = default_policy().prompts
START = datetime(2026, 3, 2, 1, tzinfo=UTC)
NONCES = [bytes([number]) * 16 for number in range(5)]
PROMPT = Prompt(
    prompt_id="p",
    nonce=NONCES[0],
    kind=PromptKind.SILENT_CAPTURE,
    origin=PromptOrigin.ADDED,
    planned_index=None,
    planned_offset_s=None,
    issued_at=START,
    asked_at=START,
    capture_s=60,
    upload_s=30,
)


def answered(
    prompt: Prompt,
    judgement: Judgement,
    *,
    second: float = 5,
    nonce: bytes | None = None,
    retry: int | None = None,
    outcome: Outcome = Outcome.CAPTURED,
) -> Prompt:
    attempt = Attempt(
        at=START + timedelta(seconds=second),
        judgement=judgement,
        check=Check(t=second, prompted=True, outcome=outcome),
    )
    return answer_prompt(
        prompt,
        attempt,
        nonce=prompt.nonce if nonce is None else nonce,
        retry_nonce=None if retry is None else NONCES[retry],
        rules=RULES,
    )


@pytest.mark.parametrize(
    ("judgement", "status"),
    [(Judgement.PASS, PromptStatus.PASSED), (Judgement.REFER, PromptStatus.REFERRED)],
)
def test_pass_and_refer_are_final(judgement: Judgement, status: PromptStatus) -> None:
    done = answered(PROMPT, judgement)
    assert (done.status, done.is_open) == (status, False)
    assert done.resolved_at == START + timedelta(seconds=5)
    with pytest.raises(ProtocolError) as caught:
        answered(done, Judgement.PASS, second=6)
    assert caught.value.code == "prompt_already_resolved"


def test_the_third_unclear_answer_is_a_miss() -> None:
    once = answered(PROMPT, Judgement.RETRY, second=50, retry=1)
    twice = answered(once, Judgement.RETRY, second=100, retry=2)
    assert twice.is_open
    assert twice.closes_at == START + timedelta(seconds=110)  # time is given anew only once
    thrice = answered(twice, Judgement.RETRY, second=105)
    assert thrice.status is PromptStatus.MISSED
    assert len(thrice.attempts) == 3


@pytest.mark.parametrize(
    ("outcome", "closes_s"),
    [
        (Outcome.CAPTURED, 110),
        (Outcome.MULTIPLE_FACES, 110),
        (Outcome.NO_FACE, 60),
        (Outcome.UNREADABLE, 60),
    ],
)
def test_only_a_face_earns_a_new_deadline(outcome: Outcome, closes_s: int) -> None:
    """Junk sent at the last second must not keep a prompt open until somebody is back."""
    asked_again = answered(PROMPT, Judgement.RETRY, second=50, retry=1, outcome=outcome)
    assert asked_again.closes_at == START + timedelta(seconds=closes_s)


@pytest.mark.parametrize("retry", [None, 0])
def test_a_retry_needs_a_fresh_nonce(retry: int | None) -> None:
    with pytest.raises(ProtocolError) as caught:
        answered(PROMPT, Judgement.RETRY, retry=retry)
    assert caught.value.code == "nonce_reused"


def test_a_spent_nonce_answers_nothing() -> None:
    asked_again = answered(PROMPT, Judgement.RETRY, retry=1)
    with pytest.raises(ProtocolError) as caught:
        answered(asked_again, Judgement.PASS, second=6, nonce=NONCES[0])
    assert caught.value.code == "wrong_nonce"


def test_the_last_moment_counts_and_the_next_does_not() -> None:
    assert answered(PROMPT, Judgement.PASS, second=60).status is PromptStatus.PASSED
    with pytest.raises(ProtocolError) as caught:
        answered(PROMPT, Judgement.PASS, second=60.001)
    assert caught.value.code == "deadline_passed"


def test_an_upload_begun_in_time_has_its_grace() -> None:
    sending = begin_upload(PROMPT, nonce=NONCES[0], at=START + timedelta(seconds=60))
    assert sending.closes_at == START + timedelta(seconds=90)
    assert answered(sending, Judgement.PASS, second=90).status is PromptStatus.PASSED
    late = START + timedelta(seconds=61)
    with pytest.raises(ProtocolError) as caught:
        begin_upload(PROMPT, nonce=NONCES[0], at=late)
    assert caught.value.code == "deadline_passed"


def test_a_second_upload_begins_no_second_grace() -> None:
    sending = begin_upload(PROMPT, nonce=NONCES[0], at=START + timedelta(seconds=1))
    again = begin_upload(sending, nonce=NONCES[0], at=START + timedelta(seconds=80))
    assert again == sending


def test_a_missed_prompt_keeps_when_it_was_found_out() -> None:
    missed = miss_prompt(PROMPT, at=START + timedelta(seconds=61))
    assert (missed.status, missed.resolved_at) == (
        PromptStatus.MISSED,
        START + timedelta(seconds=61),
    )
