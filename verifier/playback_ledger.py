"""The fold from heartbeats to stretches of server time.

What lies between two heartbeats is judged by the worse of them, in this order:

1. Too far apart, or nobody said that the page was seen where that is required: not covered.
2. Hidden or covered; paused; faster than the policy allows, by the player's own word.
3. The position moved backwards, or further than playing would have brought it: sought. It did not
   move: idle. How far it runs ahead adds up over all heartbeats, so that many small jumps are one
   large one.
4. Seconds of video that were counted before: repeated. So much of the time counts as there are
   new seconds of video for it.

Each second of server time is counted once at most, and each second of a video once at most but
for the policy's tolerances: counted <= (1 + rate_tolerance) x new seconds + seek_tolerance_s.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from verifier.playback import Heartbeat, Stretch, StretchState
from verifier.policy_groups import PlaybackRules
from verifier.seen_video import SeenVideo

MOST_STRETCHES: Final = 1000
"""Of one session; the last one then grows, and is not counted. An honest lesson has dozens."""
_INSTANT_S: Final = 1e-6


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerMemory:
    """What a ledger has to remember of the past, besides its stretches.

    Attributes
    ----------
    last
        The latest heartbeat.
    ahead_s
        How far the position is ahead of where playing would have brought it.
    owed_s
        Counted seconds for which no new second of video has come yet: heartbeats arrive late.
    seen
        What was counted of the videos.
    """

    last: Heartbeat | None = None
    ahead_s: float = 0.0
    owed_s: float = 0.0
    seen: SeenVideo = field(default_factory=SeenVideo)


class PlaybackLedger:
    """Takes heartbeats in, one by one, and has the stretches that follow from them.

    ``memory`` is a value: with it and the stretches another ledger goes on where this one is.
    """

    def __init__(
        self,
        rules: PlaybackRules,
        *,
        required: bool,
        stretches: Sequence[Stretch] = (),
        memory: LedgerMemory | None = None,
    ) -> None:
        """Begin, or go on; ``required``: a heartbeat has to say that the page was seen."""
        self.memory = memory or LedgerMemory()
        self._rules = rules
        self._required = required
        self._stretches = list(stretches)

    @property
    def stretches(self) -> Sequence[Stretch]:
        """By time; each begins where the one before it ended, or later. Only the last one grows."""
        return self._stretches

    def add(self, beat: Heartbeat) -> None:
        """Take one heartbeat in; one that is not later than the latest tells nothing new."""
        last = self.memory.last
        if last is not None and beat.at_s <= last.at_s:
            return
        if last is not None:
            self._judge(last, beat)
        self.memory = replace(self.memory, last=beat)

    def _judge(self, last: Heartbeat, beat: Heartbeat) -> None:
        state = self._unwatched(last, beat)
        if state is not None:
            self._append(last.at_s, beat.at_s, state)
        elif last.position_s is None or beat.position_s is None:
            self._append(last.at_s, beat.at_s, StretchState.COUNTED)
        else:
            self._judge_position(last, beat, last.position_s, beat.position_s)

    def _unwatched(self, last: Heartbeat, beat: Heartbeat) -> StretchState | None:
        """Return why nothing was watched, whatever the position; None if there is no reason."""
        rules, both = self._rules, (last, beat)
        fastest = rules.max_rate * (1 + rules.rate_tolerance)
        unseen = self._required and any(b.visible is None for b in both)
        reasons = (
            (beat.at_s - last.at_s > rules.longest_gap_s or unseen, StretchState.UNCOVERED),
            (any(b.visible is False for b in both), StretchState.HIDDEN),
            (any(b.covered is True for b in both), StretchState.COVERED),
            (any(b.playing is False or b.rate == 0 for b in both), StretchState.IDLE),
            (any(b.rate is not None and b.rate > fastest for b in both), StretchState.TOO_FAST),
        )
        return next((state for holds, state in reasons if holds), None)

    def _judge_position(
        self, last: Heartbeat, beat: Heartbeat, before_s: float, after_s: float
    ) -> None:
        elapsed_s = beat.at_s - last.at_s
        if last.video_id != beat.video_id:
            # It begins where playing may have begun it: at its start, or where it was left.
            begun_s = max(0.0, after_s - elapsed_s * self._rules.max_rate)
            self._count(last.at_s, beat, begun_s, after_s)
            return
        state = self._moved(elapsed_s, after_s - before_s)
        seen = self.memory.seen
        if state is None and seen.fresh_s(beat.video_id or "", before_s, after_s) <= _INSTANT_S:
            state = StretchState.REPEATED  # heartbeats that were late earned their time before
        if state is None:
            self._count(last.at_s, beat, before_s, after_s)
        else:
            self._append(last.at_s, beat.at_s, state)

    def _moved(self, elapsed_s: float, advance_s: float) -> StretchState | None:
        """Return what is wrong with how far the position moved, if anything."""
        rules = self._rules
        if advance_s < -rules.seek_tolerance_s:
            return StretchState.SOUGHT
        if advance_s <= 0:
            return StretchState.IDLE
        playing_s = elapsed_s * rules.max_rate * (1 + rules.rate_tolerance)
        ahead_s = max(0.0, self.memory.ahead_s + advance_s - playing_s)
        # Whoever jumped has used the tolerance up: it is not there again for the next jump.
        self.memory = replace(self.memory, ahead_s=min(ahead_s, rules.seek_tolerance_s))
        return StretchState.SOUGHT if ahead_s > rules.seek_tolerance_s else None

    def _count(self, start_s: float, beat: Heartbeat, before_s: float, after_s: float) -> None:
        """Count so much of the time as there are new seconds of video; the rest is withheld."""
        rules, memory, video = self._rules, self.memory, beat.video_id or ""
        fresh_s = memory.seen.fresh_s(video, before_s, after_s)
        earned_s = fresh_s * (1 + rules.rate_tolerance)
        allowed_s = max(0.0, earned_s + rules.seek_tolerance_s - memory.owed_s)
        until_s = min(beat.at_s, start_s + allowed_s)
        owed_s = memory.owed_s + (until_s - start_s) - earned_s
        self.memory = replace(
            memory, owed_s=max(0.0, owed_s), seen=memory.seen.with_piece(video, before_s, after_s)
        )
        repeats = fresh_s < after_s - before_s - _INSTANT_S
        rest = StretchState.REPEATED if repeats else StretchState.IDLE
        self._append(start_s, until_s, StretchState.COUNTED)
        self._append(until_s, beat.at_s, rest)

    def _append(self, start_s: float, end_s: float, state: StretchState) -> None:
        if end_s <= start_s:
            return
        if len(self._stretches) >= MOST_STRETCHES - 1:
            state = StretchState.UNCOVERED
        last = self._stretches[-1] if self._stretches else None
        if last is not None and last.state is state and last.end_s == start_s:
            self._stretches[-1] = replace(last, end_s=end_s)
        else:
            self._stretches.append(Stretch(start_s=start_s, end_s=end_s, state=state))
