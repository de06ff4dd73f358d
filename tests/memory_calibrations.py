"""Calibrations in memory, the latest activated one in force."""

from verifier.calibration import Calibration


class MemoryCalibrations:
    """A `pipelines.calibration_book.CalibrationBook`; begins with what is built in."""

    def __init__(self, built_in: Calibration) -> None:
        self._current = built_in
        self._known = {None: built_in, built_in.calibration_id: built_in}

    def activate(self, calibration: Calibration) -> None:
        """Let a calibration be in force from now on."""
        self._current = self._known[calibration.calibration_id] = calibration

    def current(self) -> Calibration:
        return self._current

    def of_session(self, calibration_id: str | None) -> Calibration:
        return self._known[calibration_id]
