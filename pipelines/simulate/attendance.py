"""Who sits before the camera when, and so what the truth is."""

from collections.abc import Sequence
from dataclasses import dataclass

from pipelines.simulate.webcam import Sitter, Webcam


@dataclass(frozen=True, slots=True, kw_only=True)
class Seat:
    """From ``from_s`` on, until the next seat: these photographs take turns, or nobody sits there.

    ``enrolled`` says whether the sitter is the enrolled person: the truth that the engine is
    measured against and never sees.
    """

    from_s: float
    sitters: Sequence[Sitter] = ()
    enrolled: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Attendance:
    """A lesson as it really went; ``seats`` by time, the first from second 0."""

    seats: Sequence[Seat]
    duration_s: float

    def __post_init__(self) -> None:
        starts = [seat.from_s for seat in self.seats]
        if not starts or starts[0] != 0 or starts != sorted(starts):
            raise ValueError(f"seats start at {starts}; wanted 0 first, then ascending")
        if starts[-1] > self.duration_s:
            raise ValueError(f"a seat starts at {starts[-1]} s of a lesson of {self.duration_s} s")

    def truth_s(self) -> float:
        """Return the seconds during which the enrolled person sat there."""
        return sum(end - start for start, end in self.enrolled_stretches())

    def enrolled_stretches(self) -> list[tuple[float, float]]:
        """Return from when to when the enrolled person sat there, in seconds."""
        ends = [*(seat.from_s for seat in self.seats[1:]), self.duration_s]
        return [(s.from_s, end) for s, end in zip(self.seats, ends, strict=True) if s.enrolled]

    def capture(self, webcam: Webcam, at_s: float) -> list[bytes]:
        """Return the frames that a webcam takes at ``at_s``."""
        seat = [seat for seat in self.seats if seat.from_s <= at_s][-1]
        if not seat.sitters:
            return webcam.film_room()
        # Photographs take turns every three minutes, so that a lesson shows each of them.
        return webcam.film(seat.sitters[int(at_s // 180) % len(seat.sitters)])
