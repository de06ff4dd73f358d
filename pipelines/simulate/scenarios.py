"""Four learners and the truth about each; the engine sees their frames and none of these words."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from models.image_decoder import STILL_LIMITS, decode_image
from pipelines.portraits import portraits
from pipelines.simulate.attendance import Attendance, Seat
from pipelines.simulate.webcam import Sitter

LESSON_MINUTES = 50
"""More than one 学时 of 45 minutes: the lesson clock stands still while a prompt is open.

That is up to ten seconds for each of some 17 prompts, two minutes in all; chance asks 30 times
less than once in a thousand lessons, and then the 学时 is still whole.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Enrolment:
    """The picture an officer took, and who sits before the camera when enrolling."""

    reference: bytes
    sitter: Sitter


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """One learner's lesson as it really went.

    Attributes
    ----------
    title
        What it shows, (Chinese, English); for the report's reader only.
    photographs
        How the pictures of the lesson relate to the enrolled one, (Chinese, English).
    enrolment
        None where nobody ever came to enrol.
    attendance
        None where no lesson was held: the platform merely uploads hours.
    """

    key: str
    title: tuple[str, str]
    photographs: tuple[str, str]
    enrolment: Enrolment | None
    attendance: Attendance | None
    claimed_minutes: float = LESSON_MINUTES

    @property
    def truth_minutes(self) -> float:
        """Minutes during which the enrolled person really sat there."""
        return 0.0 if self.attendance is None else self.attendance.truth_s() / 60


DIFFERENT = ("不同照片", "different photographs")
VARIED = ("同一张照片加工变化", "same photograph, varied")
NONE = ("无", "none")


def scenarios(faces: Mapping[str, Path]) -> Sequence[Scenario]:
    """Build the four lessons from the portraits' files by name."""
    people = {name: _sitter(name, path) for name, path in faces.items()}
    whole_s = LESSON_MINUTES * 60.0
    half_s = whole_s / 2
    return (
        Scenario(
            key="honest",
            title=("全程本人学习", "attends the whole lesson"),
            photographs=DIFFERENT,
            enrolment=_enrolment(faces, people, reference="person1-a", live="person1-b"),
            attendance=Attendance(
                seats=[
                    Seat(
                        from_s=0,
                        sitters=[people["person1-b"], people["person1-c"]],
                        enrolled=True,
                    )
                ],
                duration_s=whole_s,
            ),
        ),
        Scenario(
            key="replaced",
            title=("中途换人代学", "replaced half-way by somebody else"),
            photographs=VARIED,
            enrolment=_enrolment(faces, people, reference="person3", live="person3"),
            attendance=Attendance(
                seats=[
                    Seat(from_s=0, sitters=[people["person3"]], enrolled=True),
                    Seat(from_s=half_s, sitters=[people["person2"]]),
                ],
                duration_s=whole_s,
            ),
        ),
        Scenario(
            key="walks_away",
            title=("中途离开", "walks away half-way"),
            photographs=VARIED,
            enrolment=_enrolment(faces, people, reference="person2", live="person2"),
            attendance=Attendance(
                seats=[
                    Seat(from_s=0, sitters=[people["person2"]], enrolled=True),
                    Seat(from_s=half_s),
                ],
                duration_s=whole_s,
            ),
        ),
        Scenario(
            key="uploaded",
            title=("平台事后上传学时", "hours merely uploaded by the platform"),
            photographs=NONE,
            enrolment=None,
            attendance=None,
        ),
    )


def _sitter(name: str, path: Path) -> Sitter:
    portrait = portraits()[name]
    picture = decode_image(path.read_bytes(), STILL_LIMITS)
    return Sitter(pixels=picture.pixels, crop_px=portrait.crop_px, keep_px=portrait.keep_px)


def _enrolment(
    faces: Mapping[str, Path], people: Mapping[str, Sitter], *, reference: str, live: str
) -> Enrolment:
    return Enrolment(reference=faces[reference].read_bytes(), sitter=people[live])
