"""The groups of numbers in a policy, each checked against its range from birth.

:mod:`verifier.policy` reads them; what each number is for stands here.
"""

import math
from dataclasses import dataclass, field, fields
from typing import Any, NoReturn

from verifier.assurance import Assurance
from verifier.errors import InvalidRecordError


def _between(low: float, high: float) -> Any:
    return field(metadata={"low": low, "high": high})


def _share() -> Any:
    return _between(0, 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptRules:
    """When prompts are issued and how long they wait.

    Attributes
    ----------
    mean_gap_s, min_gap_s
        Gaps are ``min_gap_s`` plus an exponential time; their mean is ``mean_gap_s``.
    kinds
        Kinds of prompt that the schedule may draw.
    capture_deadline_s
        Time for frames to begin to arrive.
    accessibility_extra_s
        Added once for a learner to whom it was granted.
    upload_grace_s
        Added for an upload that began in time.
    max_retries
        Inconclusive answers that may be repeated; one more is a miss.
    closing_prompt_within_s
        The closing prompt follows the announced end within this.
    abandon_after_planned_s
        A session that is not closed is abandoned this long after its planned end.
    """

    mean_gap_s: int = _between(60, 3600)
    min_gap_s: int = _between(0, 30)
    kinds: tuple[str, ...]
    capture_deadline_s: int = _between(10, 600)
    accessibility_extra_s: int = _between(0, 600)
    upload_grace_s: int = _between(0, 600)
    max_retries: int = _between(0, 10)
    closing_prompt_within_s: int = _between(1, 600)
    abandon_after_planned_s: int = _between(0, 86_400)

    def __post_init__(self) -> None:
        _check_ranges(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameRules:
    """How sessions in the engine's own frame differ: ``mean_gap_s`` stands in for the prompts'."""

    mean_gap_s: int = _between(60, 3600)

    def __post_init__(self) -> None:
        _check_ranges(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class AddedRules:
    """When a prompt is added to the schedule because the learner may be gone.

    Attributes
    ----------
    below
        P(genuine) after a scheduled prompt that was not passed, under which one is added.
    min_gap_s, mean_gap_s
        It goes out ``min_gap_s`` plus an exponential time later, ``mean_gap_s`` on average.
    """

    below: float = _share()
    min_gap_s: int = _between(0, 600)
    mean_gap_s: int = _between(1, 3600)

    def __post_init__(self) -> None:
        _check_ranges(self)
        if self.mean_gap_s <= self.min_gap_s:
            fail("added.mean_gap_s", self.mean_gap_s, f"more than min_gap_s {self.min_gap_s}")


@dataclass(frozen=True, slots=True, kw_only=True)
class FailureRules:
    """How many answers of a learner may fail: the last of ``most`` within ``window_s`` pauses.

    While paused for ``pause_s`` nothing is asked, judged or earned; the lesson itself goes on.
    """

    most: int = _between(1, 100)
    window_s: int = _between(1, 3600)
    pause_s: int = _between(0, 86_400)

    def __post_init__(self) -> None:
        _check_ranges(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class CaptureRules:
    """How much one answer may hold.

    Attributes
    ----------
    most_frames
        In one answer; more than ``most_stills`` are a film.
    film_frame_bytes, film_bytes
        Of one frame of a film, and of all of them.
    answer_bytes
        Of all frames of an answer.
    min_frames_per_s
        Of a film that says when its frames were taken.
    """

    most_frames: int = _between(1, 24)  # no request may carry more
    most_stills: int = _between(1, 240)
    film_frame_bytes: int = _between(1024, 1 << 20)
    film_bytes: int = _between(1024, 3 << 20)
    answer_bytes: int = _between(1024, 3 << 20)
    min_frames_per_s: float = _between(0.1, 60)

    def __post_init__(self) -> None:
        _check_ranges(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class NonFaceRules:
    """Sessions of learners whom an officer granted another way than the face.

    Attributes
    ----------
    kinds
        Kinds of prompt that the schedule draws then.
    code_digits
        Of a typed code.
    fastest_code_s
        A code typed sooner after it was asked for is named among the score's reasons.
    most_share
        Of a class's roster; above it a case is opened for each of them.
    longest_grant_days
        A grant is given for at most so long.
    start_impostor, impostor_per_h
        Stand in for those of the presence model: an officer established who it is.
    officer_call_deadline_s
        Time to reach the learner.
    """

    kinds: tuple[str, ...]
    code_digits: int = _between(4, 12)
    fastest_code_s: float = _between(0, 60)
    most_share: float = _share()
    longest_grant_days: int = _between(1, 3660)
    start_impostor: float = _between(1e-6, 0.25)
    impostor_per_h: float = _between(1e-6, 60)
    officer_call_deadline_s: int = _between(30, 3600)

    def __post_init__(self) -> None:
        _check_ranges(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassRules:
    """What a learner may miss in a class.

    Attributes
    ----------
    miss_budget_share
        Of the prompts scheduled in the class so far; up to it misses may be made up for.
    make_up_working_days
        Working days in China after the session, in which that may be done.
    """

    miss_budget_share: float = _share()
    make_up_working_days: int = _between(0, 60)

    def __post_init__(self) -> None:
        _check_ranges(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaybackRules:
    """What heartbeats of a player, or of the frame itself, take away from credit.

    Attributes
    ----------
    required_for
        Assurances whose sessions earn nothing while no heartbeat comes.
    longest_gap_s
        Between two heartbeats; what lies in a longer one is not covered.
    max_rate, rate_tolerance
        Seconds of video per second, and what players may be off by.
    seek_tolerance_s
        How far a position may be ahead of where playing would have brought it.
    """

    required_for: tuple[str, ...]
    longest_gap_s: int = _between(1, 300)
    max_rate: float = _between(0.1, 16)
    rate_tolerance: float = _between(0, 1)
    seek_tolerance_s: float = _between(0, 60)

    def __post_init__(self) -> None:
        _check_ranges(self)

    def is_required(self, assurance: Assurance) -> bool:
        """Say whether sessions of that assurance earn nothing without heartbeats."""
        return assurance.value in self.required_for


@dataclass(frozen=True, slots=True, kw_only=True)
class CreditRules:
    """What a creditable span is worth.

    ``lower95_share``: the lower bound of the verified time must reach this share of it.
    """

    credit_hour_minutes: int = _between(1, 120)
    lower95_share: float = _share()

    def __post_init__(self) -> None:
        _check_ranges(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class OutcomeRates:
    """How often each capture outcome comes, given whether somebody is before the camera."""

    present_captured: float = _share()
    present_no_response: float = _share()
    present_no_face: float = _share()
    present_multiple_faces: float = _share()
    present_unreadable: float = _share()
    absent_captured: float = _share()  # somebody else's face: a passer-by
    absent_no_response: float = _share()
    absent_no_face: float = _share()
    absent_multiple_faces: float = _share()
    absent_unreadable: float = _share()

    def __post_init__(self) -> None:
        _check_ranges(self)
        for who in ("present", "absent"):
            rates = [getattr(self, f.name) for f in fields(self) if f.name.startswith(who)]
            # A rate of 0 would make one finding decide alone, for ever.
            if min(rates) <= 0 or abs(math.fsum(rates) - 1) > 1e-9:
                fail(f"outcomes.{who}_*", rates, "positive rates that add up to 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class PresenceRates:
    """The prior of the presence model; ``docs/score.md`` says what each parameter means.

    Attributes
    ----------
    start_present
        Chance that anybody is before the camera at second 0, before any check says so.
    start_impostor, start_presentation_attack, start_injection
        Shares of those present who are that; the rest are genuine.
    leave_per_h, short_break_per_h
        Rates at which a genuine learner leaves for good, or for a short break.
    return_per_h, break_end_per_h
        Rates at which somebody comes, or comes back from a short break.
    impostor_per_h, presentation_attack_per_h, injection_per_h
        Rates at which a genuine learner gives way to each kind of attack.
    attack_end_per_h
        Rate at which the learner takes over again.
    pi_self
        Share of attacks that show the enrolled person's own face.
    comparison_rho, pad_rho, outcome_rho
        Correlation between findings of one kind within a session.
    max_abs_log10_lr
        Bound on a single comparison or attack-detection ratio.
    """

    start_present: float = _between(1e-6, 0.5)
    start_impostor: float = _between(1e-6, 0.5)
    start_presentation_attack: float = _between(0, 0.25)
    start_injection: float = _between(1e-6, 0.2)
    leave_per_h: float = _between(1e-6, 60)
    short_break_per_h: float = _between(1e-6, 60)
    return_per_h: float = _between(1e-6, 60)
    break_end_per_h: float = _between(1e-6, 600)
    impostor_per_h: float = _between(1e-6, 60)
    presentation_attack_per_h: float = _between(0, 60)
    injection_per_h: float = _between(1e-6, 60)
    attack_end_per_h: float = _between(1e-6, 600)
    pi_self: float = _between(0.01, 0.99)
    comparison_rho: float = _share()
    pad_rho: float = _share()
    outcome_rho: float = _share()
    max_abs_log10_lr: float = _between(0.1, 6)

    def __post_init__(self) -> None:
        _check_ranges(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionRules:
    """When a session is accepted, reviewed, or proposed for rejection.

    Attributes
    ----------
    min_genuine_share
        A session is authentic only if the learner was there this share of it.
    cost_false_accept, cost_false_reject
        Against the cost of one review, which is 1.
    min_matched_checks
        With fewer, nothing is accepted without a person.
    """

    min_genuine_share: float = _share()
    cost_false_accept: float = _between(1, 1e6)
    cost_false_reject: float = _between(1, 1e6)
    min_matched_checks: int = _between(1, 100)

    def __post_init__(self) -> None:
        _check_ranges(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class GateRules:
    """What the subsidy gate accepts.

    Attributes
    ----------
    payable_assurances
        Ways that pictures may come in without a second look by a person.
    payable_non_face_assurances
        Ways that answers without a face may; no more than the above.
    min_witnesses
        Cosignatures under the checkpoint that a session's schedule follows from.
    proposal_refers_days
        A proposed black-list entry sends a payment to a person for this long; a proposal that
        nobody approved by then holds nothing up any more.
    """

    payable_assurances: tuple[str, ...]
    payable_non_face_assurances: tuple[str, ...]
    min_witnesses: int = _between(0, 16)
    proposal_refers_days: int = _between(0, 366)

    def __post_init__(self) -> None:
        _check_ranges(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparisonRules:
    """How often a template may be compared with.

    Attributes
    ----------
    max_per_learner_day
        Answers in one day of China time that were compared with the learner's template; beyond
        it nothing is compared, and a person looks at it.
    max_enrolments_per_learner_day
        Enrolments over the learner's earlier one, counted apart: any platform that knows name and
        number may try. Beyond it whoever is not better vouched for is asked to try another day.
    """

    max_per_learner_day: int = _between(1, 100_000)
    max_enrolments_per_learner_day: int = _between(1, 1_000)

    def __post_init__(self) -> None:
        _check_ranges(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class DuplicateRules:
    """When the same face under another id opens a case at enrolment.

    Attributes
    ----------
    false_cases_per_enrolment
        Expected of somebody who looks like nobody in particular, if the calibration holds.
    most_cases_per_enrolment
        The most alike are looked at first.
    """

    false_cases_per_enrolment: float = _between(1e-6, 1)
    most_cases_per_enrolment: int = _between(1, 100)

    def __post_init__(self) -> None:
        _check_ranges(self)


def _check_ranges(rules: Any) -> None:
    for wanted in fields(rules):
        value = getattr(rules, wanted.name)
        low, high = wanted.metadata.get("low"), wanted.metadata.get("high")
        # NaN fails every comparison, so it is refused here too.
        if low is not None and not low <= value <= high:
            fail(wanted.name, value, f"{low:g} to {high:g}")


def fail(name: str, seen: object, wanted: str) -> NoReturn:
    """Raise: ``name`` is ``seen``, and ``wanted`` was wanted."""
    raise InvalidRecordError(f"{name} is {seen!r}; {wanted} was wanted")
