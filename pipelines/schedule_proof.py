"""Whether a session was asked exactly when chance, fixed beforehand, said so.

From the log alone, with one thing that the log keeps sealed: the schedule's header.

1. The session's leaves lie under the signed checkpoint, none left out of their sequence.
2. The header is what the opening leaf committed to, and speaks of this very session.
3. ``C`` follows from the opened secret and the header; it was in the log before any prompt.
4. The root that the schedule hangs on is the root of the first so many entries, which held ``C``.
5. Every cosignature that went into the seed is a known witness's.
6. Every prompt of the schedule went out, or has a reason; no other one did, unless it was added.
7. The sessions of the learner in the class are numbered without a gap.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from pipelines.schedule_header import SealedRecords
from pipelines.schedule_prompts import ISSUED, ProvenPrompt, proven_prompts
from pipelines.session_log import (
    CLOSED,
    OPENED,
    LoggedLeaf,
    NumberedSession,
    SessionLog,
)
from verifier.errors import InputError, InvalidRecordError, LedgerError
from verifier.policy import Policy
from verifier.schedule import ScheduleHeader, SchedulePromise, commitment
from verifier.transparency.base64_text import from_base64
from verifier.transparency.checkpoint import Checkpoint
from verifier.transparency.cosignature import Cosignature, CosignatureVerifier

TIMELY_S: Final = 60
"""A cosignature dated further from the opening than this would have left time to choose."""
_FIXED: Final = "schedule_checkpoint_size"


@dataclass(frozen=True, slots=True, kw_only=True)
class FixedSchedule:
    """What was published of a schedule, and whose word for it there is.

    Attributes
    ----------
    checkpoint_size
        Entries under the checkpoint that the seed follows from.
    witnesses
        Names of those whose cosignatures are in the seed, of those whose keys were given.
    unknown_cosignatures
        Cosignatures in the seed that are by no key that was given.
    asked
        Name and key id of each witness that was to cosign, as the opening leaf tells.
    """

    promise: SchedulePromise
    checkpoint_size: int
    asked: tuple[str, ...]
    witnesses: tuple[str, ...]
    unknown_cosignatures: int


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
    number, sequence, gaps
        Its number among the learner's sessions in the class; all of these; numbers not in the log.
    problems
        What does not follow; empty if the proof holds.
    """

    session_id: str
    checkpoint: Checkpoint
    header: ScheduleHeader
    fixed: FixedSchedule | None
    ended_s: float
    phase: str
    prompts: tuple[ProvenPrompt, ...]
    number: int
    sequence: tuple[NumberedSession, ...]
    gaps: tuple[int, ...]
    problems: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Whether everything follows."""
        return not self.problems

    @property
    def witnesses(self) -> tuple[str, ...]:
        """Names of the witnesses in its seed whose keys were given; none: unwitnessed."""
        return () if self.fixed is None else self.fixed.witnesses

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
        Among them that which the header names, whose gaps added prompts keep to.

    Raises
    ------
    InputError
        If there are neither keys nor a receipt, or the session has not ended yet.
    UnknownSubjectError
        If the key that opens its header was destroyed.
    LedgerError, InvalidRecordError
        If a record or the receipt does not verify: then there is nothing to compare.
    """
    closing, opening = _closing(log), _one(log, OPENED)
    header = records.header(opening, log.verifier)
    problems = [*_sequence_problems(log), *records.header_problems(header, opening)]
    fixed = _fixed(log, opening, closing, header, witnesses)
    problems += _commitment_problems(log, opening, closing, header)
    problems += [] if fixed is None else _fixed_problems(log, closing, fixed, witnesses)
    ended_s = closing.whole("lesson_end_ms") / 1000
    prompts = proven_prompts(
        log,
        None if fixed is None else fixed.promise,
        ended_s=ended_s,
        silences_ms=closing.fact("silences_ms"),
        record_of=records.of_answer,
        policy=next((p for p in policies if p.digest == header.policy_digest), None),
    )
    problems += [f"prompt {prompt.name}: {fault}" for prompt in prompts for fault in prompt.faults]
    return ScheduleProof(
        session_id=header.session_id,
        checkpoint=log.checkpoint,
        header=header,
        fixed=fixed,
        ended_s=ended_s,
        phase=str(closing.fact("phase")),
        prompts=prompts,
        number=opening.whole("session_number"),
        sequence=log.sequence,
        gaps=log.gaps,
        problems=(*problems, *_count_problems(closing, prompts), *_numbering_problems(log)),
    )


def _one(log: SessionLog, kind: str) -> LoggedLeaf:
    found = log.of_kind(kind)
    if len(found) != 1:
        raise LedgerError(f"the session has {len(found)} entries {kind}; 1 was wanted")
    return found[0]


def _closing(log: SessionLog) -> LoggedLeaf:
    if not log.of_kind(CLOSED):
        raise InputError(
            "the session has not ended under the log's checkpoint: the schedule's secret is "
            "opened in the closing entry, so ask again then"
        )
    return _one(log, CLOSED)


