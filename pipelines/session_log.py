"""What the signed log holds of one session, and of its learner's others in the same class.

Every entry is hashed and has to lead to the signed root before anything that it says is believed.
Needs no key, takes no lock, and works beside a writer or on a copy.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from pipelines.leaf_kinds import SESSION_CLOSED, SESSION_OPENED
from pipelines.log_reader import LogReader
from verifier.errors import InvalidRecordError, LedgerError, UnknownSubjectError
from verifier.transparency.base64_text import from_base64
from verifier.transparency.canonical_json import JSONValue, canonical_json
from verifier.transparency.checkpoint import Checkpoint, open_checkpoint
from verifier.transparency.leaf import Leaf
from verifier.transparency.merkle import leaf_hash, root_of
from verifier.transparency.note import NoteVerifier
from verifier.transparency.tile_paths import bundles_of, decode_bundle


@dataclass(frozen=True, slots=True, kw_only=True)
class LoggedLeaf:
    """A leaf and its place in the log."""

    index: int
    leaf: Leaf
    entry: bytes  # the leaf as it was logged

    def fact(self, name: str) -> JSONValue:
        """Return one of its public facts; None if it has none of that name."""
        return self.leaf.facts.get(name)

    def whole(self, name: str) -> int:
        """Return a fact that is a whole number; ``InvalidRecordError`` if it is anything else."""
        value = self.fact(name)
        if isinstance(value, bool) or not isinstance(value, int):
            raise InvalidRecordError(f"{name} of entry {self.index} is no whole number")
        return value

    def octets(self, name: str) -> bytes:
        """Return a fact that is bytes in base64; ``InvalidRecordError`` otherwise."""
        value = self.fact(name)
        if not isinstance(value, str):
            raise InvalidRecordError(f"{name} of entry {self.index} is no text")
        return from_base64(value)


@dataclass(frozen=True, slots=True, kw_only=True)
class NumberedSession:
    """One session of a learner in a class, as the log tells it in public.

    ``number`` counts the learner's sessions in the class from 0; ``phase`` is how it ended, None
    while it has not.
    """

    number: int
    session_id: str
    opened_at: datetime
    phase: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionLog:
    """One session's leaves in the order of the log, under a signed checkpoint.

    Attributes
    ----------
    sequence
        Every session that the log knows under the same learner's reference and class.
    hashes
        Of all entries under the checkpoint; 32 bytes each.
    verifier
        Whose signature the checkpoint carries.
    heads
        The checkpoint, and the last one that was cosigned, as they lie there; not checked.
    """

    verifier: NoteVerifier
    checkpoint: Checkpoint
    leaves: tuple[LoggedLeaf, ...]
    sequence: tuple[NumberedSession, ...]
    hashes: Sequence[bytes]
    heads: tuple[bytes, ...] = ()

    @property
    def gaps(self) -> tuple[int, ...]:
        """Numbers of sessions below the highest that no opening leaf has: they were dropped."""
        numbers = {session.number for session in self.sequence}
        return tuple(sorted(set(range(max(numbers, default=-1) + 1)) - numbers))

    def of_kind(self, kind: str) -> tuple[LoggedLeaf, ...]:
        """Return the session's leaves of one kind."""
        return tuple(logged for logged in self.leaves if logged.leaf.kind == kind)

    def root_at(self, size: int) -> bytes:
        """Return the root of the first ``size`` entries; ``LedgerError`` if there are fewer."""
        if not 0 < size <= len(self.hashes):
            raise LedgerError(f"a checkpoint of {size} entries; the log has {len(self.hashes)}")
        return root_of(self.hashes[:size])


def read_session_log(folder: Path, session_id: str, verifier: NoteVerifier | None) -> SessionLog:
    """Read what the log in the archive in ``folder`` holds of one session.

    Parameters
    ----------
    verifier
        Whose log it has to be; None: the key that the archive itself names.

    Raises
    ------
    UnknownSubjectError
        If no entry under the checkpoint is of that session.
    LedgerError
        If the checkpoint's signature is wrong, or the entries do not lead to its root.
    InvalidRecordError
        If checkpoint, key or an entry that concerns the session is malformed.
    """
    reader = LogReader(folder / "log")
    trusted = verifier or NoteVerifier.from_vkey(reader.own_vkey())
    witnessed = reader.witnessed_bytes()  # first: beside a writer it must not be the newer one
    signed = reader.checkpoint_bytes()
    checkpoint = open_checkpoint(signed, trusted)
    leaves, hashes = [], []
    named = b'"session_id":' + canonical_json(session_id)
    for index, entry in _entries(reader, checkpoint.size):
        hashes.append(leaf_hash(entry))
        if named in entry:  # cheap, and what it lets through is read properly
            leaf = Leaf.parse(entry)
            if leaf.session_id == session_id:
                leaves.append(LoggedLeaf(index=index, leaf=leaf, entry=entry))
    if root_of(hashes) != checkpoint.root:
        raise LedgerError("the log's entries do not lead to the root of its checkpoint")
    if not leaves:
        raise UnknownSubjectError(f"no entry under the checkpoint is of session {session_id}")
    return SessionLog(
        verifier=trusted,
        checkpoint=checkpoint,
        leaves=tuple(leaves),
        sequence=_sequence(reader, checkpoint.size, leaves[0].leaf),
        hashes=hashes,
        heads=(signed,) if witnessed is None else (signed, witnessed),
    )


def _entries(reader: LogReader, size: int) -> Iterator[tuple[int, bytes]]:
    index = 0
    for bundle in bundles_of(size):
        for entry in decode_bundle(reader.tile(bundle)):
            yield index, entry
            index += 1


def _sequence(reader: LogReader, size: int, first: Leaf) -> tuple[NumberedSession, ...]:
    """Return all sessions of a session's learner in its class, by the learner's reference."""
    class_id = first.facts.get("class_id")
    if first.kind != SESSION_OPENED or first.learner is None:
        return ()
    named = b'"learner":' + canonical_json(first.learner)
    opened: list[tuple[int, Leaf]] = []
    phases: dict[str | None, str] = {}
    for leaf in (Leaf.parse(entry) for _, entry in _entries(reader, size) if named in entry):
        number = leaf.facts.get("session_number")
        if leaf.kind == SESSION_OPENED and leaf.facts.get("class_id") == class_id:
            opened.append((number if isinstance(number, int) else -1, leaf))
        elif leaf.kind == SESSION_CLOSED:
            phases[leaf.session_id] = str(leaf.facts.get("phase"))
    return tuple(
        NumberedSession(
            number=number,
            session_id=leaf.session_id or "",
            opened_at=leaf.time,
            phase=phases.get(leaf.session_id),
        )
        for number, leaf in sorted(opened, key=lambda found: found[0])
    )
