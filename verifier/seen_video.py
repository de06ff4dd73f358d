"""Which seconds of which video were seen before: a union of intervals for each of them.

Bounded. Where there would be more pieces than may be, the two nearest become one, and of more
videos than may be nothing counts as new: what is forgotten takes credit away, never gives it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final, TypeAlias

MOST_VIDEOS: Final = 100
MOST_PIECES: Final = 64
"""Of one video: each jump may begin another."""

Piece: TypeAlias = tuple[float, float]
"""From and to, in seconds of the video."""


@dataclass(frozen=True, slots=True)
class SeenVideo:
    """Seconds of videos that were seen; ``""`` is the video that has no id.

    ``pieces`` are sorted and do not touch.
    """

    pieces: Mapping[str, tuple[Piece, ...]] = field(default_factory=dict)

    def fresh_s(self, video_id: str, start_s: float, end_s: float) -> float:
        """Return how many seconds of ``start_s`` to ``end_s`` were never seen."""
        if self._is_full_for(video_id):
            return 0.0
        seen = self.pieces.get(video_id, ())
        overlaps = (min(end_s, end) - max(start_s, start) for start, end in seen)
        return max(0.0, end_s - start_s - sum(max(0.0, overlap) for overlap in overlaps))

    def with_piece(self, video_id: str, start_s: float, end_s: float) -> "SeenVideo":
        """Return what was seen together with one more piece."""
        if self._is_full_for(video_id) or end_s <= start_s:
            return self
        joined = _joined([*self.pieces.get(video_id, ()), (start_s, end_s)])
        if len(joined) > MOST_PIECES:
            joined = _without_smallest_gap(joined)
        return SeenVideo({**self.pieces, video_id: tuple(joined)})

    def _is_full_for(self, video_id: str) -> bool:
        return video_id not in self.pieces and len(self.pieces) >= MOST_VIDEOS


def _joined(pieces: list[Piece]) -> list[Piece]:
    joined: list[Piece] = []
    for start_s, end_s in sorted(pieces):
        if joined and start_s <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(joined[-1][1], end_s))
        else:
            joined.append((start_s, end_s))
    return joined


def _without_smallest_gap(pieces: list[Piece]) -> list[Piece]:
    gaps = [after[0] - before[1] for before, after in pairwise(pieces)]
    at = gaps.index(min(gaps))
    return [*pieces[:at], (pieces[at][0], pieces[at + 1][1]), *pieces[at + 2 :]]
