"""The bounded decoder: one picture for matcher, archive and reviewer, or a reason why not."""

import hashlib
import struct
import tracemalloc
import zlib
from collections.abc import Callable
from typing import TypeAlias

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.image_decoder import (
    FRAME_LIMITS,
    STILL_LIMITS,
    DecodedImage,
    decode_image,
    encode_frame,
)
from models.picture_structure import DecodeLimits
from tests import generated_images as made
from verifier.arrays import Pixels
from verifier.errors import UnreadableImageError

Turn: TypeAlias = Callable[[Pixels], Pixels]

PICTURE = made.picture()
JPEG = made.jpeg(PICTURE)
PNG = made.png_of_rgb(PICTURE)
GREY_ROWS = [bytes(range(8))] * 4
WHITE_BGRA = np.full((4, 5, 4), 255, dtype=np.uint8)

VARIETIES = {
    "baseline": JPEG,
    "progressive": made.jpeg(PICTURE, progressive=True),
    "restarts": made.jpeg(PICTURE, restart_interval=2),
    "grey jpeg": made.jpeg(PICTURE, grey=True),
    "turned jpeg": made.with_segments(JPEG, made.jpeg_exif(6)),
    "png": PNG,
    "grey png": made.png(cv2.cvtColor(PICTURE, cv2.COLOR_RGB2GRAY)),
    "opaque png": made.png(cv2.cvtColor(PICTURE, cv2.COLOR_RGB2BGRA)),
    "opaque grey png": made.png_of_rows([b"\x10\xff\x90\xff"] * 3, 2, colour=made.GREY_ALPHA),
    "palette png": made.png_of_rows(
        [b"\x00\x01\x00", b"\x01\x00\x01"],
        3,
        colour=made.PALETTE,
        before=made.png_chunk(b"PLTE", b"\xff\x00\x00\x00\xff\x00")
        + made.png_chunk(b"tRNS", b"\xff"),
    ),
    "one-bit png": made.png_of_rows([b"\xa0", b"\x40"], 3, depth=1, colour=made.GREY),
    "turned png": made.with_chunks(PNG, made.png_chunk(b"eXIf", made.exif(8))),
}


def refusal(data: bytes, limits: DecodeLimits = STILL_LIMITS) -> str:
    """Return the code with which ``data`` is refused."""
    with pytest.raises(UnreadableImageError) as caught:
        decode_image(data, limits)
    return caught.value.code


# --- what is accepted ---------------------------------------------------------------------


def test_png_pixels_come_back_unchanged_and_named() -> None:
    """PNG loses nothing, so pixels and digests are known exactly."""
    image = decode_image(PNG)
    assert np.array_equal(image.pixels, PICTURE)
    assert (image.width_px, image.height_px, image.format) == (64, 48, "png")
    assert image.source_sha256 == hashlib.sha256(PNG).digest()
    named = b"zhenxue/pixels/v1" + struct.pack(">II", 64, 48) + PICTURE.tobytes()
    assert image.pixels_sha256 == hashlib.sha256(named).digest()


def test_pixels_are_contiguous_rgb_and_cannot_be_changed() -> None:
    pixels = decode_image(made.with_segments(JPEG, made.jpeg_exif(6))).pixels
    assert pixels.dtype == np.uint8
    assert pixels.shape == (64, 48, 3)
    assert pixels.flags.c_contiguous
    assert not pixels.flags.writeable


@pytest.mark.parametrize("name", ["baseline", "progressive", "restarts"])
def test_jpeg_is_close_to_what_was_encoded(name: str) -> None:
    """Red is red: a swapped channel or a wrong colour space would be far off."""
    difference = np.abs(decode_image(VARIETIES[name]).pixels.astype(int) - PICTURE)
    assert difference.mean() < 4


def test_small_pngs_of_other_kinds_have_the_colours_they_say() -> None:
    red, green, black, white = (255, 0, 0), (0, 255, 0), (0, 0, 0), (255, 255, 255)
    assert decode_image(VARIETIES["palette png"]).pixels.tolist() == [
        [list(red), list(green), list(red)],
        [list(green), list(red), list(green)],
    ]
    assert decode_image(VARIETIES["one-bit png"]).pixels.tolist() == [
        [list(white), list(black), list(white)],
        [list(black), list(white), list(black)],
    ]
    assert decode_image(VARIETIES["opaque grey png"]).pixels[0].tolist() == [[16] * 3, [144] * 3]


