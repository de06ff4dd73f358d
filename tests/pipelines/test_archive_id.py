"""An archive's id: given once, before the archive is begun, and never to be mistaken."""

import os
from pathlib import Path

import pytest

from pipelines.archive_id import (
    ARCHIVE_ID_FILE,
    format_archive_id,
    give_archive_id,
    parse_archive_id,
    read_archive_id,
)
from verifier.errors import LedgerError


def test_an_archive_has_no_id_until_it_is_given_one(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "archive"
    assert read_archive_id(folder) is None
    given = give_archive_id(folder)
    assert read_archive_id(folder) == given
    assert len(bytes.fromhex(given)) == 16


def test_a_file_known_by_its_bytes() -> None:
    """``printf abababababababababababababababab | sha256sum`` starts with the check."""
    assert format_archive_id("ab" * 16) == b"ab" * 16 + b" d2f9fa9d99bb30b2\n"
    assert parse_archive_id(format_archive_id("ab" * 16)) == "ab" * 16


def test_a_flipped_bit_anywhere_is_damage() -> None:
    data = format_archive_id("0123456789abcdef" * 2)
    for at in range(8 * len(data)):
        flipped = bytearray(data)
        flipped[at // 8] ^= 1 << at % 8
        with pytest.raises(LedgerError, match="damaged"):
            parse_archive_id(bytes(flipped))


def test_it_keeps_the_id_that_it_has(tmp_path: Path) -> None:
    assert give_archive_id(tmp_path / "a") == give_archive_id(tmp_path / "a")
    assert give_archive_id(tmp_path / "a") != give_archive_id(tmp_path / "b")


def test_one_that_was_begun_takes_no_id(tmp_path: Path) -> None:
    (tmp_path / "log").mkdir()
    with pytest.raises(LedgerError, match="was begun"):
        give_archive_id(tmp_path)
    assert read_archive_id(tmp_path) is None


@pytest.mark.parametrize(
    "content", [b"", b"ab" * 16, b"ab" * 16 + b"\n", format_archive_id("AB" * 16)]
)
def test_what_is_no_id_is_damage_and_at_the_very_first_start_replaced(
    tmp_path: Path, content: bytes
) -> None:
    (tmp_path / ARCHIVE_ID_FILE).write_bytes(content)
    with pytest.raises(LedgerError, match="damaged"):
        read_archive_id(tmp_path)
    given = give_archive_id(tmp_path)  # a crash in the middle of writing it
    assert read_archive_id(tmp_path) == given


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    give_archive_id(tmp_path / "real")
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked" / ARCHIVE_ID_FILE).symlink_to(tmp_path / "real" / ARCHIVE_ID_FILE)
    with pytest.raises(LedgerError, match="could not be read"):
        read_archive_id(tmp_path / "linked")


def test_a_disk_that_refuses_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_descriptor: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(LedgerError, match="could not be written"):
        give_archive_id(tmp_path)
