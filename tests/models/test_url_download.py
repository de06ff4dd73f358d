"""Fetching by address: resumed where it broke, never another file, never more than was pinned."""

import hashlib
import json
import logging
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from models.packs import UrlSource
from models.pip_download import Silent
from models.url_download import Patience, UrlDownloader
from tests.models.file_server import FileServer, serving
from verifier.errors import InputError, ModelUnavailableError

DATA = bytes(range(256)) * 400  # 102,400 bytes: several pieces
NAME = "weights.pth"
PATH = f"/{NAME}"
SOURCE = UrlSource(
    url=f"https://files.example/elsewhere/{NAME}",
    artefact=NAME,
    sha256=hashlib.sha256(DATA).hexdigest(),
    size_bytes=len(DATA),
)
IMPATIENT = Patience(connect_s=5, silence_s=0.2)


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture(name="server")
def running_server() -> Iterator[FileServer]:
    with serving(files={PATH: DATA}) as server:
        yield server


class Progress:
    """Keeps what it hears."""

    def __init__(self) -> None:
        self.steps: list[tuple[str, int, int]] = []

    def update(self, stage: str, done: int, total: int) -> None:
        """Keep it."""
        self.steps.append((stage, done, total))


def fetch(server: FileServer, folder: Path, source: UrlSource = SOURCE) -> Path:
    return UrlDownloader(mirror=server.url, patience=IMPATIENT).fetch(source, folder, Silent())


def failure(server: FileServer, folder: Path, source: UrlSource = SOURCE) -> str:
    with pytest.raises(ModelUnavailableError) as caught:
        fetch(server, folder, source)
    return str(caught.value)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def begun(folder: Path, data: bytes, version: str | None, origin: str) -> None:
    """Leave what an interrupted transfer leaves."""
    (folder / f".{NAME}.partial").write_bytes(data)
    noted = json.dumps({"origin": origin, "version": version})
    (folder / f".{NAME}.version").write_text(noted)


def test_a_file_is_fetched_whole_and_alone(server: FileServer, tmp_path: Path) -> None:
    progress = Progress()
    downloader = UrlDownloader(mirror=f"{server.url}/")
    path = downloader.fetch(SOURCE, tmp_path / "downloads", progress)
    assert path == tmp_path / "downloads" / NAME
    assert path.read_bytes() == DATA
    assert names(path.parent) == [NAME]
    assert progress.steps[0] == (f"download {NAME}", 0, len(DATA))
    assert progress.steps[-1] == (f"download {NAME}", len(DATA), len(DATA))
    assert [asked for asked, _ in server.asked] == [PATH]
    assert server.asked[0][1]["accept-encoding"] == "identity"


def test_a_cut_connection_is_taken_up_where_it_broke(server: FileServer, tmp_path: Path) -> None:
    server.cuts = [40_000, 50_000]
    assert fetch(server, tmp_path).read_bytes() == DATA
    assert server.ranges_asked() == [None, "bytes=40000-", "bytes=90000-"]
    assert [headers.get("if-range") for _, headers in server.asked] == [None, '"v1"', '"v1"']


def test_an_interrupted_transfer_goes_on_in_the_next_run(
    server: FileServer, tmp_path: Path
) -> None:
    server.cuts = [40_000, 0]
    message = failure(server, tmp_path)
    assert "at 40000 of 102400 bytes; run it again to go on" in message
    assert names(tmp_path) == [f".{NAME}.partial", f".{NAME}.version"]
    assert (tmp_path / f".{NAME}.partial").read_bytes() == DATA[:40_000]
    assert fetch(server, tmp_path).read_bytes() == DATA
    assert server.ranges_asked()[-1] == "bytes=40000-"
    assert names(tmp_path) == [NAME]


def test_a_server_without_ranges_sends_it_all_again(server: FileServer, tmp_path: Path) -> None:
    server.ranges = False
    server.cuts = [60_000]
    assert fetch(server, tmp_path).read_bytes() == DATA
    assert server.ranges_asked() == [None, "bytes=60000-"]