def test_a_palette_index_without_colour_is_black() -> None:
    """Decoders differ about it, so the canonical form fills the palette up."""
    palette = made.png_chunk(b"PLTE", b"\xff\xff\xff")
    image = decode_image(made.png_of_rows([b"\x00\x07"], 2, colour=made.PALETTE, before=palette))
    assert image.pixels.tolist() == [[[255] * 3, [0] * 3]]
    filled = made.png_chunk(b"PLTE", b"\xff\xff\xff" + bytes(3 * 255))
    assert filled in image.canonical_bytes


@pytest.mark.parametrize(
    ("segments", "is_rgb"),
    [
        ((made.jpeg_segment(0xEE, b"Adobe\x00\x64\x00\x00\x00\x00\x00"),), True),
        ((made.jpeg_segment(0xEE, b"Adobe\x00\x64\x00\x00\x00\x00\x01"),), False),
        ((), False),
        (
            (
                made.jpeg_segment(0xE0, b"JFIF\x00\x01\x01\x00\x00\x01\x00\x01\x00\x00"),
                made.jpeg_segment(0xEE, b"Adobe\x00\x64\x00\x00\x00\x00\x00"),
            ),
            False,
        ),
    ],
)
def test_colour_space_survives_the_loss_of_its_segments(
    segments: tuple[bytes, ...], is_rgb: bool
) -> None:
    """The canonical form settles the colour space as the common decoders would have."""
    data = made.with_segments(made.without_jfif(JPEG), *segments)
    as_common = np.array(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB))
    image = decode_image(data)
    assert np.array_equal(image.pixels, as_common)
    assert np.array_equal(image.pixels, decode_image(JPEG).pixels) is not is_rgb


def test_an_opaque_alpha_channel_changes_no_colour() -> None:
    assert np.array_equal(decode_image(VARIETIES["opaque png"]).pixels, PICTURE)


def test_generated_frames_are_already_canonical() -> None:
    encoded = encode_frame(PICTURE)
    image = decode_image(encoded, FRAME_LIMITS)
    assert image.canonical_bytes == encoded
    assert np.abs(image.pixels.astype(int) - PICTURE).mean() < 4


def test_a_better_quality_is_closer_and_longer() -> None:
    rough, fine = encode_frame(PICTURE, quality=30), encode_frame(PICTURE, quality=95)
    errors = [np.abs(decode_image(d).pixels.astype(int) - PICTURE).mean() for d in (rough, fine)]
    assert len(rough) < len(fine)
    assert errors[0] > errors[1]


# --- which way up -------------------------------------------------------------------------


def stored_as(upright: Pixels, orientation: int) -> Pixels:
    """Return how a camera held like this stores the picture (Exif 2.32, 4.6.4)."""
    stored: dict[int, Turn] = {
        1: lambda p: p,
        2: lambda p: p[:, ::-1],
        3: lambda p: p[::-1, ::-1],
        4: lambda p: p[::-1],
        5: lambda p: p.swapaxes(0, 1),
        6: lambda p: np.rot90(p, 1),
        7: lambda p: p[::-1, ::-1].swapaxes(0, 1),
        8: lambda p: np.rot90(p, -1),
    }
    return np.ascontiguousarray(stored[orientation](upright))


