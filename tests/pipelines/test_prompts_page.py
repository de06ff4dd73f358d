"""The page for auditors, docs/prompts.md: its shell and its Python, run as they stand."""

import contextlib
import io
import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipelines.schedule_proof import ScheduleProof
from pipelines.schedule_silences import Why
from tests.pipelines.proof_stage import WITNESSES, HeldLesson, hold_eventful_lesson
from verifier.transparency.checkpoint import Checkpoint

PAGE = (Path(__file__).parents[2] / "docs" / "prompts.md").read_text(encoding="utf-8")
SHELL = re.findall(r"```bash\n(.*?)```", PAGE, flags=re.DOTALL)
PYTHON = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)


@pytest.fixture(scope="module", name="lesson")
def held_lesson(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HeldLesson]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("os.fsync", lambda _: None)
        lesson = hold_eventful_lesson(tmp_path_factory.mktemp("lesson"))
        yield lesson
        lesson.stage.finish()


@pytest.fixture(scope="module", name="proof")
def proof_of_it(lesson: HeldLesson) -> ScheduleProof:
    return lesson.prove()


@pytest.fixture(scope="module", name="page")
def functions_of_the_page() -> dict[str, Any]:
    names: dict[str, Any] = {}
    for block in PYTHON:
        exec(block, names)  # noqa: S102 - the documented code is what is tested
    return names


@pytest.fixture(scope="module", name="folder")
def folder_of_the_auditor(lesson: HeldLesson, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two receipts and nothing else; then what the first block of shell makes of them."""
    folder = tmp_path_factory.mktemp("auditor")
    archive = lesson.stage.archive
    (folder / "opening.tlog-proof").write_bytes(archive.receipt(lesson.result.opened_index))
    (folder / "closing.tlog-proof").write_bytes(archive.receipt(lesson.result.closed_index))
    printed = shell(SHELL[0], folder).splitlines()
    assert printed[0] == "commitment agrees"
    return folder


def shell(script: str, folder: Path) -> str:
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],  # noqa: S607 - whichever bash the reader has
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_the_shell_finds_header_and_seed(folder: Path, proof: ScheduleProof) -> None:
    assert proof.fixed is not None
    assert len(proof.fixed.promise.cosignatures) == 2
    assert (folder / "header.json").read_bytes() == proof.header.canonical()
    assert (folder / "seed.hex").read_text() == proof.fixed.promise.seed.hex() + "\n"


def test_the_python_computes_every_prompt(
    folder: Path, page: dict[str, Any], proof: ScheduleProof
) -> None:
    schedule = json.loads((folder / "header.json").read_text())["schedule"]
    seed = bytes.fromhex((folder / "seed.hex").read_text())
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        page["prompts"](
            seed, schedule["min_gap_s"], schedule["mean_gap_s"], schedule["kinds"], proof.ended_s
        )
    due = sorted((p for p in proof.prompts if p.is_planned), key=lambda p: p.due_s or 0)
    assert printed.getvalue().splitlines() == [f"{p.index} {p.due_s} {p.kind}" for p in due]


def test_the_python_computes_an_added_prompt(
    folder: Path, page: dict[str, Any], lesson: HeldLesson, proof: ScheduleProof
) -> None:
    rules, log = lesson.policy.added, lesson.folder / "archive" / "log"
    leaves = page["session"](log, proof.checkpoint.size, lesson.session_id)
    facts = next(
        leaf["facts"] for leaf in leaves if leaf["facts"].get("added_because") == "posterior"
    )
    seed = bytes.fromhex((folder / "seed.hex").read_text())
    due_s = page["added"](
        seed, facts["after_index"], facts["after_ms"], rules.min_gap_s, rules.mean_gap_s
    )
    assert due_s == next(p.due_s for p in proof.prompts if p.why is Why.POSTERIOR)


def test_the_python_computes_roots(
    page: dict[str, Any], lesson: HeldLesson, proof: ScheduleProof
) -> None:
    log = lesson.folder / "archive" / "log"
    assert proof.fixed is not None
    size = proof.fixed.checkpoint_size
    assert page["root_of"](log, size) == proof.fixed.promise.checkpoint_root
    assert page["root_of"](log, proof.checkpoint.size) == proof.checkpoint.root


@pytest.mark.parametrize("count", [255, 256, 257, 300])
def test_the_python_reads_full_and_partial_bundles(
    page: dict[str, Any], lesson: HeldLesson, tmp_path: Path, count: int
) -> None:
    def longer(entries: list[dict[str, Any]]) -> None:
        entries.extend(entries[-1:] * (count - len(entries)))

    archive = lesson.relogged(tmp_path / "other", longer)
    log = archive / "log"
    lines = (log / "checkpoint").read_text().splitlines()
    head = Checkpoint.from_text("\n".join(lines[:3]) + "\n")
    assert (head.size, page["root_of"](log, count)) == (count, head.root)
    assert len(list(page["entries"](log, 200))) == 200


def test_the_shell_checks_a_cosignature(tmp_path: Path, proof: ScheduleProof) -> None:
    assert proof.fixed is not None
    head = Checkpoint(
        origin=proof.checkpoint.origin,
        size=proof.fixed.checkpoint_size,
        root=proof.fixed.promise.checkpoint_root,
    )
    line = WITNESSES[0].cosign(head.text(), 1_772_000_000)
    (tmp_path / "key").write_bytes(WITNESSES[0].verifier.public_key)
    (tmp_path / "text").write_text(head.text(), encoding="utf-8")
    (tmp_path / "cosignature").write_bytes(line.signature)
    assert shell(SHELL[1], tmp_path) == "Signature Verified Successfully\n"
