"""Arithmetic and text formats of the transparency log; nothing here touches a disk.

Start at ``merkle`` (RFC 6962 trees and proofs), then ``note`` and ``checkpoint`` (what a log
signs), ``receipt`` (what is handed out) and ``commitment`` (what a leaf promises about evidence
that it does not show).
"""

from verifier.transparency.canonical_json import JSONValue, canonical_json, parse_canonical
from verifier.transparency.checkpoint import Checkpoint, open_checkpoint, sign_checkpoint
from verifier.transparency.commitment import Opening, commit, fresh_blinding
from verifier.transparency.leaf import Leaf
from verifier.transparency.merkle import (
    EMPTY_ROOT,
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    nodes_of,
    root_of,
    verify_consistency,
    verify_inclusion,
)
from verifier.transparency.note import NoteSigner, NoteVerifier, SignedNote
from verifier.transparency.receipt import Receipt
from verifier.transparency.tlog_proof import TlogProof

__all__ = [
    "EMPTY_ROOT",
    "Checkpoint",
    "JSONValue",
    "Leaf",
    "NoteSigner",
    "NoteVerifier",
    "Opening",
    "Receipt",
    "SignedNote",
    "TlogProof",
    "canonical_json",
    "commit",
    "consistency_proof",
    "fresh_blinding",
    "inclusion_proof",
    "leaf_hash",
    "nodes_of",
    "open_checkpoint",
    "parse_canonical",
    "root_of",
    "sign_checkpoint",
    "verify_consistency",
    "verify_inclusion",
]