def _sequence_problems(log: SessionLog) -> list[str]:
    """Return what shows that leaves are missing, doubled or in another order."""
    problems = []
    first, last = log.leaves[0], log.leaves[-1]
    places = [logged.leaf.sequence for logged in log.leaves]
    if places != list(range(len(places))):
        found = {place for place in places if place is not None}
        missing = sorted(set(range(max(found, default=0) + 1)) - found)
        problems.append(f"the session's leaves are not numbered in one row: missing {missing}")
    if (first.leaf.kind, last.leaf.kind) != (OPENED, CLOSED):
        problems.append("the session's leaves do not begin with its opening and end with its end")
    told = last.fact("first_index"), last.fact("last_index")
    if told != (first.index, log.leaves[-2].index):
        problems.append(f"the closing leaf speaks of entries {told[0]} to {told[1]}")
    return problems


def _fixed(
    log: SessionLog,
    opening: LoggedLeaf,
    closing: LoggedLeaf,
    header: ScheduleHeader,
    witnesses: Sequence[CosignatureVerifier],
) -> FixedSchedule | None:
    """Return what was published; None where nothing was before the session was given up."""
    if closing.fact(_FIXED) is None:
        return None
    size = closing.whole(_FIXED)
    promise = SchedulePromise(
        secret=closing.octets("schedule_secret"),
        header=header,
        committed=opening.octets("schedule_commitment"),
        checkpoint_root=log.root_at(size),  # recomputed, whatever the closing leaf says
        cosignatures=_cosignatures(closing),
    )
    head = Checkpoint(origin=log.checkpoint.origin, size=size, root=promise.checkpoint_root)
    known = _cosigners(head, promise.cosignatures, witnesses)
    return FixedSchedule(
        promise=promise,
        checkpoint_size=size,
        asked=_asked(opening),
        witnesses=known,
        unknown_cosignatures=len(promise.cosignatures) - len(known),
    )


def _cosignatures(closing: LoggedLeaf) -> tuple[bytes, ...]:
    told = closing.fact("schedule_cosignatures")
    if told is None:  # logged before there were witnesses
        return ()
    if not isinstance(told, list) or not all(isinstance(text, str) for text in told):
        raise InvalidRecordError("schedule_cosignatures is no list of texts")
    return tuple(map(from_base64, told))


def _asked(opening: LoggedLeaf) -> tuple[str, ...]:
    told = opening.fact("witnesses") or []
    if not isinstance(told, list) or not all(isinstance(text, str) for text in told):
        raise InvalidRecordError("the opening leaf's witnesses are no list of texts")
    return tuple(told)


def _cosigners(
    head: Checkpoint, cosignatures: Sequence[bytes], witnesses: Sequence[CosignatureVerifier]
) -> tuple[str, ...]:
    """Return the name of the witness behind each cosignature, of those that are known."""
    text = head.text()
    found = [
        next((witness.name for witness in witnesses if _is_by(witness, text, cosignature)), None)
        for cosignature in cosignatures
    ]
    return tuple(sorted(name for name in found if name is not None))


def _is_by(witness: CosignatureVerifier, text: str, cosignature: bytes) -> bool:
    try:
        witness.verify_bytes(text, Cosignature.from_bytes(cosignature))
    except (LedgerError, InvalidRecordError):
        return False
    return True


def _commitment_problems(
    log: SessionLog, opening: LoggedLeaf, closing: LoggedLeaf, header: ScheduleHeader
) -> list[str]:
    problems = []
    secret = closing.octets("schedule_secret")
    if commitment(secret, header) != opening.octets("schedule_commitment"):
        problems.append("the commitment does not follow from secret and header")
    if closing.fact(_FIXED) is None and log.of_kind(ISSUED):
        problems.append("prompts went out before there was a schedule")
    return problems


def _fixed_problems(
    log: SessionLog,
    closing: LoggedLeaf,
    fixed: FixedSchedule,
    witnesses: Sequence[CosignatureVerifier],
) -> list[str]:
    problems = []
    size, opening = fixed.checkpoint_size, log.leaves[0]
    if fixed.promise.checkpoint_root != closing.octets("schedule_checkpoint_root"):
        problems.append(f"the root of the first {size} entries is not the one the session names")
    # It held C, and was signed before anything happened that a choice among roots could suit.
    if not opening.index < size <= log.leaves[1].index:
        problems.append(f"a checkpoint of {size} entries is not one between opening and prompts")
    opened_at = opening.leaf.time.timestamp()
    dated = [Cosignature.from_bytes(each).timestamp for each in fixed.promise.cosignatures]
    if any(abs(timestamp - opened_at) > TIMELY_S for timestamp in dated):
        problems.append(f"a cosignature is not dated within {TIMELY_S} s of the opening")
    if len(set(fixed.witnesses)) != len(fixed.witnesses):
        problems.append("a witness cosigned twice: which of both to take was a choice")
    if fixed.unknown_cosignatures and witnesses:
        count = fixed.unknown_cosignatures
        problems.append(f"{count} cosignatures in the seed are by none of the witnesses given")
    return problems


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
    if len(set(numbers)) != len(numbers) or min(numbers, default=0) < 0:
        problems.append("two sessions of this learner and class have one number, or one has none")
    return problems
