"""``zhenxue inspect`` and ``compare``: public formats, exit codes, and errors that help."""

import json
import os
import struct
import subprocess
import sys
import tracemalloc
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from models.image_decoder import decode_image, encode_frame
from models.observer import FaceObserver
from service import face_commands
from service.cli import app
from tests.fakes import ScriptedObserver, frame
from tests.generated_images import PNG_SIGNATURE, jpeg, picture
from tests.pipelines.made_up_faces import face_of_width
from tests.portrait_pictures import frames_of, shrunk, side_by_side
from verifier.comparison import DEFAULT_CALIBRATION
from verifier.quality import REASON_TEXT

pytestmark = [pytest.mark.models, pytest.mark.demo_faces]

FACE_KEYS = [
    *("box_px", "points_px", "yaw_deg", "pitch_deg", "roll_deg", "eye_openness"),
    *("mouth_openness", "sharpness", "brightness", "quality", "attack_log10_lr"),
    *("eye_distance_px", "light"),
]
COMPARE_KEYS = [
    *("outcome", "comparison_score", "log10_lr", "contract", "calibration", "calibration_id"),
    "reasons",
]


@dataclass(frozen=True, kw_only=True)
class Said:
    """What a command wrote, and its exit code."""

    code: int
    out: str
    err: str

    def json(self) -> Any:
        """Return standard output, which must be one JSON document and nothing else."""
        return json.loads(self.out)


def call(*arguments: object) -> Said:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit)
    return Said(code=result.exit_code, out=result.stdout, err=result.stderr)


@pytest.fixture(autouse=True)
def _one_observer(observer: FaceObserver, monkeypatch: pytest.MonkeyPatch) -> None:
    """Open the networks once for all tests here; the last test opens them as users do."""
    monkeypatch.setattr(face_commands, "chosen_observer", lambda *_, **__: observer)


Save = Callable[[str, bytes], Path]


@pytest.fixture(name="save")
def make_save(tmp_path: Path) -> Save:
    """Return a function that puts a picture on disk."""

    def save(name: str, data: bytes) -> Path:
        path = tmp_path / name
        path.write_bytes(data)
        return path

    return save


@pytest.fixture(name="nobody")
def picture_of_nobody(save: Save) -> Path:
    return save("nobody.jpg", jpeg(picture(320, 240)))


@pytest.fixture(name="couple")
def picture_of_two(save: Save, demo_faces: dict[str, Path]) -> Path:
    """Paste one portrait beside itself, so that both are equally large."""
    learner = demo_faces["person1-a"].read_bytes()
    return save("couple.jpg", side_by_side(learner, learner))


@pytest.fixture(name="distant")
def picture_of_a_small_face(save: Save, demo_faces: dict[str, Path]) -> Path:
    (frame,) = frames_of(demo_faces, "person1-b", count=1)
    return save("distant.jpg", shrunk(frame, 0.15))


def png_header(width: int, height: int) -> bytes:
    """Return a PNG that claims a size, and ends right after."""
    body = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return PNG_SIGNATURE + struct.pack(">I", 13) + body + struct.pack(">I", zlib.crc32(body))


