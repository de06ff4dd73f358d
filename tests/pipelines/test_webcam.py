"""The simulated webcam: frames the engine accepts, each a little different, repeatable."""

from pathlib import Path

import numpy as np
import pytest

from models.image_decoder import FRAME_LIMITS, decode_image
from models.observer import FaceObserver
from pipelines.simulate.webcam import HEIGHT_PX, WIDTH_PX, Sitter, Webcam
from tests.generated_images import picture
from tests.pipelines.simulate_samples import BLUE, RED, plain, shows, sitter_of
from tests.portrait_pictures import sitter
from verifier.arrays import Pixels

SITTER = Sitter(pixels=picture(320, 240), crop_px=(0, 0, 320), keep_px=(0, 0, 320, 240))


def webcam(seed: int = 1) -> Webcam:
    return Webcam(np.random.default_rng(seed))


def pixels_of(frame: bytes) -> Pixels:
    return decode_image(frame, FRAME_LIMITS).pixels


def test_frames_are_what_a_lesson_accepts() -> None:
    frames = [*webcam().film(SITTER, 3), *webcam().film_room(2)]
    assert len(frames) == 5
    for frame in frames:
        decoded = decode_image(frame, FRAME_LIMITS)
        assert (decoded.width_px, decoded.height_px) == (WIDTH_PX, HEIGHT_PX)
        assert decoded.format == "jpeg"


def test_the_same_seed_repeats_a_lesson_to_the_byte() -> None:
    one, two = webcam(3), webcam(3)
    assert one.film(SITTER) + one.film_room() == two.film(SITTER) + two.film_room()
    assert webcam(3).film(SITTER) != webcam(4).film(SITTER)


def test_no_two_frames_are_the_same() -> None:
    camera = webcam()
    frames = [*camera.film(SITTER), *camera.film(SITTER), *camera.film_room()]
    assert len(set(frames)) == len(frames)


def test_frames_of_one_moment_are_closer_than_moments() -> None:
    """Nobody moves far between two frames; between two prompts people shift about."""
    near, far = [], []
    for seed in range(5):
        camera = webcam(seed)
        first, second = (pixels_of(frame).astype(float) for frame in camera.film(SITTER))
        later = pixels_of(camera.film(SITTER)[0]).astype(float)
        near.append(np.abs(first - second).mean())
        far.append(np.abs(first - later).mean())
    assert np.mean(near) < np.mean(far) / 1.5


def test_the_sitter_is_what_is_filmed() -> None:
    assert all(shows(frame, RED) for frame in webcam().film(sitter_of(RED)))
    assert all(shows(frame, BLUE) for frame in webcam().film(sitter_of(BLUE)))
    assert not any(shows(frame, RED) for frame in webcam().film_room())


def test_what_lies_beyond_the_part_to_keep_is_never_shown() -> None:
    """A bystander stands there; the crop reaches over them on every side."""
    pixels = plain(BLUE, 400, 300).copy()
    pixels[60:240, 100:300] = RED
    guarded = Sitter(pixels=pixels, crop_px=(50, 30, 300), keep_px=(100, 60, 300, 240))
    for frame in webcam().film(guarded, 20):
        shown = pixels_of(frame).astype(int)
        assert (shown[..., 0] > shown[..., 2]).all()


@pytest.mark.models
@pytest.mark.demo_faces
def test_real_sitters_show_one_fit_face_and_the_room_none(
    observer: FaceObserver, demo_faces: dict[str, Path]
) -> None:
    camera = webcam()
    for name in demo_faces:
        for frame in camera.film(sitter(demo_faces, name)):
            (seen,) = observer.observe(pixels_of(frame)).faces
            assert seen.quality == ()
    for seed in range(10):
        (frame,) = webcam(seed).film_room(1)
        assert observer.observe(pixels_of(frame)).faces == ()
