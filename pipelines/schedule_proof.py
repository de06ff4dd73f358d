"""Whether a session was asked exactly when chance, fixed beforehand, said so.

From the log alone, with one thing that the log keeps sealed: the schedule's header.

1. The session's leaves lie under the signed checkpoint, none left out of their sequence.
2. The header is what the opening leaf committed to, and speaks of this very session.
3. ``C`` follows from the opened secret and the header; it was in the log before any prompt.
4. The root that the schedule hangs on is the root of the first so many entries, which held ``C``.
5. Every cosignature that went into the seed is a known witness's.
6. Its parameters are those of the policy that the header names.
7. Every prompt of the schedule went out at once, or has a reason that entries logged before the
   end bear out; no other one did, unless it was added.
8. The sessions of the learner in the class are numbered without a gap, and those before ended.
9. The end, too, lies under a checkpoint that the witnesses cosigned.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from pipelines.leaf_kinds import PROMPT_ISSUED, SESSION_CLOSED, SESSION_OPENED
from pipelines.lesson_terms import parameters_of
from pipelines.schedule_header import SealedRecords
from pipelines.schedule_leaves import after_opening_ms
from pipelines.schedule_prompts import ProvenPrompt, ProvenPrompts, proven_prompts
from pipelines.schedule_silences import MINUTE_MS, Silence, total_s
from pipelines.schedule_witnesses import (
    FIXED,
    FixedSchedule,
    fixed_problems,
    fixed_schedule,
    witness_problems,
)
from pipelines.session_log import (
    LoggedLeaf,
    NumberedSession,
    SessionLog,
)
from verifier.assurance import Assurance, LearnerPath
from verifier.errors import InputError, InvalidRecordError, LedgerError
from verifier.policy import Policy
from verifier.prompt import PromptOrigin
from verifier.schedule import ScheduleHeader, commitment
from verifier.session_state import SessionPhase
from verifier.transparency.checkpoint import Checkpoint
from verifier.transparency.cosignature import CosignatureVerifier

LONGEST_S: Final = 366 * 86_400
"""No lesson is longer, however long the engine was away: what is longer is not computed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleProof:
    """What of a session's schedule follows, and everything that does not.

    Attributes
    ----------
    checkpoint
        The signed one that everything was read under.
    fixed
        None where the session was given up before its schedule was fixed.
    ended_s, phase
        When scheduled prompts ceased, seconds from the start, and how the session ended.
    prompts
        Every prompt that was due or went out, by time.
    silences
        When nothing could be asked, as the closing leaf tells it, and what else says so.
    number, sequence, gaps
        Its number among the learner's sessions in the class; all of these; numbers not in the log.
    problems
        What does not follow; empty if the proof holds.
    notes
        What is to be known besides, and is no problem.
    """

    session_id: str
    checkpoint: Checkpoint
    header: ScheduleHeader
    fixed: FixedSchedule | None
    ended_s: float
    phase: str
    prompts: tuple[ProvenPrompt, ...]
    silences: tuple[Silence, ...]
    number: int
    sequence: tuple[NumberedSession, ...]
    gaps: tuple[int, ...]
    problems: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Whether everything follows."""
        return not self.problems

    @property
    def witnesses(self) -> tuple[str, ...]:
        """Names of the witnesses in its seed whose keys were given; none: unwitnessed."""
        return () if self.fixed is None else self.fixed.witnesses

    @property
    def silent_s(self) -> float:
        """For how many seconds nothing could be asked."""
        return total_s(self.silences)

    @property
    def counts(self) -> Mapping[str, int]:
        """How many prompts were due (``scheduled``), and what became of them and of others."""
        scheduled = [prompt for prompt in self.prompts if prompt.is_planned]
        return {
            "scheduled": len(scheduled),
            "asked": sum(prompt.issued_s is not None for prompt in scheduled),
            "excused": sum(prompt.is_excused for prompt in scheduled),
            "missed": sum(prompt.is_missed for prompt in self.prompts),
            "added": sum(prompt.is_added for prompt in self.prompts),
        }


def prove_schedule(
    log: SessionLog,
    records: SealedRecords,
    *,
    witnesses: Sequence[CosignatureVerifier] = (),
    policies: Sequence[Policy] = (),
) -> ScheduleProof:
    """Recompute the schedule of a session that is over.

    Parameters
    ----------
    log
        All that the log holds of it, as `pipelines.session_log.read_session_log` reads it.
    witnesses
        Whose cosignatures are believed.
    policies
        Among them that which the header names. Where it is not, nobody can say whether the
        schedule's parameters are what they should be, and that is a problem.

    Raises
    ------
    InputError
        If there are neither keys nor a receipt, or the session has not ended yet.
    UnknownSubjectError
        If the key that opens its header was destroyed.
    LedgerError, InvalidRecordError
        If a record or the receipt does not verify: then there is nothing to compare.
    """
    closing, opening = _closing(log), _one(log, SESSION_OPENED)
    header = records.header(opening, log.verifier)
    ended_s = _ended_s(log, closing)
    policy = next((p for p in policies if p.digest == header.policy_digest), None)
    fixed = fixed_schedule(log, opening, closing, header, witnesses)
    proven = proven_prompts(
        log,
        None if fixed is None else fixed.promise,
        ended_s=ended_s,
        silences_ms=closing.fact("silences_ms"),
        record_of=records.of_answer,
        policy=policy,
    )
    problems = [*_sequence_problems(log), *records.header_problems(header, opening)]
    problems += _commitment_problems(log, opening, closing, header)
    problems += [] if fixed is None else fixed_problems(log, closing, fixed, witnesses)
    problems += _policy_problems(header, opening, policy)
    problems += _prompt_problems(closing, fixed, proven)
    problems += [*_count_problems(closing, proven.prompts), *_numbering_problems(log)]
    problems += witness_problems(log, witnesses)
    return ScheduleProof(
        session_id=header.session_id,
        checkpoint=log.checkpoint,
        header=header,
        fixed=fixed,
        ended_s=ended_s,
        phase=str(closing.fact("phase")),
        prompts=proven.prompts,
        silences=proven.silences,
        number=opening.whole("session_number"),
        sequence=log.sequence,
        gaps=log.gaps,
        problems=tuple(problems),
        notes=_notes(header, closing),
    )


def _one(log: SessionLog, kind: str) -> LoggedLeaf:
    found = log.of_kind(kind)
    if len(found) != 1:
        raise LedgerError(f"the session has {len(found)} entries {kind}; 1 was wanted")
    return found[0]


def _closing(log: SessionLog) -> LoggedLeaf:
    if not log.of_kind(SESSION_CLOSED):
        raise InputError(
            "the session has not ended under the log's checkpoint: the schedule's secret is "
            "opened in the closing entry, so ask again then"
        )
    return _one(log, SESSION_CLOSED)


def _ended_s(log: SessionLog, closing: LoggedLeaf) -> float:
    """Return when scheduled prompts ceased; ``InvalidRecordError`` for what no lesson is.

    Before anything is computed of it: a schedule of a thousand years takes a while.
    """
    ended_ms, closed_ms = closing.whole("lesson_end_ms"), after_opening_ms(log, closing)
    if not 0 <= ended_ms <= min(closed_ms, 1000 * LONGEST_S):
        raise InvalidRecordError(
            f"the closing leaf says that the lesson took {ended_ms} ms and is dated "
            f"{closed_ms} ms after the opening"
        )
    return ended_ms / 1000


def _sequence_problems(log: SessionLog) -> list[str]:
    """Return what shows that leaves are missing, doubled or in another order."""
    problems = []
    first, last = log.leaves[0], log.leaves[-1]
    places = [logged.leaf.sequence for logged in log.leaves]
    if places != list(range(len(places))):
        found = {place for place in places if place is not None}
        missing = sorted(set(range(max(found, default=0) + 1)) - found)
        problems.append(f"the session's leaves are not numbered in one row: missing {missing}")
    if (first.leaf.kind, last.leaf.kind) != (SESSION_OPENED, SESSION_CLOSED):
        problems.append("the session's leaves do not begin with its opening and end with its end")
    told = last.fact("first_index"), last.fact("last_index")
    if told != (first.index, log.leaves[-2].index):
        problems.append(f"the closing leaf speaks of entries {told[0]} to {told[1]}")
    committed = [each.leaf.commitment for each in log.leaves if each.leaf.commitment is not None]
    if len(set(committed)) != len(committed):
        problems.append("one of the session's records was logged twice")
    if any(after_opening_ms(log, logged) < -MINUTE_MS for logged in log.leaves):
        problems.append("an entry is dated before the session's opening")
    return problems


def _commitment_problems(
    log: SessionLog, opening: LoggedLeaf, closing: LoggedLeaf, header: ScheduleHeader
) -> list[str]:
    problems = []
    secret = closing.octets("schedule_secret")
    if commitment(secret, header) != opening.octets("schedule_commitment"):
        problems.append("the commitment does not follow from secret and header")
    if closing.fact(FIXED) is None:
        if log.of_kind(PROMPT_ISSUED):
            problems.append("prompts went out before there was a schedule")
        if len(log.leaves) > 2 or closing.fact("phase") != SessionPhase.ABANDONED:
            problems.append("the session was held without a schedule")
    return problems


def _policy_problems(
    header: ScheduleHeader, opening: LoggedLeaf, policy: Policy | None
) -> list[str]:
    if policy is None:
        return ["the policy that the header names is not known: give it with --policy"]
    try:
        assurance = Assurance(str(opening.leaf.assurance))
        wanted = parameters_of(policy, assurance, LearnerPath(str(opening.fact("path"))))
    except ValueError:
        return ["the opening leaf names no assurance or no path"]
    if header.parameters != wanted:
        return ["the schedule's parameters are not those of the policy that the header names"]
    return []


def _prompt_problems(
    closing: LoggedLeaf, fixed: FixedSchedule | None, proven: ProvenPrompts
) -> list[str]:
    problems = list(proven.problems)
    for prompt in proven.prompts:
        problems += [f"prompt {prompt.name}: {fault}" for fault in prompt.faults]
    phase = closing.fact("phase")
    closings = [p for p in proven.prompts if p.origin is PromptOrigin.CLOSING]
    if phase not in {SessionPhase.CLOSED, SessionPhase.ABANDONED}:
        problems.append("the closing leaf names no phase in which a session ends")
    if fixed is not None and phase == SessionPhase.CLOSED and not closings:
        problems.append("the session was closed without a closing prompt")
    return problems


def _notes(header: ScheduleHeader, closing: LoggedLeaf) -> tuple[str, ...]:
    if closing.fact("policy_digest") in {None, header.policy_digest}:
        return ()
    return ("scored under another policy than its schedule was drawn under",)


def _count_problems(closing: LoggedLeaf, prompts: Sequence[ProvenPrompt]) -> list[str]:
    """Return where the closing leaf counts other prompts than there are."""
    issued = [prompt for prompt in prompts if prompt.issued_s is not None]
    found = {"issued": len(issued), "added": sum(prompt.is_added for prompt in issued)}
    if all(prompt.fate_is_known for prompt in issued):
        found["missed"] = sum(prompt.is_missed for prompt in issued)
        found["answered"] = len(issued) - found["missed"]
    told = {name: closing.fact(f"prompts_{name}") for name in found}
    return [
        f"the closing leaf counts {told[name]} prompts {name}; {count} were found"
        for name, count in found.items()
        if told[name] != count
    ]


def _numbering_problems(log: SessionLog) -> list[str]:
    problems = []
    numbers = [session.number for session in log.sequence]
    if log.gaps:
        told = ", ".join(map(str, log.gaps))
        problems.append(f"session numbers {told} of this learner and class are not in the log")
    own = log.leaves[0].fact("session_number")
    problems += [
        f"session {session.number} of this learner and class never ended"
        for session in log.sequence
        if isinstance(own, int) and session.number < own and session.phase is None
    ]
    if len(set(numbers)) != len(numbers) or min(numbers, default=0) < 0:
        problems.append("two sessions of this learner and class have one number, or one has none")
    return problems
