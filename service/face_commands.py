"""``zhenxue inspect`` and ``zhenxue compare``: what the models see, on pictures from disk."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from models.image_decoder import STILL_LIMITS, DecodedImage, decode_image
from models.observer import FaceObserver
from models.packs import find_pack
from pipelines.check import FrameChecker
from pipelines.embedded_pictures import clear_face
from service.chosen_calibration import chosen_calibration
from service.chosen_models import chosen_observer
from service.console_output import ExitCode, complain, out, print_json, reports_errors
from service.settings import read_settings
from verifier.calibration import AnyCalibration
from verifier.comparison import ComparisonOutcome, ComparisonResult, compare
from verifier.errors import UnreadableImageError
from verifier.face_light import LightMeasures
from verifier.head_pose import eye_distance_px
from verifier.observation import FaceObservation, FrameObservation
from verifier.quality import REASON_TEXT

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@reports_errors
def inspect(
    images: Annotated[list[Path], typer.Argument(help="JPEG or PNG pictures.")],
    as_json: Json = False,
) -> ExitCode:
    """Show the faces in pictures: box, points, pose, eyes, mouth, quality.

    Exit 0: every picture shows a face. 1: one shows none. 2: one could not be read.
    """
    observer = chosen_observer(read_settings(), judge_attacks=True)
    reports = [_inspect_one(observer, path) for path in images]
    if as_json:
        documents = [report.to_json() for report in reports]
        print_json(documents if len(documents) > 1 else documents[0])
    for report in reports:
        if report.error is not None:
            complain(str(report.error))
        elif not as_json:
            _print_report(report)
    return max(report.exit_code for report in reports)


@reports_errors
def compare_pictures(
    reference: Annotated[Path, typer.Argument(help="Picture of the enrolled person.")],
    probe: Annotated[Path, typer.Argument(help="Picture to compare with it.")],
    calibration: Annotated[
        Path | None,
        typer.Option(help="Contract that `calibrate` wrote; by default the built-in one."),
    ] = None,
    as_json: Json = False,
) -> ExitCode:
    """Compare the faces of two pictures: match, no_match or inconclusive.

    Exit 0: match. 1: no match, or inconclusive. 2: a picture could not be read.
    """
    settings = read_settings()
    observer = chosen_observer(settings)
    chosen = chosen_calibration(calibration, find_pack(settings.pack))
    result, reasons = _compare(observer, _read(reference), _read(probe), chosen)
    if as_json:
        print_json({**result.to_json(), "reasons": list(reasons)})
    else:
        _print_comparison(result, reasons)
    return ExitCode.OK if result.outcome is ComparisonOutcome.MATCH else ExitCode.NEGATIVE


@dataclass(frozen=True, slots=True, kw_only=True)
class _Report:
    path: Path
    observation: FrameObservation | None = None
    decode_ms: float = 0.0
    error: UnreadableImageError | None = None

    @property
    def exit_code(self) -> ExitCode:
        if self.observation is None:
            return ExitCode.BAD_INPUT
        return ExitCode.OK if self.observation.faces else ExitCode.NEGATIVE

    def to_json(self) -> dict[str, Any]:
        """Return the public `inspect` format; an unreadable picture has ``error`` instead."""
        if self.observation is None:
            code = self.error.code if self.error else "unknown"
            return {"image": str(self.path), "error": {"code": code, "message": str(self.error)}}
        elapsed = {"decode": self.decode_ms, **self.observation.elapsed_ms}
        return {
            "image": str(self.path),
            "faces": [_face_json(face) for face in self.observation.faces],
            "ms": {stage: round(value, 2) for stage, value in elapsed.items()},
        }


def _inspect_one(observer: FaceObserver, path: Path) -> _Report:
    started = time.perf_counter()
    try:
        image = _read(path)
    except UnreadableImageError as error:
        return _Report(path=path, error=error)
    decode_ms = (time.perf_counter() - started) * 1e3
    return _Report(path=path, observation=observer.observe(image.pixels), decode_ms=decode_ms)


def _read(path: Path) -> DecodedImage:
    """Decode a picture; an error names the file."""
    if path.exists() and not path.is_file():
        # A pipe could keep the reader waiting for ever.
        raise UnreadableImageError("not_a_file", f"{path}: not a regular file")
    try:
        with path.open("rb") as file:
            # No more of the file than the decoder would accept.
            return decode_image(file.read(STILL_LIMITS.max_bytes + 1), STILL_LIMITS)
    except OSError as error:
        message = f"{path}: cannot be read: {error.strerror}"
        raise UnreadableImageError("not_a_file", message) from error
    except UnreadableImageError as error:
        raise UnreadableImageError(error.code, f"{path}: {error}") from error


def _compare(
    observer: FaceObserver,
    reference: DecodedImage,
    probe: DecodedImage,
    calibration: AnyCalibration,
) -> tuple[ComparisonResult, tuple[str, ...]]:
    """Compare the one face that each picture is of; none, or no clear one, is inconclusive."""
    enrolled_faces = observer.observe(reference.pixels).faces
    shown_faces = observer.observe(probe.pixels).faces
    enrolled, shown = clear_face(enrolled_faces), clear_face(shown_faces)
    reasons = (
        *_reasons("reference", enrolled, of=len(enrolled_faces)),
        *_reasons("probe", shown, of=len(shown_faces)),
    )
    if enrolled is None or shown is None:
        return ComparisonResult.not_measured(calibration), reasons
    checker = FrameChecker(observer=observer)
    result = compare(checker.template(enrolled), checker.template(shown), calibration)
    unfit = enrolled.quality or shown.quality
    return result.of_unfit_face() if unfit else result, reasons


def _reasons(name: str, clear: FaceObservation | None, *, of: int) -> list[str]:
    """Say what stands in the way of a comparison, or weakens it; ``of`` counts all faces."""
    if clear is None:
        return [f"{name}: {of} faces, 1 wanted"]
    others = [f"{name}: {of} faces, the largest compared"] if of > 1 else []
    return others + [f"{name}: {reason}" for reason in clear.quality]


def _face_json(face: FaceObservation) -> dict[str, Any]:
    box = face.box_px
    return {
        "box_px": [round(value, 1) for value in (box.x, box.y, box.w, box.h)],
        "points_px": [[round(float(x), 1), round(float(y), 1)] for x, y in face.points_px],
        "yaw_deg": round(face.pose.yaw_deg, 1),
        "pitch_deg": round(face.pose.pitch_deg, 1),
        "roll_deg": round(face.pose.roll_deg, 1),
        "eye_openness": [round(value, 3) for value in face.eye_openness],
        "mouth_openness": round(face.mouth_openness, 3),
        "sharpness": round(face.sharpness, 1),
        "brightness": round(face.brightness, 3),
        "quality": [reason.value for reason in face.quality] or ["ok"],
        "attack_log10_lr": _rounded(face.attack_log10_lr, 3),
        "eye_distance_px": round(eye_distance_px(face.mesh_px, face.pose), 1),
        "light": None if face.measures is None else _light_json(face.measures.light),
    }


def _light_json(light: LightMeasures) -> dict[str, Any]:
    return {
        "evenness": _rounded(light.evenness, 3),
        "underexposed": round(light.underexposed, 3),
        "overexposed": round(light.overexposed, 3),
    }


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits)


def _print_comparison(result: ComparisonResult, reasons: Sequence[str]) -> None:
    if result.comparison_score is None:
        out.print(f"{result.outcome}: not measured")
    else:
        score, log10_lr = result.comparison_score, result.log10_lr
        says = "not calibrated" if log10_lr is None else f"log10 LR {log10_lr:+.2f}"
        out.print(f"{result.outcome}: comparison score {score:.3f}, {says}")
    document = f"@{result.calibration_id[:12]}" if result.calibration_id else ""
    label = result.calibration + document
    out.print(f"contract {result.contract}; calibration: {label}", markup=False)
    for reason in reasons:
        out.print(f"- {reason}", markup=False)


def _print_report(report: _Report) -> None:
    if report.observation is None:
        return
    count = len(report.observation.faces)
    out.print(f"{report.path}: {count} face{'s' if count != 1 else ''}", markup=False)
    for face in report.observation.faces:
        _print_face(face)


def _print_face(face: FaceObservation) -> None:
    box, pose = face.box_px, face.pose
    right, left = face.eye_openness
    out.print(
        f"  box {box.w:.0f}×{box.h:.0f} at ({box.x:.0f}, {box.y:.0f}); yaw {pose.yaw_deg:+.0f}°"
        f" pitch {pose.pitch_deg:+.0f}° roll {pose.roll_deg:+.0f}°; eyes {right:.2f} {left:.2f}"
        f" mouth {face.mouth_openness:.2f}; sharpness {face.sharpness:.0f}"
        f" brightness {face.brightness:.2f}"
    )
    if face.attack_log10_lr is not None:
        out.print(f"  bona fide against attack: log10 LR {face.attack_log10_lr:+.2f}")
    for reason in face.quality:
        chinese, english = REASON_TEXT[reason]
        out.print(f"  - {reason}: {english} {chinese}", markup=False)
    if not face.quality:
        out.print("  - ok")
