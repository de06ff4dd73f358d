"""``zhenxue log``: anyone's RFC 6962 proofs, as plain JSON fields.

A file argument, or ``-`` for standard input; a list in gives a list out, in the same order.
Exit code 0: every proof holds; 1: at least one does not; 2: at least one is malformed (then
``why`` starts with ``malformed``) or the input is not JSON.
"""

import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, TypeAlias

import typer

from service.console_output import ExitCode, print_json, reports_errors
from verifier.errors import InputError, InvalidRecordError, LedgerError
from verifier.transparency.base64_text import from_base64
from verifier.transparency.merkle import verify_consistency, verify_inclusion

Fields: TypeAlias = Mapping[str, object]
LARGEST_SIZE = 2**64 - 1  # sizes and indices are uint64 in RFC 9162

log_app = typer.Typer(help="Merkle proofs: verify-inclusion, verify-consistency.")

ProofFile = Annotated[str, typer.Argument(metavar="FILE", help="JSON, or - for standard input.")]
Json = Annotated[bool, typer.Option("--json", help="Accepted for symmetry: it is always JSON.")]


@log_app.command("verify-inclusion")
@reports_errors
def verify_inclusion_command(file: ProofFile = "-", _as_json: Json = False) -> ExitCode:
    """Check proofs {"leaf_hash","index","size","root","proof"} that an entry is in a tree."""
    return _answer(file, _check_inclusion)


@log_app.command("verify-consistency")
@reports_errors
def verify_consistency_command(file: ProofFile = "-", _as_json: Json = False) -> ExitCode:
    """Check proofs {"size1","size2","root1","root2","proof"} that a tree only grew."""
    return _answer(file, _check_consistency)


def _check_inclusion(fields: Fields) -> None:
    verify_inclusion(
        leaf_hash=_bytes(fields, "leaf_hash"),
        index=_natural(fields, "index"),
        size=_natural(fields, "size"),
        root=_bytes(fields, "root"),
        proof=_hashes(fields, "proof"),
    )


def _check_consistency(fields: Fields) -> None:
    verify_consistency(
        size1=_natural(fields, "size1"),
        size2=_natural(fields, "size2"),
        root1=_bytes(fields, "root1"),
        root2=_bytes(fields, "root2"),
        proof=_hashes(fields, "proof"),
    )


def _answer(file: str, check: Callable[[Fields], None]) -> ExitCode:
    document = _read(file)
    proofs = document if isinstance(document, list) else [document]
    answers = [_judge(proof, check) for proof in proofs]
    bodies = [body for body, _ in answers]
    print_json(bodies if isinstance(document, list) else bodies[0])
    return max((code for _, code in answers), default=ExitCode.OK)


def _judge(proof: object, check: Callable[[Fields], None]) -> tuple[dict[str, object], ExitCode]:
    try:
        if not isinstance(proof, dict):
            raise InvalidRecordError("a proof is not a JSON object")
        check(proof)
    except LedgerError as error:
        return {"ok": False, "why": str(error)}, ExitCode.NEGATIVE
    except InputError as error:
        return {"ok": False, "why": f"malformed: {error}"}, ExitCode.BAD_INPUT
    return {"ok": True}, ExitCode.OK


def _read(file: str) -> object:
    data = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
    try:
        document: object = json.loads(data.decode("utf-8-sig"), parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise InputError("the input is not UTF-8 JSON") from error
    return document


def _no_constant(name: str) -> object:
    raise ValueError(f"{name} is not JSON")


def _field(fields: Fields, name: str) -> object:
    if name not in fields:
        raise InvalidRecordError(f"{name} is missing")
    return fields[name]


def _natural(fields: Fields, name: str) -> int:
    value = _field(fields, name)
    if isinstance(value, bool) or not isinstance(value, int):
        raise InvalidRecordError(f"{name} is not a whole number")
    if not 0 <= value <= LARGEST_SIZE:
        raise InvalidRecordError(f"{name} is not between 0 and 2**64 - 1")
    return value


def _bytes(fields: Fields, name: str) -> bytes:
    value = _field(fields, name)
    if not isinstance(value, str):
        raise InvalidRecordError(f"{name} is not text")
    return from_base64(value)


def _hashes(fields: Fields, name: str) -> list[bytes]:
    values = _field(fields, name)
    if values is None:  # how Go writes a list that was never filled
        return []
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise InvalidRecordError(f"{name} is not a list of text")
    return [from_base64(value) for value in values]
