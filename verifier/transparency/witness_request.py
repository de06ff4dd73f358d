"""What a witness is asked, and what it decides (c2sp.org/tlog-witness).

A request is text: the size the witness cosigned last, hashes that prove growth since, an empty
line, the log's new checkpoint::

    old 20852014
    PlRNCrwHpqhGrupue0L7gxbjbMiKA9temvuZZDDpkaw=

    log.example
    20852163
    CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=

    — log.example Az3grlgtzPICa5OS8npVmf1Myq…

Nothing here remembers anything: whoever decides by it must hold ``latest`` still until the new
checkpoint is on the disk.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

from verifier.errors import InputError, InvalidRecordError, LedgerError
from verifier.transparency.base64_text import from_base64, to_base64
from verifier.transparency.checkpoint import Checkpoint, parse_decimal
from verifier.transparency.merkle import DIGEST_BYTES, EMPTY_ROOT, verify_consistency
from verifier.transparency.note import NoteVerifier, SignedNote

SIZE_TYPE = "text/x.tlog.size"  # of the answer that says which size the witness is at
LONGEST_PROOF = 63  # hashes, as the specification bounds it

TrustedLogs: TypeAlias = Mapping[str, Sequence[NoteVerifier]]
"""By origin, the keys any of which may sign for it."""


class Refusal(StrEnum):
    """Why a checkpoint was not cosigned."""

    MALFORMED = "malformed"
    UNKNOWN_LOG = "unknown_log"
    UNTRUSTED = "untrusted"
    STALE = "stale"  # the caller is wrong about what was cosigned last
    INCONSISTENT = "inconsistent"


class Suspicion(StrEnum):
    """What a refused checkpoint, signed by the log, may be the trace of."""

    FORK = "fork"  # two trees of one size: a proof against whoever holds the log's key
    ROLLBACK = "rollback"  # a smaller tree than was cosigned; or somebody hands an old one in
    UNPROVEN = "unproven"  # a larger tree and no proof; or somebody hands it in without one


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """A refusal, in words for whoever runs the log."""

    refusal: Refusal
    why: str
    suspicion: Suspicion | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AddCheckpoint:
    """A request as read; nothing has been verified yet."""

    old_size: int
    proof: tuple[bytes, ...]  # at most 63 of 32 bytes
    note: SignedNote
    checkpoint: Checkpoint  # what the note's text says

    @classmethod
    def parse(cls, data: bytes) -> "AddCheckpoint":
        """Read a request; ``InvalidRecordError`` if the format is broken anywhere."""
        head, blank, note = data.partition(b"\n\n")
        if not blank or not head.isascii():
            raise InvalidRecordError("a request has no empty line before its checkpoint")
        old, *lines = head.decode("ascii").split("\n")
        if not old.startswith("old ") or len(lines) > LONGEST_PROOF:
            raise InvalidRecordError("a request has no old size, or too long a proof")
        signed = SignedNote.parse(note)
        return cls(
            old_size=parse_decimal(old.removeprefix("old ")),
            proof=tuple(map(_parse_hash, lines)),
            note=signed,
            checkpoint=Checkpoint.from_text(signed.text),
        )

    def serialize(self) -> bytes:
        """Return the body of the request."""
        lines = (f"old {self.old_size}", *map(to_base64, self.proof), "", "")
        return "\n".join(lines).encode("ascii") + self.note.serialize()


def judge_signature(request: AddCheckpoint, logs: TrustedLogs) -> Refused | None:
    """Return why the checkpoint is not to be believed to be the log's, or None.

    Signatures by keys that are not trusted are ignored; one that names a trusted key and is
    wrong spoils the note.
    """
    keys = logs.get(request.checkpoint.origin)
    if keys is None:
        return Refused(refusal=Refusal.UNKNOWN_LOG, why="this witness does not know that log")
    named = {(signature.name, signature.key_id) for signature in request.note.signatures}
    signers = [key for key in keys if (key.name, key.key_id) in named]
    try:
        for key in signers:
            key.verify(request.note)
    except LedgerError as error:
        return Refused(refusal=Refusal.UNTRUSTED, why=str(error))
    if not signers:
        return Refused(refusal=Refusal.UNTRUSTED, why="no signature by a key of this log")
    return None


def judge_growth(request: AddCheckpoint, latest: Checkpoint | None) -> Refused | None:
    """Return why the checkpoint does not go on from ``latest``, or None if it may be cosigned.

    ``latest`` is what the witness cosigned last of this log; None: nothing yet. The checkpoint's
    signature has been verified before.
    """
    # 1. the sizes make sense; 2. both sides speak of the same last checkpoint; 3. a tree without
    # leaves is the empty one; 4. of one size there is one tree; 5. the tree only grew.
    submitted, old_size = request.checkpoint, request.old_size
    doubt = _doubt(submitted, latest)
    if old_size > submitted.size:
        why = f"old size {old_size} is larger than the checkpoint's {submitted.size}"
        return Refused(refusal=Refusal.MALFORMED, why=why, suspicion=doubt)
    if old_size != _size(latest):
        why = f"old size {old_size} is not the size cosigned last"
        return Refused(refusal=Refusal.STALE, why=why, suspicion=doubt)
    return _judge_proof(request, latest, doubt)


def _judge_proof(
    request: AddCheckpoint, latest: Checkpoint | None, doubt: Suspicion | None
) -> Refused | None:
    submitted = request.checkpoint
    if submitted.size == 0 and submitted.root != EMPTY_ROOT:
        return _inconsistent("a tree without leaves has another root", Suspicion.FORK)
    if doubt is not None:
        return _inconsistent("another tree of this size was cosigned", doubt)
    if latest is None or latest.size in (0, submitted.size):
        return _inconsistent("a proof where none is needed", None) if request.proof else None
    try:
        verify_consistency(
            size1=latest.size,
            size2=submitted.size,
            root1=latest.root,
            root2=submitted.root,
            proof=request.proof,
        )
    except (LedgerError, InputError) as error:
        return _inconsistent(str(error), Suspicion.UNPROVEN)
    return None


def _doubt(submitted: Checkpoint, latest: Checkpoint | None) -> Suspicion | None:
    if latest is None or submitted.size > latest.size:
        return None
    if submitted.size < latest.size:
        return Suspicion.ROLLBACK
    return Suspicion.FORK if submitted.root != latest.root else None


def _inconsistent(why: str, suspicion: Suspicion | None) -> Refused:
    return Refused(refusal=Refusal.INCONSISTENT, why=why, suspicion=suspicion)


def _size(latest: Checkpoint | None) -> int:
    return 0 if latest is None else latest.size


def _parse_hash(line: str) -> bytes:
    digest = from_base64(line)
    if len(digest) != DIGEST_BYTES:
        raise InvalidRecordError(f"a hash has {len(digest)} bytes, wanted {DIGEST_BYTES}")
    return digest
