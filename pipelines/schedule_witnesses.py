"""Whose word there is for the checkpoint that a schedule hangs on, and for the session's end."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from pipelines.session_log import LoggedLeaf, SessionLog
from verifier.errors import InvalidRecordError, LedgerError
from verifier.schedule import ScheduleHeader, SchedulePromise
from verifier.transparency.base64_text import from_base64
from verifier.transparency.checkpoint import Checkpoint, open_checkpoint
from verifier.transparency.cosignature import Cosignature, CosignatureVerifier
from verifier.transparency.note import SignedNote

TIMELY_S: Final = 60
"""A cosignature dated further from the opening than this would have left time to choose."""
FIXED: Final = "schedule_checkpoint_size"


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


def fixed_schedule(
    log: SessionLog,
    opening: LoggedLeaf,
    closing: LoggedLeaf,
    header: ScheduleHeader,
    witnesses: Sequence[CosignatureVerifier],
) -> FixedSchedule | None:
    """Return what was published; None where nothing was before the session was given up."""
    if closing.fact(FIXED) is None:
        return None
    size = closing.whole(FIXED)
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


def fixed_problems(
    log: SessionLog,
    closing: LoggedLeaf,
    fixed: FixedSchedule,
    witnesses: Sequence[CosignatureVerifier],
) -> list[str]:
    """Return what shows that the checkpoint was chosen, or not signed by whom it had to be."""
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
    ids = {f"{each.name}+{each.key_id.hex()}" for each in witnesses if each.name in fixed.witnesses}
    if unasked := sorted(ids - set(fixed.asked)):
        problems.append(f"cosigned by {', '.join(unasked)}, whom the opening leaf does not name")
    if fixed.unknown_cosignatures and witnesses:
        count = fixed.unknown_cosignatures
        problems.append(f"{count} cosignatures in the seed are by none of the witnesses given")
    return problems


def witness_problems(log: SessionLog, witnesses: Sequence[CosignatureVerifier]) -> list[str]:
    """Return whose cosignature no checkpoint that holds the session's end has.

    The seed's cosignatures are of the start: what came after it could still be written anew.
    """
    problems = []
    for witness in witnesses:
        timestamps = [
            cosignature.timestamp
            for head in log.heads
            if (cosignature := _cosignature_of_end(log, head, witness)) is not None
        ]
        if not timestamps:
            problems.append(f"the session's end is under no checkpoint cosigned by {witness.name}")
        elif max(each.leaf.time.timestamp() for each in log.leaves) > max(timestamps) + TIMELY_S:
            problems.append(f"an entry is dated after {witness.name} cosigned it")
    return problems


def _cosignature_of_end(
    log: SessionLog, head: bytes, witness: CosignatureVerifier
) -> Cosignature | None:
    try:
        checkpoint = open_checkpoint(head, log.verifier)
        cosignature = witness.verify(SignedNote.parse(head))
        holds = log.root_at(checkpoint.size) == checkpoint.root
    except (LedgerError, InvalidRecordError):
        return None
    return cosignature if holds and checkpoint.size > log.leaves[-1].index else None
