"""Uploads keep what arrived, for who sent it, in so much memory and until their time is over."""

import hashlib
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.clock import ManualClock
from service.uploads import (
    Announcement,
    DigestMismatchError,
    IncompleteUploadError,
    TooLongError,
    TooManyUploadsError,
    UnknownUploadError,
    Upload,
    Uploads,
    WrongOffsetError,
)

NOW = datetime(2026, 3, 2, 1, 0, tzinfo=UTC)
BODY = b"a learner's answer"


def announced(body: bytes = BODY, **change: object) -> Announcement:
    usual = Announcement(
        session_id="session-1",
        prompt_id="prompt-1",
        principal="key:1",
        whose="platform:1",
        length=len(body),
        sha256=hashlib.sha256(body).digest(),
        expires_at=NOW + timedelta(seconds=75),
    )
    return replace(usual, **change)  # type: ignore[arg-type]


def send(uploads: Uploads, upload: Upload, chunk: bytes) -> None:
    part = uploads.go_on(upload.upload_id, "key:1", offset=upload.offset)
    part.add(chunk)


@settings(deadline=None)
@given(body=st.binary(min_size=1, max_size=200), cuts=st.lists(st.integers(0, 200), max_size=8))
def test_however_it_is_cut_it_is_the_same(body: bytes, cuts: list[int]) -> None:
    uploads = Uploads(ManualClock(NOW))
    upload = uploads.begin(announced(body))
    places = [0, *sorted(min(cut, len(body)) for cut in cuts), len(body)]
    for start, end in pairwise(places):
        send(uploads, upload, body[start:end])
        assert uploads.of(upload.upload_id, "key:1").offset == end
    assert uploads.whole(upload.upload_id, "key:1") == body


def test_only_who_began_it_knows_it() -> None:
    uploads = Uploads(ManualClock(NOW))
    upload = uploads.begin(announced())
    for act in (
        lambda: uploads.of(upload.upload_id, "key:2"),
        lambda: uploads.go_on(upload.upload_id, "key:2", offset=0),
        lambda: uploads.whole(upload.upload_id, "key:2"),
        lambda: uploads.drop(upload.upload_id, "key:2"),
        lambda: uploads.of("0" * 32, "key:1"),
    ):
        with pytest.raises(UnknownUploadError):
            act()


@pytest.mark.parametrize("offset", [0, 4, 6, 19])
def test_other_bytes_than_the_next_are_refused(offset: int) -> None:
    uploads = Uploads(ManualClock(NOW))
    upload = uploads.begin(announced())
    send(uploads, upload, BODY[:5])
    with pytest.raises(WrongOffsetError) as refused:
        uploads.go_on(upload.upload_id, "key:1", offset=offset)
    assert refused.value.offset == 5


def test_more_than_was_announced_is_not_kept() -> None:
    uploads = Uploads(ManualClock(NOW))
    upload = uploads.begin(announced())
    part = uploads.go_on(upload.upload_id, "key:1", offset=0)
    part.add(BODY[:10])
    with pytest.raises(TooLongError):
        part.add(BODY[10:] + b"!")
    assert upload.offset == 10


def test_the_newer_of_two_parts_goes_on() -> None:
    """The older one's connection broke, which only its sender has noticed."""
    uploads = Uploads(ManualClock(NOW))
    upload = uploads.begin(announced())
    old = uploads.go_on(upload.upload_id, "key:1", offset=0)
    old.add(BODY[:5])
    new = uploads.go_on(upload.upload_id, "key:1", offset=5)
    new.add(BODY[5:9])
    with pytest.raises(WrongOffsetError):
        old.add(BODY[5:])
    new.add(BODY[9:])
    assert uploads.whole(upload.upload_id, "key:1") == BODY


def test_too_little_is_not_used() -> None:
    uploads = Uploads(ManualClock(NOW))
    upload = uploads.begin(announced())
    send(uploads, upload, BODY[:-1])
    with pytest.raises(IncompleteUploadError) as refused:
        uploads.whole(upload.upload_id, "key:1")
    assert refused.value.offset == len(BODY) - 1


def test_other_bytes_than_announced_start_over() -> None:
    uploads = Uploads(ManualClock(NOW))
    upload = uploads.begin(announced())
    send(uploads, upload, BODY[::-1])
    with pytest.raises(DigestMismatchError):
        uploads.whole(upload.upload_id, "key:1")
    assert upload.offset == 0
    send(uploads, upload, BODY)
    assert uploads.whole(upload.upload_id, "key:1") == BODY


def test_time_is_over_to_the_second() -> None:
    clock = ManualClock(NOW)
    uploads = Uploads(clock)
    upload = uploads.begin(announced())
    part = uploads.go_on(upload.upload_id, "key:1", offset=0)
    clock.advance(74.9)
    part.add(BODY[:5])
    clock.advance(0.1)
    with pytest.raises(UnknownUploadError):
        part.add(BODY[5:])
    assert upload.body == b""


def test_expired_ones_are_swept_out() -> None:
    clock = ManualClock(NOW)
    uploads = Uploads(clock)
    uploads.begin(announced())
    later = announced(session_id="session-2", expires_at=NOW + timedelta(seconds=100))
    kept = uploads.begin(later)
    clock.advance(80)
    uploads.forget_expired()
    assert uploads.bytes_held == len(BODY)
    assert uploads.of(kept.upload_id, "key:1") is kept


def test_a_session_has_one() -> None:
    uploads = Uploads(ManualClock(NOW))
    old = uploads.begin(announced())
    uploads.begin(announced())
    assert uploads.bytes_held == len(BODY)
    with pytest.raises(UnknownUploadError):
        uploads.of(old.upload_id, "key:1")


def test_memory_is_bounded_for_each_and_in_all() -> None:
    """By what is announced: or else many that trickle would fill it in the end."""
    uploads = Uploads(ManualClock(NOW), most_bytes=100, most_bytes_of_one=60)

    def begin(number: int, whose: str) -> Upload:
        return uploads.begin(announced(b"x" * 30, session_id=f"session-{number}", whose=whose))

    first = begin(1, "greedy")
    begin(2, "greedy")
    with pytest.raises(TooManyUploadsError):
        begin(3, "greedy")
    begin(2, "greedy")  # in place of the session's own
    begin(4, "other")
    with pytest.raises(TooManyUploadsError):
        begin(5, "third")
    assert uploads.bytes_held == 90
    uploads.drop(first.upload_id, "key:1")
    begin(6, "third")


def test_what_was_judged_is_let_go_of_but_not_forgotten() -> None:
    uploads = Uploads(ManualClock(NOW))
    upload = uploads.begin(announced())
    send(uploads, upload, BODY)
    uploads.answered(upload)
    assert uploads.bytes_held == 0
    assert upload.body == b""
    found = uploads.of(upload.upload_id, "key:1")
    assert (found.answered, found.offset) == (True, len(BODY))


def test_nothing_shows_what_is_in_it() -> None:
    uploads = Uploads(ManualClock(NOW))
    upload = uploads.begin(announced())
    send(uploads, upload, BODY)
    assert "learner's" not in repr(upload) + repr(uploads) + repr(upload.part)