class TestInspect:
    """``zhenxue inspect``."""

    def test_one_picture_gives_one_object(self, demo_faces: dict[str, Path]) -> None:
        path = demo_faces["person1-a"]
        said = call("inspect", "--json", path)
        report = said.json()
        assert (said.code, said.err) == (0, "")
        assert list(report) == ["image", "faces", "ms"]
        assert report["image"] == str(path)
        assert list(report["ms"]) == ["decode", "detect", "mesh", "embed"]
        (face,) = report["faces"]
        assert list(face) == FACE_KEYS
        assert [len(face[key]) for key in ("box_px", "points_px", "eye_openness")] == [4, 5, 2]
        assert all(len(point) == 2 for point in face["points_px"])
        assert face["quality"] == ["ok"]
        assert face["attack_log10_lr"] is None  # no attack detector in the default pack
        assert 0 < face["brightness"] < 1

    def test_the_points_lie_in_the_box_and_the_right_eye_is_left(
        self, demo_faces: dict[str, Path]
    ) -> None:
        (face,) = call("inspect", "--json", demo_faces["person1-a"]).json()["faces"]
        x, y, w, h = face["box_px"]
        assert all(x <= px <= x + w and y <= py <= y + h for px, py in face["points_px"])
        right_eye, left_eye, nose, *_ = face["points_px"]
        assert right_eye[0] < nose[0] < left_eye[0]

    def test_several_pictures_give_a_list_in_input_order(
        self, demo_faces: dict[str, Path], nobody: Path, save: Save
    ) -> None:
        broken = save("broken.jpg", b"no picture at all")
        paths = [demo_faces["person2"], broken, nobody, demo_faces["person3"]]
        said = call("inspect", "--json", *paths)
        reports = said.json()
        assert [report["image"] for report in reports] == [str(path) for path in paths]
        assert [len(report.get("faces", "-")) for report in reports] == [1, 1, 0, 1]
        assert list(reports[1]) == ["image", "error"]
        assert reports[1]["error"]["code"] == "not_an_image"
        assert said.code == 2

    def test_the_same_picture_twice_is_a_list_of_two(self, demo_faces: dict[str, Path]) -> None:
        reports = call("inspect", "--json", *[demo_faces["person3"]] * 2).json()
        assert len(reports) == 2
        assert reports[0]["faces"] == reports[1]["faces"]

    def test_no_face_is_a_negative_outcome(self, nobody: Path) -> None:
        said = call("inspect", "--json", nobody)
        assert (said.code, said.json()["faces"], said.err) == (1, [], "")
        assert call("inspect", nobody).out == f"{nobody}: 0 faces\n"

    def test_two_faces_are_both_shown(self, couple: Path) -> None:
        said = call("inspect", "--json", couple)
        assert (said.code, len(said.json()["faces"])) == (0, 2)
        assert f"{couple}: 2 faces" in call("inspect", couple).out

    def test_a_face_too_small_is_said_in_both_languages(self, distant: Path) -> None:
        (face,) = call("inspect", "--json", distant).json()["faces"]
        assert "face_too_small" in face["quality"]
        assert "ok" not in face["quality"]
        text = call("inspect", distant).out
        (reason,) = (reason for reason in REASON_TEXT if reason.value == "face_too_small")
        assert all(words in text for words in REASON_TEXT[reason])

    def test_people_read_a_line_for_each_face(self, demo_faces: dict[str, Path]) -> None:
        said = call("inspect", demo_faces["person1-a"])
        assert said.code == 0
        first, second, third = said.out.splitlines()
        assert first == f"{demo_faces['person1-a']}: 1 face"
        assert second.startswith("  box ")
        assert "yaw" in second
        assert third == "  - ok"


