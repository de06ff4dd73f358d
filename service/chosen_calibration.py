"""Which calibration a command works with: the one in a file, else the built-in one, else none."""

from pathlib import Path

from models.packs import Pack
from verifier.calibration import (
    MOST_BYTES,
    AnyCalibration,
    Calibration,
    Metric,
    Uncalibrated,
    default_calibration,
    parse_calibration,
)
from verifier.errors import InputError


def metric_of(pack: Pack) -> Metric:
    """Return how the vectors of a pack are compared; ``InputError`` if it makes none."""
    if pack.contract is None:
        raise InputError(f"the pack {pack.name} compares no faces; one that does was wanted")
    return Metric(pack.contract.metric)


def chosen_calibration(path: Path | None, pack: Pack) -> AnyCalibration:
    """Return the calibration in the file, which must be for the pack.

    Without a file the built-in one of the pack's contract; if there is none, `Uncalibrated`.

    Raises
    ------
    InputError
        If the file cannot be read, is no calibration, or its caps promise more than its data
        support.
    ContractMismatchError
        If it is one for another contract or metric.
    """
    metric = metric_of(pack)
    if path is None:
        built_in = default_calibration(pack.contract_id)
        return built_in or Uncalibrated(contract_id=pack.contract_id, metric=metric)
    given = read_calibration(path)
    given.require_fits(pack.contract_id, metric)
    try:
        given.require_supported(default_calibration(pack.contract_id))
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    return given


def read_calibration(path: Path) -> Calibration:
    """Read a contract that ``calibrate`` wrote; ``InputError`` names the file."""
    try:
        with path.open("rb") as file:
            # One more than any calibration has, which is refused.
            return parse_calibration(file.read(MOST_BYTES + 1))
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