def test_a_version_that_changed_in_between_is_not_mixed(server: FileServer, tmp_path: Path) -> None:
    begun(tmp_path, b"of another version", '"v0"', f"{server.url}{PATH}")
    assert fetch(server, tmp_path).read_bytes() == DATA
    assert server.asked[0][1]["if-range"] == '"v0"'


@pytest.mark.parametrize(
    ("etag", "modified", "if_range"),
    [
        ('W/"weak"', "Mon, 01 Jun 2020 00:00:00 GMT", "Mon, 01 Jun 2020 00:00:00 GMT"),
        ('W/"weak"', None, None),
        (None, None, None),
    ],
)
def test_without_a_strong_mark_the_digest_alone_decides(
    etag: str | None, modified: str | None, if_range: str | None, tmp_path: Path
) -> None:
    with serving(files={PATH: DATA}, etag=etag, modified=modified, cuts=[100]) as server:
        assert fetch(server, tmp_path).read_bytes() == DATA
        assert server.asked[1][1].get("if-range") == if_range
        assert server.ranges_asked()[1] == "bytes=100-"


def test_another_servers_mark_is_not_sent(server: FileServer, tmp_path: Path) -> None:
    begun(tmp_path, DATA[:500], '"v1"', "https://other.example/weights.pth")
    assert fetch(server, tmp_path).read_bytes() == DATA
    assert server.asked[0][1].get("range") == "bytes=500-"
    assert "if-range" not in server.asked[0][1]


@pytest.mark.parametrize("noted", ["", "[]", "{}", "\0", '{"origin": 1, "version": {}}'])
def test_a_damaged_note_is_no_note(noted: str, server: FileServer, tmp_path: Path) -> None:
    begun(tmp_path, DATA[:500], None, "")
    (tmp_path / f".{NAME}.version").write_text(noted)
    assert fetch(server, tmp_path).read_bytes() == DATA


def test_a_beginning_that_does_not_belong_is_found_by_its_digest(
    server: FileServer, tmp_path: Path
) -> None:
    begun(tmp_path, b"x" * 500, '"v1"', f"{server.url}{PATH}")
    assert "sha256" in failure(server, tmp_path)
    assert names(tmp_path) == []
    assert fetch(server, tmp_path).read_bytes() == DATA


def test_a_whole_beginning_only_wants_its_digest(server: FileServer, tmp_path: Path) -> None:
    begun(tmp_path, DATA, '"v1"', f"{server.url}{PATH}")
    assert fetch(server, tmp_path).read_bytes() == DATA
    assert server.asked == []


def test_more_than_the_pinned_size_is_no_beginning(server: FileServer, tmp_path: Path) -> None:
    begun(tmp_path, DATA + b"x", '"v1"', f"{server.url}{PATH}")
    assert fetch(server, tmp_path).read_bytes() == DATA
    assert server.ranges_asked() == [None]


def test_another_digest_leaves_nothing(server: FileServer, tmp_path: Path) -> None:
    server.files[PATH] = DATA[:-1] + b"x"
    assert failure(server, tmp_path).endswith(f"wanted {SOURCE.sha256[:12]}; nothing was kept")
    assert names(tmp_path) == []


@pytest.mark.parametrize("told_length", [True, False])
@pytest.mark.parametrize("size", [len(DATA) - 1, len(DATA) + 1, 5 * len(DATA)])
def test_another_size_leaves_nothing(size: int, told_length: bool, tmp_path: Path) -> None:
    with serving(files={PATH: (DATA * 5)[:size]}, told_length=told_length) as server:
        message = failure(server, tmp_path)
    assert message.endswith("wanted 102400 bytes; nothing was kept")
    assert names(tmp_path) == []


