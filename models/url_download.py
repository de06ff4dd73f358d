"""Fetches a pinned file from its address, going on where an interrupted transfer stopped.

What has arrived is kept beside the goal as ``.NAME.partial``, with the server's mark for that
version of the file in ``.NAME.version``. The next attempt asks for the rest of that version; a
server that knows no ranges, or has another version, sends it all again. Whatever the server
claims, no more than the pinned size is ever written, and the goal appears only whole, at once,
with the pinned digest. A file of another size or digest leaves nothing behind.

Addresses can hold passwords and tokens: messages name only the host and the path. Start with
`UrlDownloader.fetch`.
"""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import quote

import httpx

from models.packs import UrlSource
from models.partial_file import PartialFile
from models.pip_download import without_addresses
from verifier.errors import InputError, ModelUnavailableError
from verifier.protocols import ProgressSink

MAX_REDIRECTS: Final = 5
MAX_ATTEMPTS: Final = 5  # each but the first only if the one before brought something
_LOOPBACK: Final = frozenset(("localhost", "127.0.0.1", "::1"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long a server may take; a thin line is fine, a stalled one is not."""

    connect_s: float = 15.0
    silence_s: float = 30.0  # between two pieces
    grace_s: float = 60.0
    least_bytes_per_s: int = 1024  # on average, once the grace is over

    def transfer_s(self, size_bytes: int) -> float:
        """Return how long a file of this size may take, all attempts together."""
        return self.grace_s + size_bytes / self.least_bytes_per_s


@dataclass(frozen=True, slots=True, kw_only=True)
class UrlDownloader:
    """Fetches from the pinned addresses, or all from one mirror; proxies as in the environment.

    ``mirror`` is a base address under which the files lie by name. It may be plain HTTP, since
    its user chose it and digests decide; everything else is HTTPS, redirects included.
    """

    mirror: str | None = None
    patience: Patience = Patience()

    def __post_init__(self) -> None:
        if self.mirror is not None:
            _check_mirror(self.mirror)

    def fetch(self, source: UrlSource, folder: Path, progress: ProgressSink) -> Path:
        """Return the verified file, named ``source.artefact``, in ``folder``.

        Raises
        ------
        ModelUnavailableError
            If it cannot be had now (what arrived is kept), or is another file (nothing is kept).
        """
        folder.mkdir(parents=True, exist_ok=True)
        partial = PartialFile(folder, source.artefact, source.size_bytes)
        with _client(self.patience) as client:
            transfer = _Transfer(client, self._address(source), source, partial, self.patience)
            transfer.complete(progress)
        return partial.finish(source.sha256)

    def _address(self, source: UrlSource) -> httpx.URL:
        if self.mirror is None:
            return httpx.URL(source.url)
        return httpx.URL(f"{self.mirror.rstrip('/')}/{quote(source.artefact)}")


@dataclass(frozen=True, slots=True)
class _Transfer:
    """One file on its way from one address into one partial file."""

    client: httpx.Client
    address: httpx.URL
    source: UrlSource
    partial: PartialFile
    patience: Patience

    def complete(self, progress: ProgressSink) -> None:
        """Try until all bytes are there; cut connections are taken up where they broke."""
        deadline = time.monotonic() + self.patience.transfer_s(self.source.size_bytes)
        for attempt in range(1, MAX_ATTEMPTS + 1):
            before = self.partial.size
            if self._is_whole():  # interrupted only before its digest was taken
                return
            try:
                self._attempt(progress, deadline)
            except httpx.TransportError as error:
                hopeless = self.partial.size <= before or time.monotonic() > deadline
                if attempt == MAX_ATTEMPTS or hopeless:
                    raise self._interrupted(error) from None

    def _attempt(self, progress: ProgressSink, deadline: float) -> None:
        have, stage = self.partial.size, f"download {self.source.artefact}"
        with _following(self.client, self.address, self._headers()) as response:
            start = self._start(response, have)
            with self.partial.writing(start, self._told(), _version(response)) as write:
                progress.update(stage, start, self.source.size_bytes)
                for piece in response.iter_raw():
                    if not write(piece):
                        raise self._other_file(f"more than {self.source.size_bytes} bytes")
                    progress.update(stage, self.partial.size, self.source.size_bytes)
                    if time.monotonic() > deadline and not self._is_whole():
                        raise httpx.ReadTimeout("too slow")
        if not self._is_whole():
            raise httpx.ReadError("the server stopped early")

    def _is_whole(self) -> bool:
        return self.partial.size == self.source.size_bytes

    def _headers(self) -> dict[str, str]:
        # Packed in transit the bytes could not be counted, nor a range of them be asked for.
        headers = {"Accept-Encoding": "identity", "User-Agent": "zhenxue"}
        if self.partial.size:
            headers["Range"] = f"bytes={self.partial.size}-"
            if version := self.partial.version(self._told()):
                headers["If-Range"] = version
        return headers

    def _start(self, response: httpx.Response, have: int) -> int:
        """Return where in the file the body begins, after checking what the server says of it."""
        size, length = self.source.size_bytes, response.headers.get("Content-Length")
        if response.headers.get("Content-Encoding", "identity") != "identity":
            raise self._other_file("a packed file")
        if response.status_code == httpx.codes.OK:
            if length is not None and length != str(size):
                raise self._other_file(f"{length:.20} bytes")
            return 0
        if response.status_code == httpx.codes.PARTIAL_CONTENT and have:
            offered = response.headers.get("Content-Range", "")
            if offered != f"bytes {have}-{size - 1}/{size}":
                raise self._other_file(f"the range {offered:.60}")
            return have
        if response.status_code == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE:
            raise self._other_file("a shorter file")
        raise ModelUnavailableError(f"{self._what()}: status {response.status_code}")

    def _other_file(self, seen: str) -> ModelUnavailableError:
        """Forget what arrived: it is not, or no longer, the beginning of the pinned file."""
        self.partial.discard()
        size = self.source.size_bytes
        return ModelUnavailableError(
            f"{self._what()}: the server offers {seen}, wanted {size} bytes; nothing was kept"
        )

    def _interrupted(self, error: httpx.TransportError) -> ModelUnavailableError:
        kind = type(error).__name__.removesuffix("Error")
        said = without_addresses(str(error))[:120]
        have, size = self.partial.size, self.source.size_bytes
        return ModelUnavailableError(
            f"{self._what()}: {kind} ({said}) at {have} of {size} bytes; run it again to go on"
        )

    def _what(self) -> str:
        return f"{self.source.artefact} from {self._told()}"

    def _told(self) -> str:
        return told(self.address)


def told(address: httpx.URL) -> str:
    """Return an address without user, password, query and fragment."""
    return str(address.copy_with(userinfo=b"", query=None, fragment=None))


@contextmanager
def _following(
    client: httpx.Client, address: httpx.URL, headers: Mapping[str, str]
) -> Iterator[httpx.Response]:
    """Open an address, following redirects that stay private."""
    plain_origin = _origin(address) if address.scheme == "http" else None
    for _ in range(MAX_REDIRECTS + 1):
        # Apart, so that a password goes to its own host and into nobody's log of addresses.
        login = httpx.BasicAuth(address.username, address.password) if address.userinfo else None
        request = client.build_request("GET", address.copy_with(userinfo=b""), headers=headers)
        response = client.send(request, stream=True, auth=login)
        try:
            if not response.has_redirect_location:
                yield response
                return
            address = _next_address(response, plain_origin)
        finally:
            response.close()
    raise ModelUnavailableError(f"more than {MAX_REDIRECTS} redirects, at {told(address)}")


def _next_address(response: httpx.Response, plain_origin: str | None) -> httpx.URL:
    address = response.request.url.join(response.headers["Location"])  # httpx found it well-formed
    # A page on plain HTTP could be anybody's; only the host the user named may be asked so.
    if address.scheme != "https" and _origin(address) != plain_origin:
        raise ModelUnavailableError(f"redirected to {told(address)}, which is not HTTPS")
    return address


def _origin(address: httpx.URL) -> str:
    return f"{address.scheme}://{address.netloc.decode()}"


def _version(response: httpx.Response) -> str | None:
    """Return the server's mark for this version of the file, if it is one to resume by."""
    tag: str | None = response.headers.get("ETag")
    if tag is not None and not tag.startswith("W/"):
        return tag
    modified: str | None = response.headers.get("Last-Modified")
    return modified


def _client(patience: Patience) -> httpx.Client:
    timeout = httpx.Timeout(patience.silence_s, connect=patience.connect_s)
    try:
        return httpx.Client(timeout=timeout, follow_redirects=False)
    except (ValueError, httpx.InvalidURL, ImportError):  # the last: SOCKS, which is not built in
        # The message would hold the proxy's address, and that its password.
        raise ModelUnavailableError("the environment names a proxy that cannot be used") from None


def _check_mirror(mirror: str) -> None:
    """Refuse what cannot be the beginning of an address of a file."""
    try:
        address = httpx.URL(mirror)
    except httpx.InvalidURL:
        raise InputError("the mirror is no address") from None
    if address.scheme not in {"http", "https"} or not address.host:
        raise InputError(f"mirror {told(address)}: http:// or https:// wanted")
    if address.query or address.fragment:
        raise InputError(f"mirror {told(address)}: no query wanted, files lie under it by name")
