"""A log in memory that can be honest, fork and roll back; and a witness that watches it."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeAlias

from pipelines.witness import Witness, add_log, create_witness
from pipelines.witness_client import WitnessAddress, WitnessAnswer, WitnessClient
from verifier.transparency.checkpoint import Checkpoint, sign_checkpoint
from verifier.transparency.cosignature import CosignatureVerifier
from verifier.transparency.merkle import consistency_proof, leaf_hash, nodes_of, root_of
from verifier.transparency.note import NoteSigner, SignedNote
from verifier.transparency.witness_request import AddCheckpoint, Refusal

ORIGIN = "log.example/chongqing"
SIGNER = NoteSigner(ORIGIN, bytes(range(32)))
STATUS = {Refusal.STALE: 409, Refusal.INCONSISTENT: 422, Refusal.MALFORMED: 400}
NOW = datetime(2026, 5, 1, 9, tzinfo=UTC)
WITNESS = "witness.finance.example"


Hook: TypeAlias = Callable[[], object]


@dataclass(frozen=True, slots=True, kw_only=True)
class MadeUpLog:
    """A history of leaves; another history with the same key is a fork."""

    leaves: tuple[bytes, ...]
    signer: NoteSigner = SIGNER

    @classmethod
    def of(cls, size: int, salt: int = 0) -> "MadeUpLog":
        """Return a history of ``size`` leaves; each salt gives another."""
        return cls(leaves=tuple(leaf_hash(b"%d %d" % (salt, i)) for i in range(size)))

    def forked(self, at: int, size: int, rng: random.Random) -> "MadeUpLog":
        """Return a history that shares the first ``at`` leaves only, of ``size`` leaves."""
        other = tuple(rng.randbytes(32) for _ in range(size - at))
        return MadeUpLog(leaves=self.leaves[:at] + other, signer=self.signer)

    def checkpoint(self, size: int, *extensions: str) -> Checkpoint:
        """Return the head of its first ``size`` leaves."""
        root = root_of(self.leaves[:size])
        origin = self.signer.verifier.name
        return Checkpoint(origin=origin, size=size, root=root, extensions=extensions)

    def note(self, size: int, *extensions: str) -> SignedNote:
        """Return that head signed."""
        return sign_checkpoint(self.checkpoint(size, *extensions), self.signer)

    def proof(self, old: int, size: int) -> tuple[bytes, ...]:
        """Return the proof that ``size`` leaves extend ``old``."""
        return consistency_proof(nodes_of(self.leaves[:size]), old, size)

    def request(
        self, old: int, size: int, *extensions: str, proof: tuple[bytes, ...] | None = None
    ) -> bytes:
        """Return the body that asks to cosign ``size`` leaves; by default with a right proof."""
        if proof is None:
            proof = self.proof(old, size) if old <= size else ()
        return AddCheckpoint(
            old_size=old,
            proof=proof,
            note=self.note(size, *extensions),
            checkpoint=self.checkpoint(size, *extensions),
        ).serialize()


def make_witness(folder: Path, name: str = WITNESS, *, logs: bool = True) -> CosignatureVerifier:
    """Make a witness that watches the made-up log."""
    verifier = create_witness(folder, name)
    if logs:
        add_log(folder, SIGNER.verifier)
    return verifier


class LocalClient(WitnessClient):
    """Asks a witness in this process; the reply goes through the same reading."""

    def __init__(self, witness: Witness) -> None:
        super().__init__(WitnessAddress(verifier=witness.verifier, url="http://localhost"))
        self.witness, self.asked = witness, list[tuple[int, int]]()
        self.before: Hook = lambda: None

    def submit(self, request: AddCheckpoint) -> WitnessAnswer:
        """Return the witness's answer, with what HTTP would make of it."""
        self.asked.append((request.old_size, request.checkpoint.size))
        self.before()
        reply = self.witness.add_checkpoint(request.serialize())
        if reply.refused is None:
            return self._understood(request, 200, "text/plain", reply.line.encode())
        status = STATUS[reply.refused.refusal]
        kind = "text/x.tlog.size" if status == 409 else "text/plain"
        return self._understood(request, status, kind, f"{reply.size}\n".encode())
