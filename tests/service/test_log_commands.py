"""``zhenxue log``: other people's vectors, and exit codes a script can rely on."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from service.log_commands import log_app
from verifier.transparency.base64_text import to_base64
from verifier.transparency.merkle import (
    EMPTY_ROOT,
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    nodes_of,
    root_of,
)

LEAVES = [leaf_hash(bytes([i])) for i in range(8)]
NODES = nodes_of(LEAVES)
INCLUSION = {
    "leaf_hash": to_base64(LEAVES[5]),
    "index": 5,
    "size": 8,
    "root": to_base64(root_of(LEAVES)),
    "proof": [to_base64(h) for h in inclusion_proof(NODES, 5, 8)],
}
CONSISTENCY = {
    "size1": 3,
    "size2": 8,
    "root1": to_base64(root_of(LEAVES[:3])),
    "root2": to_base64(root_of(LEAVES)),
    "proof": [to_base64(h) for h in consistency_proof(NODES, 3, 8)],
}


def call(command: str, document: object) -> tuple[int, Any]:
    text = document if isinstance(document, (str, bytes)) else json.dumps(document)
    result = CliRunner().invoke(log_app, [command, "-"], input=text)
    return result.exit_code, json.loads(result.stdout) if result.stdout.strip() else None


def inclusion(**change: object) -> tuple[int, Any]:
    return call("verify-inclusion", {**INCLUSION, **change})


def consistency(**change: object) -> tuple[int, Any]:
    return call("verify-consistency", {**CONSISTENCY, **change})


def test_a_proof_that_holds() -> None:
    assert inclusion() == (0, {"ok": True})
    assert consistency() == (0, {"ok": True})


@pytest.mark.parametrize("arguments", [[], ["--json"], ["-", "--json"]])
def test_standard_input_needs_no_name_and_json_may_be_asked_for(arguments: list[str]) -> None:
    """As everywhere else on the command line, though here the answer is always JSON."""
    for command, document in (("verify-inclusion", INCLUSION), ("verify-consistency", CONSISTENCY)):
        result = CliRunner().invoke(log_app, [command, *arguments], input=json.dumps(document))
        assert (result.exit_code, json.loads(result.stdout)) == (0, {"ok": True})


def test_the_smallest_tree() -> None:
    """The leaf is the root; the example in the design has this shape."""
    one = to_base64(LEAVES[0])
    assert inclusion(leaf_hash=one, index=0, size=1, root=one, proof=[]) == (0, {"ok": True})
    # A list that was never filled is null in Go, and unknown keys are ignored.
    assert inclusion(leaf_hash=one, index=0, size=1, root=one, proof=None, desc="x")[0] == 0


@pytest.mark.parametrize(
    "change",
    [
        {"index": 4},
        {"index": 8},
        {"index": 2**64 - 1},
        {"size": 0},
        {"size": 16},
        {"root": to_base64(EMPTY_ROOT)},
        {"leaf_hash": to_base64(LEAVES[4])},
        {"proof": []},
        {"proof": [*INCLUSION["proof"], INCLUSION["root"]]},  # type: ignore[misc]
    ],
)
def test_an_inclusion_proof_that_does_not_hold(change: dict[str, object]) -> None:
    code, answer = inclusion(**change)
    assert code == 1
    assert answer["ok"] is False
    assert answer["why"]


@pytest.mark.parametrize(
    "change",
    [
        {"size1": 4},
        {"size1": 9},
        {"size1": 0},
        {"size1": 0, "proof": []},
        {"size1": 8, "root1": to_base64(EMPTY_ROOT), "proof": []},
        {"size1": 8, "root1": CONSISTENCY["root2"]},
        {"root1": CONSISTENCY["root2"]},
        {"root2": CONSISTENCY["root1"]},
        {"proof": []},
    ],
)
def test_a_consistency_proof_that_does_not_hold(change: dict[str, object]) -> None:
    code, answer = consistency(**change)
    assert code == 1
    assert answer["ok"] is False


def test_equal_trees_need_no_proof() -> None:
    assert consistency(size1=8, root1=CONSISTENCY["root2"], proof=[]) == (0, {"ok": True})
    empty = to_base64(EMPTY_ROOT)
    assert consistency(size1=0, size2=0, root1=empty, root2=empty, proof=None)[0] == 0


@pytest.mark.parametrize(
    "change",
    [
        {"index": -1},
        {"index": True},
        {"index": 5.0},
        {"index": "5"},
        {"index": 2**64},
        {"size": None},
        {"leaf_hash": "AAAA"},
        {"leaf_hash": "not base64"},
        {"leaf_hash": INCLUSION["leaf_hash"].rstrip("=")},  # type: ignore[attr-defined]
        {"root": 7},
        {"proof": "AAAA"},
        {"proof": [1, 2, 3]},
        {"proof": ["", "", ""]},
    ],
)
def test_malformed_fields(change: dict[str, object]) -> None:
    code, answer = inclusion(**change)
    assert code == 2
    assert answer["ok"] is False
    assert answer["why"].startswith("malformed")


@pytest.mark.parametrize("document", [{}, {"index": 0}, 5, None, "text", [[]]])
def test_what_is_no_proof(document: object) -> None:
    text = json.dumps(document)
    assert call("verify-inclusion", text)[0] == 2


@pytest.mark.parametrize("text", ["", "{", "{'a':1}", b"\xff\xfe", "NaN", "[" * 100_000])
def test_what_is_no_json_gives_one_line_and_exit_code_2(text: str | bytes) -> None:
    assert call("verify-inclusion", text) == (2, None)


def test_a_list_gives_a_list_in_the_same_order() -> None:
    wrong, broken = {**INCLUSION, "index": 1}, {**INCLUSION, "index": -1}
    assert call("verify-inclusion", []) == (0, [])
    assert call("verify-inclusion", [INCLUSION, INCLUSION]) == (0, [{"ok": True}] * 2)
    code, answers = call("verify-inclusion", [INCLUSION, wrong, INCLUSION])
    assert (code, [answer["ok"] for answer in answers]) == (1, [True, False, True])
    code, answers = call("verify-inclusion", [broken, INCLUSION, wrong])
    assert (code, [answer["ok"] for answer in answers]) == (2, [False, True, False])


def test_a_file_argument(tmp_path: Path) -> None:
    path = tmp_path / "proof.json"
    path.write_text(json.dumps(INCLUSION), encoding="utf-8")
    result = CliRunner().invoke(log_app, ["verify-inclusion", str(path)])
    assert (result.exit_code, json.loads(result.stdout)) == (0, {"ok": True})
    assert CliRunner().invoke(log_app, ["verify-inclusion", str(tmp_path / "no")]).exit_code == 2
