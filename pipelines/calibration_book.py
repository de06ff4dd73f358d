"""Port to the calibrations of one template contract: the one in force, and every earlier one.

A session is judged to its end by the calibration that it was opened under, whatever has been
activated since: nobody's lesson is measured with two rulers.
"""

from typing import Protocol

from verifier.calibration import Calibration


class CalibrationBook(Protocol):
    """Knows the calibrations of the contract in use; safe for threads."""

    def current(self) -> Calibration:
        """Return the one that whatever begins now is judged by.

        Raises
        ------
        InputError
            If none is in force for the contract in use.
        """

    def of_session(self, calibration_id: str | None) -> Calibration:
        """Return the one that a session was opened under, by its id.

        None: the session is older than such ids, and was opened under the built-in one.

        Raises
        ------
        LedgerError
            If it is not on record.
        """
