"""When prompts are due: times and kinds that nobody chose and anybody can recompute.

1. ``s``: 32 fresh secret bytes. ``C = commitment(s, header)`` goes into the log before the start.
2. The first checkpoint that contains ``C``, with its witness cosignatures, is signed.
3. ``seed(s, C, root, cosignatures)``: whoever knew ``s`` could not choose the root, and whoever
   signs checkpoints could not choose ``s``, so neither chose the seed.
4. :class:`PlannedPrompts` draws gaps ``min_gap + Exp(mean_gap - min_gap)`` from it, without end.
5. When the session is over ``s`` is opened, and :func:`verify_schedule` repeats all of it.

Past the floor the hazard is constant: however long one has waited, the next prompt is as near as
ever, so there is no safe moment to leave. ``docs/prompts.md`` repeats this with standard tools.
"""

import hashlib
import hmac
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import count, takewhile
from typing import Any

from verifier.credit import Pause
from verifier.errors import InvalidRecordError
from verifier.policy_groups import PromptRules
from verifier.transparency.canonical_json import canonical_json

DOMAIN = b"zhenxue/schedule/v1"
_PROMPT_LABEL = b"prompt"
_ADDED_LABEL = b"added"
_INNER = bytes(byte ^ 0x36 for byte in range(256))  # of HMAC, RFC 2104
_OUTER = bytes(byte ^ 0x5C for byte in range(256))


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleParameters:
    """What shapes the schedule; whole seconds, so that their canonical form has no fractions.

    Attributes
    ----------
    min_gap_s
        Floor of a gap, 0 to 30: a longer one would be time in which nobody needs to be there.
    mean_gap_s
        Mean gap, more than ``min_gap_s``.
    kinds
        Names of the kinds of prompt that may be drawn, each equally likely.
    """

    min_gap_s: int
    mean_gap_s: int
    kinds: tuple[str, ...]

    def __post_init__(self) -> None:
        if not 0 <= self.min_gap_s <= 30:
            raise InvalidRecordError(f"min_gap_s is {self.min_gap_s}; 0 to 30 was wanted")
        if self.mean_gap_s <= self.min_gap_s:
            wanted = f"more than min_gap_s {self.min_gap_s}"
            raise InvalidRecordError(f"mean_gap_s is {self.mean_gap_s}; {wanted} was wanted")
        if not self.kinds or len(set(self.kinds)) != len(self.kinds):
            raise InvalidRecordError("kinds is empty or repeats one; distinct kinds were wanted")

    @classmethod
    def of(cls, rules: PromptRules) -> "ScheduleParameters":
        """Return what a policy's rules say of the schedule."""
        return cls(min_gap_s=rules.min_gap_s, mean_gap_s=rules.mean_gap_s, kinds=rules.kinds)


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleHeader:
    """What a schedule is bound to, all of it fixed before the session starts.

    ``policy_digest`` is lower-case hex SHA-256; ``opened_at`` is timezone-aware.
    """

    session_id: str
    learner_id: str
    class_id: str
    platform_id: str
    policy_digest: str
    parameters: ScheduleParameters
    opened_at: datetime

    def canonical(self) -> bytes:
        """Return the bytes that the commitment covers."""
        return canonical_json(self.to_record())

    def to_record(self) -> dict[str, Any]:
        """Return the public form; ``opened_at`` in UTC to the microsecond."""
        if self.opened_at.utcoffset() is None:
            raise InvalidRecordError("opened_at has no zone; a timezone-aware time was wanted")
        opened_at = self.opened_at.astimezone(UTC)
        return {
            "session": self.session_id,
            "learner": self.learner_id,
            "class": self.class_id,
            "platform": self.platform_id,
            "policy": self.policy_digest,
            "schedule": {
                "kinds": list(self.parameters.kinds),
                "mean_gap_s": self.parameters.mean_gap_s,
                "min_gap_s": self.parameters.min_gap_s,
            },
            "opened_at": opened_at.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        }

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> "ScheduleHeader":
        """Read what ``to_record`` wrote; ``InvalidRecordError`` if it is anything else."""
        try:
            schedule = record["schedule"]
            return cls(
                session_id=record["session"],
                learner_id=record["learner"],
                class_id=record["class"],
                platform_id=record["platform"],
                policy_digest=record["policy"],
                parameters=ScheduleParameters(
                    min_gap_s=schedule["min_gap_s"],
                    mean_gap_s=schedule["mean_gap_s"],
                    kinds=tuple(schedule["kinds"]),
                ),
                opened_at=datetime.fromisoformat(record["opened_at"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise InvalidRecordError(f"a schedule's header cannot be read: {error}") from None


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedPrompt:
    """One prompt of the schedule: its index from 0, seconds from the start, and kind."""

    index: int
    offset_s: float = field(repr=False)  # it may be one that is still to come
    kind: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedPrompts:
    """The endless schedule that follows from a seed; iterate, or ask :meth:`until`.

    Holds future prompt times, and thus belongs in no log, no page and no cache.
    """

    seed: bytes
    parameters: ScheduleParameters

    def __post_init__(self) -> None:
        _require_32("seed", self.seed)

    def __repr__(self) -> str:
        return "PlannedPrompts(seed=…)"

    def __iter__(self) -> Iterator[PlannedPrompt]:
        """Yield prompts by time, for ever."""
        kinds = self.parameters.kinds
        for index, (due_ms, place) in enumerate(self.draws()):
            yield PlannedPrompt(index=index, offset_s=due_ms / 1000, kind=kinds[place])

    def draws(self) -> Iterator[tuple[int, int]]:
        """Yield of each prompt when it is due, in ms, and the place of its kind, for ever.

        The same schedule without a value for each prompt: for a whole city's sessions at once.
        """
        parameters = self.parameters
        min_gap_s, mean_gap_s = parameters.min_gap_s, parameters.mean_gap_s
        kinds = len(parameters.kinds)
        draw_of = _keyed(self.seed)
        due_ms = 0
        for index in count():
            draw = draw_of(_PROMPT_LABEL + index.to_bytes(8, "big"))
            due_ms += _gap_ms(draw, min_gap_s, mean_gap_s)
            yield due_ms, int.from_bytes(draw[8:16], "big") % kinds

    def until(self, end_s: float) -> tuple[PlannedPrompt, ...]:
        """Return the prompts due before ``end_s`` seconds."""
        return tuple(takewhile(lambda prompt: prompt.offset_s < end_s, self))

    def added_gap_ms(self, index: int, *, min_gap_s: int, mean_gap_s: int) -> int:
        """Return how long after scheduled prompt ``index`` was resolved an added one is due.

        A prompt that was missed or referred brings another one, at a moment which is as much the
        seed's as the scheduled ones are: nobody adds prompts when it suits them.

        Parameters
        ----------
        index
            The scheduled prompt that was missed or referred.
        min_gap_s, mean_gap_s
            The policy's gaps for added prompts, whole seconds, ``min_gap_s < mean_gap_s``.
        """
        draw = _keyed(self.seed)(_ADDED_LABEL + index.to_bytes(8, "big"))
        return _gap_ms(draw, min_gap_s, mean_gap_s)


def _gap_ms(draw: bytes, min_gap_s: int, mean_gap_s: int) -> int:
    # Whole milliseconds: two machines whose logarithms differ in the last bit still agree.
    uniform = (int.from_bytes(draw[:8], "big") >> 11) / 2**53  # 0 <= u < 1
    return round(1000 * (min_gap_s - (mean_gap_s - min_gap_s) * math.log1p(-uniform)))


def _keyed(key: bytes) -> Callable[[bytes], bytes]:
    """Return HMAC-SHA-256 under ``key``, 32 bytes.

    As `hmac.digest`, but the key's two blocks are hashed once for all prompts of a session.
    """
    block = key.ljust(64, b"\0")
    inner = hashlib.sha256(block.translate(_INNER))
    outer = hashlib.sha256(block.translate(_OUTER))

    def digest(message: bytes) -> bytes:
        within, around = inner.copy(), outer.copy()
        within.update(message)
        around.update(within.digest())
        return around.digest()

    return digest


def commitment(secret: bytes, header: ScheduleHeader) -> bytes:
    """Return ``SHA-256("zhenxue/schedule/v1" ‖ s ‖ canonical header)``, 32 bytes for the log."""
    _require_32("secret", secret)
    return hashlib.sha256(DOMAIN + secret + header.canonical()).digest()


def seed(
    secret: bytes, committed: bytes, checkpoint_root: bytes, cosignatures: Sequence[bytes] = ()
) -> bytes:
    """Return ``HMAC-SHA-256(s, C ‖ root ‖ cosignatures)``, 32 bytes.

    Cosignatures are joined in ascending byte order: their order on the checkpoint is the
    operator's to choose, and a choice of order would be a choice of schedule.

    Raises
    ------
    InvalidRecordError
        If a part has the wrong length, or a cosignature is repeated.
    """
    for name, value in (("secret", secret), ("C", committed), ("root", checkpoint_root)):
        _require_32(name, value)
    if len(set(cosignatures)) != len(cosignatures):
        raise InvalidRecordError("a cosignature is repeated; each witness signs once")
    message = committed + checkpoint_root + b"".join(sorted(cosignatures))
    return hmac.digest(secret, message, "sha256")


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuedPrompt:
    """What the record says about one scheduled prompt that went out."""

    index: int
    kind: str
    issued_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SchedulePromise:
    """What was published: the commitment before the session, the secret after it."""

    secret: bytes = field(repr=False)
    header: ScheduleHeader
    committed: bytes
    checkpoint_root: bytes
    cosignatures: tuple[bytes, ...] = ()

    @property
    def seed(self) -> bytes:
        """What the schedule follows from, 32 bytes."""
        return seed(self.secret, self.committed, self.checkpoint_root, self.cosignatures)


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleVerdict:
    """How a record compares with its schedule; each entry is a prompt's index.

    Attributes
    ----------
    committed
        Whether the commitment follows from secret and header.
    missing
        Due in the session, outside every silence, and never issued.
    excused
        Due in a silence and not issued.
    foreign
        Issued with an index, kind or time that the schedule does not hold.
    late
        Issued more than the tolerance after they were due.
    """

    committed: bool
    missing: tuple[int, ...]
    excused: tuple[int, ...]
    foreign: tuple[int, ...]
    late: tuple[int, ...]

    @property
    def ok(self) -> bool:
        """Whether the session was asked exactly what was promised; late ones are told, not held."""
        return self.committed and not self.missing and not self.foreign


def verify_schedule(
    promise: SchedulePromise,
    issued: Sequence[IssuedPrompt],
    *,
    ended_s: float,
    silences: Sequence[Pause] = (),
    tolerance_s: float = 5,
) -> ScheduleVerdict:
    """Recompute a session's schedule and compare it with what was issued.

    Parameters
    ----------
    issued
        Scheduled prompts only; opening, closing and added ones are in no schedule.
    ended_s
        When scheduled prompts ceased: the announced end, or the abandonment.
    silences
        When the engine could ask nothing: pauses, in which nothing is earned either, and a prompt
        that was still open at the end (:attr:`verifier.session.SessionState.silences`).
    tolerance_s
        How late a prompt may go out without being listed in ``late``; one that waited for
        another prompt to be answered is listed.
    """
    planned = PlannedPrompts(seed=promise.seed, parameters=promise.header.parameters)
    # What is due at the very end (in a log: within its millisecond) may go out and need not.
    due = {p.index: p for p in takewhile(lambda p: p.offset_s <= ended_s, planned)}
    plan = tuple(prompt for prompt in due.values() if prompt.offset_s < ended_s)
    went_out = {prompt.index for prompt in issued}
    silent = [prompt for prompt in plan if prompt.index not in went_out]
    excused = {p.index for p in silent if _within(p.offset_s, silences)}
    expected = commitment(promise.secret, promise.header)
    return ScheduleVerdict(
        committed=hmac.compare_digest(expected, promise.committed),
        missing=tuple(p.index for p in silent if p.index not in excused),
        excused=tuple(sorted(excused)),
        foreign=_foreign(issued, due),
        late=tuple(p.index for p in issued if _late_s(p, due) > tolerance_s),
    )


def _foreign(issued: Sequence[IssuedPrompt], due: dict[int, PlannedPrompt]) -> tuple[int, ...]:
    indexes = [prompt.index for prompt in issued]
    return tuple(
        prompt.index
        for at, prompt in enumerate(issued)
        if prompt.index not in due
        or due[prompt.index].kind != prompt.kind
        or prompt.issued_s < due[prompt.index].offset_s
        or prompt.index in indexes[:at]
    )


def _late_s(issued: IssuedPrompt, due: dict[int, PlannedPrompt]) -> float:
    planned = due.get(issued.index)
    return 0.0 if planned is None else issued.issued_s - planned.offset_s


def _within(at_s: float, pauses: Sequence[Pause]) -> bool:
    return any(pause.start_s <= at_s <= pause.end_s for pause in pauses)


def _require_32(name: str, value: bytes) -> None:
    if len(value) != 32:
        raise InvalidRecordError(f"{name} has {len(value)} bytes; 32 were wanted")
