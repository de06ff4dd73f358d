"""Asking one witness for a cosignature over HTTP (c2sp.org/tlog-witness)."""

import time
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final
from urllib.parse import urlsplit

import httpx

from verifier.errors import InvalidRecordError, LedgerError
from verifier.transparency.checkpoint import parse_decimal
from verifier.transparency.cosignature import CosignatureVerifier
from verifier.transparency.note import NoteSignature, parse_signature_line
from verifier.transparency.witness_request import SIZE_TYPE, AddCheckpoint

ANSWERS_WITHIN_S: Final = 3.0
_MOST_BYTES: Final = 64 * 1024
_LOOPBACK: Final = {"localhost", "127.0.0.1", "::1"}


@dataclass(frozen=True, slots=True, kw_only=True)
class WitnessAddress:
    """Whose cosignature is wanted, and where to ask for it."""

    verifier: CosignatureVerifier
    url: str  # the submission prefix, http or https, without a slash at its end

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise InvalidRecordError("a witness's address is not http(s)://host…")
        if parts.query or parts.fragment or parts.username or parts.password:
            raise InvalidRecordError("a witness's address has more than host, port and path")

    @property
    def name(self) -> str:
        """Name and key id, as the log's leaves tell them."""
        return f"{self.verifier.name}+{self.verifier.key_id.hex()}"

    @property
    def is_guarded(self) -> bool:
        """Whether nobody on the way can answer in the witness's place."""
        parts = urlsplit(self.url)
        return parts.scheme == "https" or parts.hostname in _LOOPBACK


@dataclass(frozen=True, slots=True, kw_only=True)
class WitnessAnswer:
    """What a witness said: exactly one of the first three, or ``failure`` in words.

    ``body`` is what it said literally, at most 64 KiB.
    """

    line: NoteSignature | None = None  # verified
    conflict_size: int | None = None  # 409: what it cosigned last
    inconsistent: bool = False  # 422: it does not believe that the log only grew
    failure: str | None = None
    status: int = 0
    body: bytes = b""


class WitnessClient:
    """A connection to one witness; used by one thread at a time."""

    def __init__(self, address: WitnessAddress, *, within_s: float = ANSWERS_WITHIN_S) -> None:
        self.address = address
        self._within_s = within_s
        self._http = httpx.Client(timeout=within_s)

    def close(self) -> None:
        """Let go of the connection."""
        self._http.close()

    def submit(self, request: AddCheckpoint) -> WitnessAnswer:
        """Return the witness's answer; whatever goes wrong is an answer too."""
        try:
            status, content_type, body = self._post(request.serialize())
        except httpx.HTTPError as error:
            return WitnessAnswer(failure=type(error).__name__)
        return self._understood(request, status, content_type, body)

    def _post(self, content: bytes) -> tuple[int, str, bytes]:
        # httpx bounds the wait for each piece; the sum of them is bounded here.
        ends_at = time.monotonic() + self._within_s
        body = bytearray()
        url = f"{self.address.url}/add-checkpoint"
        with self._http.stream("POST", url, content=content) as response:
            for piece in response.iter_raw():
                body += piece
                if len(body) > _MOST_BYTES or time.monotonic() > ends_at:
                    raise httpx.ReadTimeout("the answer is too long, or takes too long")
        return response.status_code, response.headers.get("content-type", ""), bytes(body)

    def _understood(
        self, request: AddCheckpoint, status: int, content_type: str, body: bytes
    ) -> WitnessAnswer:
        try:
            if status == HTTPStatus.OK:
                line = self._own_line(request.note.text, body)
                return WitnessAnswer(line=line, status=status, body=body)
            if status == HTTPStatus.CONFLICT and content_type == SIZE_TYPE:
                size = parse_decimal(body.decode("ascii").removesuffix("\n"))
                return WitnessAnswer(conflict_size=size, status=status, body=body)
        except (LedgerError, InvalidRecordError, UnicodeDecodeError) as error:
            return WitnessAnswer(failure=type(error).__name__, status=status, body=body)
        # Older texts of the specification have 409 without that type for two trees of one size.
        if status in {HTTPStatus.UNPROCESSABLE_ENTITY, HTTPStatus.CONFLICT}:
            return WitnessAnswer(inconsistent=True, status=status, body=body)
        return WitnessAnswer(failure=f"HTTP {status}", status=status, body=body)

    def _own_line(self, text: str, body: bytes) -> NoteSignature:
        """Return this witness's line; lines by others are nobody's that was asked."""
        verifier = self.address.verifier
        lines = map(parse_signature_line, body.decode("utf-8").removesuffix("\n").split("\n"))
        own = [line for line in lines if verifier.made(line)]
        if not own:
            raise LedgerError("the answer holds no cosignature by the witness that was asked")
        for line in own:
            verifier.verify_line(text, line)
        return own[0]


def read_addresses(text: str) -> tuple[WitnessAddress, ...]:
    """Read pairs of verifier key and address, separated by commas or blanks.

    Raises
    ------
    InvalidRecordError
        If they are no pairs, a key or address is malformed, or a witness is named twice.
    """
    words = text.replace(",", " ").split()
    if len(words) % 2:
        raise InvalidRecordError("wanted pairs of a witness's key and its address")
    found = tuple(
        WitnessAddress(verifier=CosignatureVerifier.from_vkey(vkey), url=url.rstrip("/"))
        for vkey, url in zip(words[::2], words[1::2], strict=True)
    )
    # Two names of one key would count as two witnesses, and be one.
    if len({address.verifier.public_key for address in found}) != len(found):
        raise InvalidRecordError("a witness is named twice")
    return found