class TestCompare:
    """``zhenxue compare``."""

    def test_two_photographs_of_one_person_match(self, demo_faces: dict[str, Path]) -> None:
        said = call("compare", "--json", demo_faces["person1-a"], demo_faces["person1-b"])
        result = said.json()
        assert (said.code, said.err) == (0, "")
        assert list(result) == COMPARE_KEYS
        assert result["outcome"] == "match"
        assert 0.4 < result["comparison_score"] < 1
        assert result["log10_lr"] == pytest.approx(DEFAULT_CALIBRATION.max_log10_lr, abs=1e-4)
        assert result["contract"] == DEFAULT_CALIBRATION.contract_id
        assert result["calibration"] == "default, uncalibrated for this population"
        assert result["reasons"] == []

    def test_two_people_do_not(self, demo_faces: dict[str, Path]) -> None:
        said = call("compare", "--json", demo_faces["person1-a"], demo_faces["person2"])
        assert (said.code, said.json()["outcome"]) == (1, "no_match")
        assert said.json()["comparison_score"] < 0.4

    def test_which_is_the_reference_does_not_matter(self, demo_faces: dict[str, Path]) -> None:
        pair = [demo_faces["person1-a"], demo_faces["person1-c"]]
        forth, back = (call("compare", "--json", *each).json() for each in (pair, pair[::-1]))
        assert forth == back

    def test_no_face_is_inconclusive_and_nothing_is_measured(
        self, demo_faces: dict[str, Path], nobody: Path
    ) -> None:
        said = call("compare", "--json", nobody, demo_faces["person1-a"])
        result = said.json()
        assert (said.code, result["outcome"]) == (1, "inconclusive")
        assert (result["comparison_score"], result["log10_lr"]) == (None, None)
        assert result["reasons"] == ["reference: 0 faces, 1 wanted"]
        text = call("compare", demo_faces["person1-a"], nobody).out
        assert "inconclusive: not measured" in text
        assert "- probe: 0 faces, 1 wanted" in text

    def test_two_faces_are_inconclusive(self, demo_faces: dict[str, Path], couple: Path) -> None:
        said = call("compare", "--json", demo_faces["person1-a"], couple)
        assert (said.code, said.json()["outcome"]) == (1, "inconclusive")
        assert said.json()["reasons"] == ["probe: 2 faces, 1 wanted"]

    def test_a_wide_face_that_is_third_by_area_leaves_it_open(
        self, demo_faces: dict[str, Path], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        first, *others = [face_of_width(width) for width in (100, 70, 95)]
        script = [frame(first), frame(first, *others)]
        monkeypatch.setattr(face_commands, "chosen_observer", lambda *_: ScriptedObserver(script))
        path = demo_faces["person1-a"]
        said = call("compare", "--json", path, path)
        assert (said.code, said.json()["reasons"]) == (1, ["probe: 3 faces, 1 wanted"])

    def test_a_poor_picture_is_named_beside_the_result(
        self, demo_faces: dict[str, Path], distant: Path
    ) -> None:
        reasons = call("compare", "--json", demo_faces["person1-a"], distant).json()["reasons"]
        assert "probe: face_too_small" in reasons

    def test_people_read_outcome_score_and_calibration(self, demo_faces: dict[str, Path]) -> None:
        said = call("compare", demo_faces["person1-a"], demo_faces["person1-b"])
        first, second = said.out.splitlines()
        assert first.startswith("match: comparison score 0.")
        assert first.endswith("log10 LR +1.96")
        assert second.endswith(f"calibration: {DEFAULT_CALIBRATION.label}")


BAD_INPUTS = {
    "text.jpg": (b"this is no picture", "not_an_image", "no picture; wanted JPEG or PNG"),
    "empty.png": (b"", "empty", ""),
    "picture.gif": (b"GIF89a" + bytes(20), "unsupported_format", "looks like GIF"),
    "cut.jpg": (jpeg(picture())[:-200], "truncated", ""),
    "huge.png": (png_header(20_000, 20_000), "dimension_too_large", "20000"),
    "wide.png": (png_header(9_000, 9_000), "too_many_pixels", "81000000"),
}


@pytest.mark.parametrize("name", BAD_INPUTS)
def test_a_picture_that_cannot_be_read_is_named_with_what_was_seen(
    save: Save, demo_faces: dict[str, Path], name: str
) -> None:
    data, code, seen = BAD_INPUTS[name]
    path = save(name, data)
    said = call("inspect", "--json", path)
    assert said.code == 2
    assert said.json()["error"]["code"] == code
    assert seen in said.json()["error"]["message"]
    assert said.err.startswith(f"error: {path}: ")
    assert said.err.count("\n") == 1
    # The second of two pictures, so that naming the file is what helps.
    said = call("compare", "--json", demo_faces["person1-a"], path)
    assert (said.code, said.out) == (2, "")
    assert said.err.startswith(f"error: {path}: ")
    assert seen in said.err


def test_what_is_no_file_is_named_and_not_waited_for(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.jpg"
    os.mkfifo(pipe)
    for path, why in (
        (tmp_path / "none.jpg", "cannot be read: No such file"),
        (tmp_path, "not a regular file"),
        (pipe, "not a regular file"),
    ):
        said = call("inspect", "--json", path)
        assert (said.code, said.json()["error"]["code"]) == (2, "not_a_file")
        assert f"{path}: {why}" in said.err
        assert call("compare", path, path).code == 2


def test_a_file_longer_than_any_picture_is_not_read_to_its_end(save: Save) -> None:
    path = save("long.jpg", b"\xff\xd8\xff")
    with path.open("r+b") as file:
        file.truncate(64 << 20)  # sparse: nothing is written
    tracemalloc.start()
    said = call("inspect", "--json", path)
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak_bytes < 40 << 20
    assert (said.code, said.json()["error"]["code"]) == (2, "too_many_bytes")


def test_without_an_argument_the_usage_is_shown() -> None:
    assert call("inspect").code == 2
    assert call("compare", "one.jpg").code == 2


def test_the_command_as_users_run_it(demo_faces: dict[str, Path], nobody: Path) -> None:
    """A process of its own, that opens the networks itself; the codecs may not write to stdout."""
    arguments = [sys.executable, "-m", "service.cli", "inspect", "--json"]
    done = subprocess.run(
        [*arguments, str(demo_faces["person3"]), str(nobody)],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (1, "")
    assert [len(report["faces"]) for report in json.loads(done.stdout)] == [1, 0]


def test_somebody_far_behind_does_not_stand_in_the_way(
    save: Save, demo_faces: dict[str, Path]
) -> None:
    """The picture is clearly of the person in front; two of one size stay a question."""
    front, behind = (demo_faces[name].read_bytes() for name in ("person1-b", "person3"))
    height = decode_image(front).pixels.shape[0]
    frame = decode_image(shrunk(behind, 0.9)).pixels
    small = cv2.resize(frame, None, fx=0.9, fy=0.9, interpolation=cv2.INTER_AREA)
    canvas = np.full((height, small.shape[1], 3), 128, np.uint8)
    canvas[: small.shape[0]] = small
    crowd = save("crowd.png", side_by_side(front, encode_frame(canvas)))
    assert len(call("inspect", "--json", crowd).json()["faces"]) == 2
    said = call("compare", "--json", demo_faces["person1-a"], crowd).json()
    assert said["reasons"] == ["probe: 2 faces, the largest compared"]
    assert said["outcome"] == "match"
    stranger = call("compare", "--json", demo_faces["person3"], crowd).json()
    assert stranger["outcome"] == "no_match"