@pytest.mark.parametrize("order", [">", "<"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_is_turned_upright_once(orientation: int, order: str) -> None:
    stored = made.png_of_rgb(stored_as(PICTURE, orientation))
    data = made.with_chunks(stored, made.png_chunk(b"eXIf", made.exif(orientation, order=order)))
    assert np.array_equal(decode_image(data).pixels, PICTURE)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_jpeg_orientation_agrees_with_png(orientation: int) -> None:
    """The same turn, on what the JPEG stores."""
    stored = decode_image(JPEG).pixels
    turned = decode_image(made.with_segments(JPEG, made.jpeg_exif(orientation))).pixels
    assert np.array_equal(stored_as(turned, orientation), stored)


@pytest.mark.parametrize(
    "block",
    [b"", b"II*\x00", b"XX*\x00" + bytes(20), made.exif(0), made.exif(9), made.exif(6)[:20]],
)
def test_malformed_exif_is_no_reason_to_refuse(block: bytes) -> None:
    data = made.with_segments(JPEG, made.jpeg_segment(0xE1, b"Exif\x00\x00" + block))
    assert decode_image(data).canonical_bytes == decode_image(JPEG).canonical_bytes


def test_the_first_of_two_orientations_counts() -> None:
    both = made.with_segments(JPEG, made.jpeg_exif(6), made.jpeg_exif(3))
    first = made.with_segments(JPEG, made.jpeg_exif(6))
    assert decode_image(both).canonical_bytes == decode_image(first).canonical_bytes


# --- the canonical form -------------------------------------------------------------------


@pytest.mark.parametrize("name", VARIETIES)
def test_canonical_bytes_are_a_fixed_point_of_the_same_pixels(name: str) -> None:
    image = decode_image(VARIETIES[name])
    again = decode_image(image.canonical_bytes)
    assert again.canonical_bytes == image.canonical_bytes
    assert again.pixels_sha256 == image.pixels_sha256
    assert np.array_equal(again.pixels, image.pixels)


def test_nothing_but_the_picture_survives_in_a_jpeg() -> None:
    """Place, camera, comment, profile, thumbnail, and what was hung on at the end."""
    secrets = [
        made.jpeg_exif(6),
        made.jpeg_segment(0xE1, b"http://ns.adobe.com/xap/1.0/\x00<secret/>"),
        made.jpeg_segment(0xE2, b"ICC_PROFILE\x00secret"),
        made.jpeg_segment(0xFE, b"secret"),
    ]
    data = made.with_segments(JPEG, *secrets) + b"PK\x03\x04secret"
    image = decode_image(data)
    assert b"secret" not in image.canonical_bytes
    assert b"Cam" not in image.canonical_bytes
    assert b"51.5074N" not in image.canonical_bytes
    bare = decode_image(made.with_segments(JPEG, made.jpeg_exif(6, order="<")))
    assert image.canonical_bytes == bare.canonical_bytes


def test_nothing_but_the_picture_survives_in_a_png() -> None:
    secrets = [
        made.png_chunk(b"tEXt", b"Comment\x00secret"),
        made.png_chunk(b"eXIf", made.exif(1)),
        made.png_chunk(b"PLTE", b"sec"),  # allowed in a colour picture as a mere suggestion
        made.png_chunk(b"prVt", b"secret"),
    ]
    data = made.with_chunks(PNG, *secrets) + b"secret"
    assert decode_image(data).canonical_bytes == decode_image(PNG).canonical_bytes


def test_bytes_behind_the_compressed_rows_do_not_survive() -> None:
    stream = zlib.compress(b"\x00" + bytes(range(8)))
    pieces = made.png_chunk(b"IDAT", stream[:5]) + made.png_chunk(b"IDAT", stream[5:] + b"secret")
    data = made.png_header(8, 1, colour=made.GREY) + pieces + made.png_chunk(b"IEND")
    assert decode_image(data).canonical_bytes == made.png_of_rows(
        [bytes(range(8))], 8, colour=made.GREY
    )


# --- what is refused ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "named"),
    [
        (b"GIF89a", "GIF"),
        (b"RIFF\x00\x00\x00\x00WEBPVP8 ", "WebP"),
        (b"BM\x00\x00", "BMP"),
        (b"\x00\x00\x00\x18ftypheic", "HEIC"),
        (b"II*\x00", "TIFF"),
        (b"%PDF-1.7", "PDF"),
        (b"PK\x03\x04", "ZIP"),
    ],
)
def test_known_kinds_are_refused_by_name(data: bytes, named: str) -> None:
    with pytest.raises(UnreadableImageError, match=named) as caught:
        decode_image(data)
    assert caught.value.code == "unsupported_format"


REFUSED = {
    "empty": [b""],
    "not_an_image": [b"hello", b"\x00" * 64, PNG[1:]],
    "unsupported_format": [
        made.jpeg_frame_header(8, 8, process=0xC9),  # arithmetic coding
        made.jpeg_frame_header(8, 8, process=0xC3),  # lossless
        made.png_header(8, 8, interlace=1),
    ],
    "unsupported_colour": [
        made.jpeg_frame_header(8, 8, components=4),
        made.jpeg_frame_header(8, 8, precision=12, process=0xC1),
        made.png(np.zeros((4, 4, 3), dtype=np.uint16)),
    ],
    "too_many_pixels": [made.png_header(8_000, 8_000), made.jpeg_frame_header(8_000, 8_000)],
    "dimension_too_large": [made.png_header(20_000, 20_000), made.jpeg_frame_header(10_001, 1)],
    "truncated": [
        JPEG[: len(JPEG) // 2],
        JPEG[:-2],
        JPEG[:2],
        JPEG[:2] + b"\xff\xd9",
        VARIETIES["restarts"].replace(b"\xff\xd4", b"", 1),  # the last of five
        # 4000 x 4000 pixels of which only the data of 64 x 48 are there.
        JPEG.replace(struct.pack(">HH", 48, 64), struct.pack(">HH", 4000, 4000), 1),
        PNG[: len(PNG) // 2],
        PNG[:-12],
        made.png_header(5, 5) + made.png_chunk(b"IEND"),
        made.png_of_rows([b"\x00" * 8], 8, colour=made.GREY).replace(
            made.png_header(8, 1, colour=made.GREY), made.png_header(8, 2, colour=made.GREY)
        ),
    ],
    "corrupt": [
        made.png_header(0, 8),
        made.jpeg_frame_header(8, 0),
        PNG[:60] + bytes([PNG[60] ^ 1]) + PNG[61:],
        made.png_of_rows(GREY_ROWS, 4, colour=made.GREY),  # rows longer than the header says
        made.png_of_rows(GREY_ROWS, 8, colour=made.PALETTE),  # no palette
        made.with_chunks(PNG, made.png_chunk(b"CRIT")),
        made.with_chunks(PNG, made.png_chunk(b"tEXt") * 20_000),
        made.jpeg_frame_header(8, 8) + made.jpeg_frame_header(8, 8)[2:],
        JPEG[:2] + b"\x00" + JPEG[2:],
        made.with_segments(JPEG, made.jpeg_segment(0xFE, b"") * 2_000),
        JPEG[:-2] + b"\xff\xd0\xff\xd9",  # a restart nobody announced
        VARIETIES["restarts"].replace(b"\xff\xd1", b"", 1),  # a piece from the middle is gone
    ],
    "multiple_frames": [made.with_chunks(PNG, made.png_chunk(b"acTL", struct.pack(">II", 2, 0)))],
    "transparent": [
        made.png(np.vstack([WHITE_BGRA, WHITE_BGRA - np.array([0, 0, 0, 1], np.uint8)])),
        made.png_of_rows(
            GREY_ROWS, 8, colour=made.GREY, before=made.png_chunk(b"tRNS", b"\x00\x00")
        ),
    ],
}


@pytest.mark.parametrize(
    ("code", "data"), [(code, data) for code, files in REFUSED.items() for data in files]
)
def test_refused_with_its_code(code: str, data: bytes) -> None:
    assert refusal(data) == code


STREAM = zlib.compress(b"\x00" + bytes(8))
BAD_FILTER = zlib.compress(b"\x05" + bytes(8))
GREY_HEADER = made.png_header(8, 1, colour=made.GREY)
PALETTE_HEADER = made.png_header(8, 1, colour=made.PALETTE)
IDAT, IEND = made.png_chunk(b"IDAT", STREAM), made.png_chunk(b"IEND")
PLTE = made.png_chunk(b"PLTE", b"abc")
NOTE = made.png_chunk(b"tEXt", b"note")


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (GREY_HEADER + NOTE[:-1] + b"?" + IDAT + IEND, "wrong checksum"),
        (
            GREY_HEADER
            + made.png_chunk(b"IDAT", STREAM[:6])
            + NOTE
            + made.png_chunk(b"IDAT", STREAM[6:])
            + IEND,
            "two separate places",
        ),
        (GREY_HEADER + made.png_chunk(b"IDAT", BAD_FILTER) + IEND, "row filter"),
        (GREY_HEADER + PLTE + IDAT + IEND, "palette in a grey picture"),
        (PALETTE_HEADER + IDAT + IEND, "without palette"),
        (PALETTE_HEADER + PLTE + PLTE + IDAT + IEND, "second or a late palette"),
        (PALETTE_HEADER + IDAT + PLTE + IEND, "second or a late palette"),
        (made.png_of_rows([bytes(9)], 8, colour=made.GREY), "10 bytes of rows"),
        (made.PNG_SIGNATURE + IDAT + IEND, "begin with a header"),
        (made.png_header(8, 8, depth=4, colour=made.RGB), "colour type 2 with 4 bits"),
    ],
)
def test_an_unsound_png_is_told_why(data: bytes, problem: str) -> None:
    """The structure is refused by us, with a reason, before any codec library sees it."""
    with pytest.raises(UnreadableImageError, match=problem) as caught:
        decode_image(data)
    assert caught.value.code == "corrupt"


def jpeg_scan(
    *named: int, band: tuple[int, int] = (0, 63), bits: tuple[int, int] = (0, 0)
) -> bytes:
    """Return a scan of these components with far more data than they need.

    ``band``: first and last coefficient; ``bits``: missing before and after the scan.
    """
    members = b"".join(bytes((ident, 0)) for ident in named)
    header = bytes((len(named),)) + members + bytes((*band, bits[0] << 4 | bits[1]))
    return made.jpeg_segment(0xDA, header) + bytes(2_000)


def jpeg_means(*named: int, before: int = 0, after: int = 0) -> bytes:
    """Return a scan of a progressive file that codes the mean of each block."""
    return jpeg_scan(*named, band=(0, 0), bits=(before, after))


FRAME_HEADER = made.jpeg_frame_header(8, 8)
PROGRESSIVE = made.jpeg_frame_header(8, 8, process=0xC2)
MEANS = jpeg_means(1, 2, 3)
DETAIL = b"".join(jpeg_scan(1, band=(k, k)) for k in range(1, 64))
END = b"\xff\xd9"


@pytest.mark.parametrize(
    ("data", "code", "problem"),
    [
        (JPEG[:2] + b"\x00" + JPEG[2:], "corrupt", "no marker at byte 2"),
        (PROGRESSIVE + MEANS + DETAIL + jpeg_scan(2, band=(1, 63)) + END, "corrupt", "64 scans"),
        (FRAME_HEADER + jpeg_scan(1, 2, 3) * 2 + END, "corrupt", "does not follow"),
        (FRAME_HEADER + jpeg_scan(1) + jpeg_scan(1, 2, 3) + END, "corrupt", "does not follow"),
        (PROGRESSIVE + MEANS * 2 + END, "corrupt", "does not follow"),
        (PROGRESSIVE + jpeg_means(1, 2, 3, before=1) + END, "corrupt", "does not follow"),
        (
            PROGRESSIVE + jpeg_means(1, 2, 3, after=2) + jpeg_means(1, 2, 3, before=2) + END,
            "corrupt",
            "does not follow",
        ),
        (PROGRESSIVE + jpeg_means(1, 2, 3, after=1) + END, "truncated", "before all of"),
        (PROGRESSIVE + jpeg_means(1, 2) + END, "truncated", "before all of the picture"),
        (PROGRESSIVE + MEANS + jpeg_scan(1, 2, band=(1, 5)) + END, "corrupt", "2 components"),
        (PROGRESSIVE + MEANS + jpeg_scan(1, band=(0, 5)) + END, "corrupt", "coefficients 0 to 5"),
        (PROGRESSIVE + MEANS + jpeg_scan(1, band=(5, 64)) + END, "corrupt", "5 to 64"),
        (FRAME_HEADER + jpeg_scan(1, 2) + END, "truncated", "before all of the picture"),
        (FRAME_HEADER + jpeg_scan(1, 9) + END, "corrupt", "does not have"),
        (FRAME_HEADER + jpeg_scan(1, 1) + END, "corrupt", "does not have"),
        (FRAME_HEADER[:2] + jpeg_scan(1) + END, "corrupt", "before the frame header"),
        (JPEG[:2] + JPEG, "corrupt", "stray marker"),
        (JPEG[:2] + b"\xff\xfe\x00\x01", "corrupt", "segment of length 1"),
        (made.jpeg_frame_header(8, 8, components=3)[:-1], "truncated", "stops at byte"),
    ],
)
def test_an_unsound_jpeg_is_told_why(data: bytes, code: str, problem: str) -> None:
    with pytest.raises(UnreadableImageError, match=problem) as caught:
        decode_image(data)
    assert caught.value.code == code


def test_fill_bytes_before_a_marker_are_allowed_and_dropped() -> None:
    """T.81, B.1.1.2: any marker may be preceded by any number of them."""
    filled = JPEG[:2] + b"\xff\xff" + JPEG[2:-2] + b"\xff\xff" + JPEG[-2:]
    assert decode_image(filled).canonical_bytes == decode_image(JPEG).canonical_bytes


def test_lesson_frames_have_tighter_limits_than_stills() -> None:
    assert refusal(bytes((1 << 20) + 1), FRAME_LIMITS) == "too_many_bytes"
    assert refusal(bytes((16 << 20) + 1)) == "too_many_bytes"
    assert refusal(made.png_header(4_097, 10), FRAME_LIMITS) == "dimension_too_large"
    assert refusal(made.png_header(2_001, 2_000), FRAME_LIMITS) == "too_many_pixels"
    # One inside each limit gets further: to the missing rest of the file.
    assert refusal(made.png_header(2_000, 2_000), FRAME_LIMITS) == "truncated"


def test_a_huge_header_allocates_nothing() -> None:
    """1.2 GB of pixels, were they believed; refusing them costs less than 64 KiB."""
    complete = made.png_header(20_000, 20_000) + PNG[33:]
    refusal(complete)  # once before measuring, so that nothing is imported under the measure
    tracemalloc.start()
    try:
        assert refusal(complete) == "dimension_too_large"
        assert tracemalloc.get_traced_memory()[1] < 1 << 16
    finally:
        tracemalloc.stop()


def test_rows_that_never_end_are_not_inflated_to_the_end() -> None:
    """A megabyte of zeros packs into a kilobyte, and a gigabyte into a megabyte."""
    bomb = zlib.compress(bytes(200 << 20))
    data = made.png_header(8, 8) + made.png_chunk(b"IDAT", bomb) + made.png_chunk(b"IEND")
    tracemalloc.start()
    try:
        assert refusal(data) == "corrupt"
        assert tracemalloc.get_traced_memory()[1] < 32 << 20
    finally:
        tracemalloc.stop()


# --- anything at all ----------------------------------------------------------------------


def outcome(data: bytes) -> DecodedImage | str:
    """Return the image or the code; any other exception goes through and fails the test."""
    try:
        return decode_image(data, FRAME_LIMITS)
    except UnreadableImageError as error:
        return error.code


edits = st.lists(
    st.tuples(
        st.sampled_from(["flip", "cut", "insert", "end"]),
        st.integers(0, 1 << 16),
        st.binary(min_size=1, max_size=8),
    ),
    min_size=1,
    max_size=4,
)


def mutated(data: bytes, changes: list[tuple[str, int, bytes]]) -> bytes:
    """Return ``data`` with pieces overwritten, cut out or put in, or its end cut off."""
    for how, where, piece in changes:
        at = where % (len(data) + 1)
        if how == "flip":
            data = data[:at] + piece + data[at + len(piece) :]
        elif how == "cut":
            data = data[:at] + data[at + len(piece) :]
        elif how == "insert":
            data = data[:at] + piece + data[at:]
        else:
            data = data[:at]
    return data


@settings(max_examples=150, deadline=None)
@given(prefix=st.sampled_from([b"", JPEG[:20], PNG[:33]]), noise=st.binary(max_size=300))
def test_noise_is_refused_or_decoded_and_nothing_else(prefix: bytes, noise: bytes) -> None:
    outcome(prefix + noise)


@settings(max_examples=300, deadline=None)
@given(name=st.sampled_from(sorted(VARIETIES)), changes=edits)
def test_damage_is_refused_or_decodes_to_one_picture(
    name: str, changes: list[tuple[str, int, bytes]]
) -> None:
    """Whatever is accepted is still a fixed point: matcher and reviewer see the same."""
    result = outcome(mutated(VARIETIES[name], changes))
    if isinstance(result, DecodedImage):
        again = decode_image(result.canonical_bytes, FRAME_LIMITS)
        assert again.canonical_bytes == result.canonical_bytes
        assert again.pixels_sha256 == result.pixels_sha256
