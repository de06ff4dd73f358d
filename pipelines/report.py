"""The demo's report: one HTML file that needs no network, pictures and timelines inside it."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from markupsafe import Markup

from models.image_decoder import FRAME_LIMITS, decode_image, encode_frame
from pipelines.archive import Archive
from pipelines.demo import DemoRow, DemoRun
from pipelines.lesson import ArchivedAnswer, LessonResult
from pipelines.page_templates import data_url, rendered
from pipelines.schedule_texts import ORIGIN_TEXT, result_text
from pipelines.timeline import (
    STATE_COLOUR,
    STATE_TEXT,
    TimelineData,
    check_colour,
    timeline_svg,
)
from verifier.check import Check
from verifier.claim import SETTLEMENT_TEXT
from verifier.eligibility_result import OUTCOME_TEXT
from verifier.evidence import STATES
from verifier.policy import Policy
from verifier.presence import state_probabilities
from verifier.session_score import REASON_TEXTS, ReasonCode

THUMBNAIL_WIDTH_PX = 148
MOST_THUMBNAILS = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Thumbnail:
    """One archived picture as the reviewer sees it, small, with what was found at the time."""

    source: str
    minute: float
    colour: str
    index: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LearnerCard:
    """Everything the report says of one learner."""

    row: DemoRow
    timeline: Markup
    thumbnails: Sequence[Thumbnail]
    findings: Sequence[tuple[int, str, str]]  # how often, Chinese, English
    settlement: Sequence[tuple[str, str]]
    gate: tuple[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceiptFacts:
    """What the report says of the receipt that the demo verified."""

    command: str
    index: int
    checkpoint: str


def write_report(
    run: DemoRun, receipt: ReceiptFacts, *, calibration: str, prove_command: str
) -> None:
    """Write ``report.html`` into the run's folder.

    ``prove_command`` recomputes the prompts of a session whose id is appended to it.
    """
    page = rendered(
        "report.html.j2",
        cards=[_card(row, run) for row in run.rows],
        legend=[(STATE_COLOUR[state], *STATE_TEXT[state]) for state in STATE_TEXT],
        receipt=receipt,
        prove_command=prove_command,
        origin_text=ORIGIN_TEXT,
        result_text=result_text,
        calibration=calibration,
        policy=run.policy.rule,
    )
    (run.folder / "report.html").write_text(page, encoding="utf-8")


def top_reasons(result: LessonResult) -> Sequence[tuple[int, str, str]]:
    """Return how often each reason of a score was found, the session's own first."""
    reasons = result.account.score.reasons
    whole = [reason.code for reason in reasons if reason.at_s is None]
    counted = Counter(reason.code for reason in reasons if reason.at_s is not None)
    ordered: Mapping[ReasonCode, int] = {**dict.fromkeys(whole, 1), **dict(counted.most_common())}
    return [(count, *REASON_TEXTS[code]) for code, count in ordered.items()]


def _card(row: DemoRow, run: DemoRun) -> LearnerCard:
    result = row.result
    return LearnerCard(
        row=row,
        timeline=Markup("") if result is None else _timeline(row, result, run.policy),
        thumbnails=[] if result is None else _thumbnails(result, run.archive),
        findings=[] if result is None else top_reasons(result),
        settlement=[SETTLEMENT_TEXT[reason] for reason in row.settlement.reasons],
        gate=OUTCOME_TEXT[row.gate.outcome],
    )


def _timeline(row: DemoRow, result: LessonResult, policy: Policy) -> Markup:
    attendance = row.scenario.attendance
    times_s, probabilities = state_probabilities(result.evidence, policy)
    data = TimelineData(
        duration_s=result.evidence.duration_s,
        truth_s=attendance.enrolled_stretches() if attendance else [],
        times_s=times_s,
        probabilities=probabilities,
        states=STATES,
        checks=result.evidence.checks,
        spans=result.account.credit.spans,
    )
    # Only numbers and our own colours are in it.
    return Markup(timeline_svg(data))  # noqa: S704


def _thumbnails(result: LessonResult, archive: Archive) -> list[Thumbnail]:
    """Read back some of the archived pictures, spread over the lesson."""
    pictured = [check for check in result.answers if check.has_picture]
    count = min(MOST_THUMBNAILS, len(pictured))
    chosen = np.unique(np.linspace(0, len(pictured) - 1, count).round().astype(int))
    found = {check.t: check for check in result.evidence.checks}
    return [_thumbnail(pictured[i], found[pictured[i].at_s], archive) for i in chosen]


def _thumbnail(archived: ArchivedAnswer, check: Check, archive: Archive) -> Thumbnail:
    image = archive.read_snapshot(archived.index).image
    if image is None:
        raise ValueError(f"entry {archived.index} holds no picture")
    pixels = decode_image(image, FRAME_LIMITS).pixels
    height = round(pixels.shape[0] * THUMBNAIL_WIDTH_PX / pixels.shape[1])
    small = cv2.resize(pixels, (THUMBNAIL_WIDTH_PX, height), interpolation=cv2.INTER_AREA)
    encoded = encode_frame(np.asarray(small, np.uint8), quality=80)
    return Thumbnail(
        source=data_url(encoded, "image/jpeg"),
        minute=archived.at_s / 60,
        colour=check_colour(check),
        index=archived.index,
    )
