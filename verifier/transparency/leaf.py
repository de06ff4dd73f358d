"""What the log says in public about one thing that happened: canonical JSON, at most 64 KiB.

==============  ====================================================================
``v``           1
``kind``        ``snapshot``, ``session_opened``, ``session_closed``, ``enrolment`` …
``session_id``  random, or null where there is no session
``sequence``    0-based place in its session, or null
``assurance``   ``frame`` or ``platform``, or null outside a session
``time``        RFC 3339, UTC, microseconds
``learner``     keyed reference: meaningless once the learner's key is destroyed; or null
``commitment``  base64, see ``commitment``; null where nothing private belongs to it
``object``      hex SHA-256 of the whole stored object; null likewise
``facts``       public fields of the kind, for example counts in ``session_closed``
==============  ====================================================================
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from verifier.errors import InvalidRecordError
from verifier.transparency.base64_text import from_base64, to_base64
from verifier.transparency.canonical_json import (
    JSONValue,
    canonical_json,
    parse_canonical_object,
)
from verifier.transparency.tile_paths import LARGEST_ENTRY

_FIELDS = {
    *("v", "kind", "session_id", "sequence", "assurance", "time"),
    *("learner", "commitment", "object", "facts"),
}
_HEX_DIGEST = re.compile(r"[0-9a-f]{64}")
_KIND = re.compile(r"[a-z][a-z_]{0,63}")
_TIME_FORMAT = "%Y-%m-%dT%H:%M:%S.%fZ"


@dataclass(frozen=True, slots=True, kw_only=True)
class Leaf:
    """One entry of the log."""

    kind: str
    time: datetime
    session_id: str | None = None
    sequence: int | None = None
    assurance: str | None = None
    learner: str | None = None  # 64 hex digits
    commitment: bytes | None = None  # 32 bytes
    object_sha256: str | None = None
    facts: Mapping[str, JSONValue] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not _KIND.fullmatch(self.kind):
            raise InvalidRecordError("a leaf's kind is not a lower-case word")
        if self.time.utcoffset() is None:
            raise InvalidRecordError("a leaf's time has no time zone")
        if self.sequence is not None and self.sequence < 0:
            raise InvalidRecordError(f"a leaf's sequence is {self.sequence}")
        if self.assurance not in {None, "frame", "platform"}:
            raise InvalidRecordError("a leaf's assurance is neither frame nor platform")
        # Together or not at all: a commitment whose opening lies nowhere proves nothing, and
        # an object that nothing commits to could be exchanged together with its leaf.
        if (self.commitment is None) != (self.object_sha256 is None):
            raise InvalidRecordError("a leaf has a commitment without an object, or reversed")
        if self.commitment is not None and len(self.commitment) != 32:
            raise InvalidRecordError(f"a commitment has {len(self.commitment)} bytes, wanted 32")
        for digest in (self.object_sha256, self.learner):
            if digest is not None and not _HEX_DIGEST.fullmatch(digest):
                raise InvalidRecordError("a leaf's reference is not 64 lower-case hex digits")

    def serialize(self) -> bytes:
        """Return the entry; ``InvalidRecordError`` if it is too long for the log."""
        entry = canonical_json(
            {
                "v": 1,
                "kind": self.kind,
                "session_id": self.session_id,
                "sequence": self.sequence,
                "assurance": self.assurance,
                "time": format_time(self.time),
                "learner": self.learner,
                "commitment": None if self.commitment is None else to_base64(self.commitment),
                "object": self.object_sha256,
                "facts": self.facts,
            }
        )
        if len(entry) > LARGEST_ENTRY:
            raise InvalidRecordError(f"a leaf has {len(entry)} bytes, at most {LARGEST_ENTRY}")
        return entry

    @classmethod
    def parse(cls, entry: bytes) -> "Leaf":
        """Read an entry; ``InvalidRecordError`` if it is no leaf."""
        value = parse_canonical_object(entry)
        if set(value) != _FIELDS or value["v"] != 1:
            raise InvalidRecordError("an entry is not a leaf of version 1")
        sequence, facts, kind = value["sequence"], value["facts"], value["kind"]
        if isinstance(sequence, bool) or not isinstance(sequence, int | None):
            raise InvalidRecordError("a leaf's sequence is no whole number")
        if not isinstance(facts, Mapping) or not isinstance(kind, str):
            raise InvalidRecordError("a leaf's facts are no object, or its kind no text")
        commitment = _text(value, "commitment")
        return cls(
            kind=kind,
            time=parse_time(_text(value, "time") or ""),
            session_id=_text(value, "session_id"),
            sequence=sequence,
            assurance=_text(value, "assurance"),
            learner=_text(value, "learner"),
            commitment=None if commitment is None else from_base64(commitment),
            object_sha256=_text(value, "object"),
            facts=facts,
        )


def format_time(time: datetime) -> str:
    """Return ``time`` (timezone-aware) as UTC with microseconds."""
    return time.astimezone(UTC).strftime(_TIME_FORMAT)


def parse_time(text: str) -> datetime:
    """Read what ``format_time`` wrote; ``InvalidRecordError`` if it is anything else."""
    try:
        time = datetime.strptime(text, _TIME_FORMAT).replace(tzinfo=UTC)
    except ValueError as error:
        raise InvalidRecordError("a time is not RFC 3339, UTC, with microseconds") from error
    if format_time(time) != text:
        raise InvalidRecordError("a time is not in its one canonical spelling")
    return time


def _text(value: Mapping[str, JSONValue], name: str) -> str | None:
    text = value[name]
    if not isinstance(text, str | None):
        raise InvalidRecordError(f"a leaf's {name} is not text")
    return text