def test_a_length_that_lies_is_refused_before_a_byte_is_read(tmp_path: Path) -> None:
    with serving(files={PATH: DATA}, claim=10**12) as server:
        assert "offers 1000000000000 bytes" in failure(server, tmp_path)
        assert len(server.asked) == 1
    assert names(tmp_path) == []


def test_a_body_longer_than_its_length_is_cut_at_the_pinned_size(tmp_path: Path) -> None:
    with serving(files={PATH: DATA}, more=b"x" * 100_000, claim=len(DATA)) as server:
        assert fetch(server, tmp_path).read_bytes() == DATA


def test_a_range_without_end_is_cut_at_the_pinned_size(server: FileServer, tmp_path: Path) -> None:
    server.told_length = False
    server.more = b"x" * 10_000_000
    begun(tmp_path, DATA[:500], '"v1"', f"{server.url}{PATH}")
    assert "more than 102400 bytes" in failure(server, tmp_path)
    assert names(tmp_path) == []


@pytest.mark.parametrize(
    "offered", ["bytes 0-102399/102400", "bytes 500-102399/999999", "bytes 500-600/102400", "x"]
)
def test_a_range_that_was_not_asked_for_is_refused(
    offered: str, server: FileServer, tmp_path: Path
) -> None:
    server.content_range = offered
    begun(tmp_path, DATA[:500], '"v1"', f"{server.url}{PATH}")
    assert f"the range {offered}" in failure(server, tmp_path)
    assert names(tmp_path) == []


def test_a_packed_answer_is_refused(server: FileServer, tmp_path: Path) -> None:
    server.extra = {"Content-Encoding": "gzip"}
    assert "a packed file" in failure(server, tmp_path)


@pytest.mark.parametrize("status", [206, 403, 404, 500, 503])
def test_a_refusal_is_named_and_what_arrived_is_kept(
    status: int, server: FileServer, tmp_path: Path
) -> None:
    server.cuts = [40_000, 0]
    failure(server, tmp_path)
    server.status = status
    if status == 206:
        (tmp_path / f".{NAME}.partial").unlink()
    assert failure(server, tmp_path).endswith(f": status {status}")
    if status != 206:
        assert (tmp_path / f".{NAME}.partial").read_bytes() == DATA[:40_000]
        server.status = None
        assert fetch(server, tmp_path).read_bytes() == DATA


def test_a_file_that_is_not_there_is_named(server: FileServer, tmp_path: Path) -> None:
    other = replace(SOURCE, artefact="other.pth")
    assert failure(server, tmp_path, other) == (
        f"other.pth from {server.url}/other.pth: status 404"
    )


def test_a_server_that_falls_silent_is_left(server: FileServer, tmp_path: Path) -> None:
    server.stall = threading.Event()
    server.cuts = [1000, 0]
    assert "ReadTimeout" in failure(server, tmp_path)
    assert (tmp_path / f".{NAME}.partial").stat().st_size == 1000


def test_a_server_that_drips_is_left(server: FileServer, tmp_path: Path) -> None:
    slow = Patience(grace_s=0.0, least_bytes_per_s=10**12)
    with pytest.raises(ModelUnavailableError, match=r"ReadTimeout \(too slow\)"):
        UrlDownloader(mirror=server.url, patience=slow).fetch(SOURCE, tmp_path, Silent())
    assert names(tmp_path) == [f".{NAME}.partial", f".{NAME}.version"]


def test_nobody_listening_is_one_line(tmp_path: Path) -> None:
    with serving(files={}) as gone:
        pass
    assert "Connect (" in failure(gone, tmp_path)


def test_redirects_on_the_same_host_are_followed(server: FileServer, tmp_path: Path) -> None:
    server.redirects = {PATH: "/one", "/one": "/two"}
    server.files = {"/two": DATA}
    server.cuts = [500]
    assert fetch(server, tmp_path).read_bytes() == DATA
    assert [asked for asked, _ in server.asked] == [PATH, "/one", "/two"] * 2
    assert server.ranges_asked()[-1] == "bytes=500-"


def test_redirects_have_an_end(server: FileServer, tmp_path: Path) -> None:
    server.redirects = {PATH: PATH}
    assert "more than 5 redirects" in failure(server, tmp_path)
    assert len(server.asked) == 6


@pytest.mark.parametrize(
    ("location", "told"),
    [
        ("http://localhost:9/x?token=secret", "http://localhost:9/x"),  # another origin
        ("http://user:secret@files.example/x", "http://files.example/x"),
        ("ftp://files.example/x", "ftp://files.example/x"),
        ("file:///etc/passwd", "file:/etc/passwd"),
    ],
)
def test_redirects_stay_private(
    location: str, told: str, server: FileServer, tmp_path: Path
) -> None:
    server.redirects = {PATH: location}
    message = failure(server, tmp_path)
    assert message.endswith(f"redirected to {told}, which is not HTTPS")
    assert "secret" not in message


def test_a_redirect_to_nowhere_is_refused(server: FileServer, tmp_path: Path) -> None:
    server.redirects = {PATH: "http://host:nonsense/"}
    assert "Invalid URL in location header" in failure(server, tmp_path)
    assert names(tmp_path) == []


def test_a_login_goes_to_its_host_and_into_no_message(
    server: FileServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    server.redirects = {PATH: "/elsewhere"}
    mirror = server.url.replace("//", "//user:s3cret@")
    with pytest.raises(ModelUnavailableError) as caught:
        UrlDownloader(mirror=mirror, patience=IMPATIENT).fetch(SOURCE, tmp_path, Silent())
    assert "status 404" in str(caught.value)
    assert server.asked[0][1]["authorization"].startswith("Basic ")
    assert "s3cret" not in str(caught.value) + caplog.text
    server.redirects, server.cuts = {}, [500, 0]
    with pytest.raises(ModelUnavailableError):
        UrlDownloader(mirror=mirror, patience=IMPATIENT).fetch(SOURCE, tmp_path, Silent())
    assert "s3cret" not in (tmp_path / f".{NAME}.version").read_text()


def test_the_proxy_of_the_environment_is_asked(
    server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", server.url)
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    server.files = {f"http://mirror.example/zoo{PATH}": DATA}
    mirror = UrlDownloader(mirror="http://mirror.example/zoo")
    assert mirror.fetch(SOURCE, tmp_path, Silent()).read_bytes() == DATA


@pytest.mark.parametrize("proxy", ["socks5://u:s3cret@proxy.example:1", "gopher://u:s3cret@x"])
def test_a_proxy_that_cannot_be_used_is_said_without_its_address(
    proxy: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("all_proxy", proxy)
    with pytest.raises(ModelUnavailableError, match=r"a proxy that cannot be used$"):
        UrlDownloader(mirror="http://mirror.example").fetch(SOURCE, tmp_path, Silent())


@pytest.mark.parametrize(
    ("mirror", "match"),
    [
        ("files", "http:// or https:// wanted"),
        ("/srv/files", "http:// or https:// wanted"),
        ("file:///srv/files", "http:// or https:// wanted"),
        ("http://", "http:// or https:// wanted"),
        ("https://u:s3cret@h/?token=s3cret", r"^mirror https://h/: no query wanted"),
        ("http://host:nonsense/", "no address"),
    ],
)
def test_a_mirror_is_an_address(mirror: str, match: str) -> None:
    with pytest.raises(InputError, match=match) as caught:
        UrlDownloader(mirror=mirror)
    assert "s3cret" not in str(caught.value)


def test_without_a_mirror_the_pinned_address_is_asked(
    server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Through a proxy that only hears which host is wanted: it is HTTPS."""
    monkeypatch.setenv("https_proxy", server.url)
    with pytest.raises(ModelUnavailableError, match=rf"{NAME} from {SOURCE.url}: Proxy"):
        UrlDownloader(patience=IMPATIENT).fetch(SOURCE, tmp_path, Silent())
