"""A schedule recomputed from the log: the honest one follows, and what an insider changes shows."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from pipelines.schedule_header import SealedRecords
from pipelines.schedule_leaves import Fate
from pipelines.schedule_proof import prove_schedule
from pipelines.schedule_silences import Why
from pipelines.session_log import read_session_log
from tests.pipelines.lesson_stage import LessonStage
from tests.pipelines.proof_stage import (
    WITNESSES,
    Entries,
    HeldLesson,
    hold_eventful_lesson,
    numbered_anew,
    prepared_anew,
    with_root_made_good,
)
from verifier.errors import InputError, LedgerError, UnknownSubjectError
from verifier.prompt import PromptOrigin, PromptStatus
from verifier.transparency.base64_text import to_base64
from verifier.transparency.checkpoint import Checkpoint


@pytest.fixture(scope="module", name="lesson")
def held_lesson(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HeldLesson]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("os.fsync", lambda _: None)
        lesson = hold_eventful_lesson(tmp_path_factory.mktemp("lesson"))
        yield lesson
        lesson.stage.finish()


def test_every_prompt_is_shown_with_what_became_of_it(lesson: HeldLesson) -> None:
    proof = lesson.prove()
    assert proof.problems == ()
    state = lesson.result.state
    fates = {
        PromptStatus.PASSED: Fate.PASSED,
        PromptStatus.MISSED: Fate.MISSED,
        PromptStatus.REFERRED: Fate.REFERRED,
    }
    shown = [(p.origin, p.issued_s, p.fate) for p in proof.prompts if p.issued_s is not None]
    assert shown == [
        (p.origin, round(state.offset_s(p.issued_at), 3), fates[p.status]) for p in state.prompts
    ]
    reasons = {prompt.why for prompt in proof.prompts}
    assert {Why.SUPERVISOR, Why.POSTERIOR, Why.ENGINE_AWAY} <= reasons
    assert proof.counts["missed"] == state.counts.missed
    assert proof.counts["scheduled"] == proof.counts["asked"] + proof.counts["excused"]


def test_an_added_prompt_was_due_when_the_seed_says(lesson: HeldLesson) -> None:
    added = next(p for p in lesson.prove().prompts if p.why is Why.POSTERIOR)
    assert added.delay_s is not None
    assert added.delay_s >= -0.001
    before = next(p for p in lesson.prove().prompts if p.index == added.index and p.is_planned)
    assert before.issued_s is not None
    assert added.due_s is not None
    assert added.due_s >= before.issued_s + lesson.policy.added.min_gap_s


def test_an_auditor_without_keys_needs_a_receipt_of_the_opening_entry(lesson: HeldLesson) -> None:
    receipt = lesson.stage.archive.receipt(lesson.result.opened_index)
    proof = lesson.prove(receipt=receipt)
    assert proof.ok
    with_keys = lesson.prove()
    assert proof.header == with_keys.header
    assert [p.due_s for p in proof.prompts] == [p.due_s for p in with_keys.prompts]
    # What an answer was found to be stays sealed.
    assert {p.fate for p in proof.prompts} == {Fate.ANSWERED, Fate.MISSED, None}


@pytest.mark.parametrize("known", [0, 1, 2])
def test_it_names_the_witnesses_whose_keys_are_given(lesson: HeldLesson, known: int) -> None:
    proof = lesson.prove(witnesses=WITNESSES[:known])
    assert proof.witnesses == tuple(sorted(w.verifier.name for w in WITNESSES[:known]))
    assert proof.fixed is not None
    assert proof.fixed.unknown_cosignatures == 2 - known
    # Who names a witness wants all that shaped the seed to be known; who names none is told.
    assert proof.ok is (known != 1)


def closing_of(lesson: HeldLesson, entries: Entries) -> dict[str, Any]:
    return lesson.of_kind(entries, "session_closed")[0]


def issued_of(lesson: HeldLesson, entries: Entries, origin: str) -> dict[str, Any]:
    issued = lesson.of_kind(entries, "prompt_issued")
    return next(entry for entry in issued if entry["facts"]["origin"] == origin)


def posterior_of(lesson: HeldLesson, entries: Entries) -> dict[str, Any]:
    issued = lesson.of_kind(entries, "prompt_issued")
    return next(e for e in issued if e["facts"].get("added_because") == "posterior")


def swap_secret(lesson: HeldLesson, entries: Entries) -> None:
    closing_of(lesson, entries)["facts"]["schedule_secret"] = to_base64(bytes(32))


def swap_root(lesson: HeldLesson, entries: Entries) -> None:
    closing_of(lesson, entries)["facts"]["schedule_checkpoint_root"] = to_base64(bytes(32))


def move_checkpoint(lesson: HeldLesson, entries: Entries) -> None:
    closing = closing_of(lesson, entries)
    closing["facts"]["schedule_checkpoint_size"] += 5
    with_root_made_good(entries, closing)


def leave_out_a_leaf(lesson: HeldLesson, entries: Entries) -> None:
    entries.remove(issued_of(lesson, entries, "scheduled"))


def hide_a_prompt(lesson: HeldLesson, entries: Entries) -> None:
    """Remove a prompt with its answer, and make numbers and counts good again."""
    issued = issued_of(lesson, entries, "scheduled")
    place = entries.index(issued)
    del entries[place : place + 2]
    facts = closing_of(lesson, entries)["facts"]
    facts["prompts_issued"] -= 1
    facts["prompts_answered"] -= 1
    numbered_anew(entries, lesson.session_id)


def deny_the_silences(lesson: HeldLesson, entries: Entries) -> None:
    closing_of(lesson, entries)["facts"]["silences_ms"] = []


def ask_too_early(lesson: HeldLesson, entries: Entries) -> None:
    issued_of(lesson, entries, "scheduled")["facts"]["issued_ms"] -= 5


def ask_another_kind(lesson: HeldLesson, entries: Entries) -> None:
    issued_of(lesson, entries, "scheduled")["facts"]["kind"] = "typed_code"


def call_it_scheduled(lesson: HeldLesson, entries: Entries) -> None:
    facts = issued_of(lesson, entries, "added")["facts"]
    facts["origin"], facts["planned_index"] = "scheduled", 99_999


def add_without_a_reason(lesson: HeldLesson, entries: Entries) -> None:
    del posterior_of(lesson, entries)["facts"]["added_because"]


def add_too_early(lesson: HeldLesson, entries: Entries) -> None:
    facts = posterior_of(lesson, entries)["facts"]
    facts["issued_ms"] = facts["after_ms"]


def add_after_another_moment(lesson: HeldLesson, entries: Entries) -> None:
    posterior_of(lesson, entries)["facts"]["after_ms"] -= 2000


def swap_a_cosignature(lesson: HeldLesson, entries: Entries) -> None:
    facts = closing_of(lesson, entries)["facts"]
    facts["schedule_cosignatures"][0] = to_base64(bytes(72))


def leave_out_a_cosignature(lesson: HeldLesson, entries: Entries) -> None:
    del closing_of(lesson, entries)["facts"]["schedule_cosignatures"][0]


def cosign_later(lesson: HeldLesson, entries: Entries) -> None:
    """Put a cosignature in that a witness really made, two minutes after the opening."""
    proof, facts = lesson.prove(), closing_of(lesson, entries)["facts"]
    assert proof.fixed is not None
    head = Checkpoint(
        origin=proof.checkpoint.origin,
        size=proof.fixed.checkpoint_size,
        root=proof.fixed.promise.checkpoint_root,
    )
    late = int(proof.header.opened_at.timestamp()) + 120
    facts["schedule_cosignatures"] = [to_base64(WITNESSES[0].cosign(head.text(), late).signature)]


def count_one_more(lesson: HeldLesson, entries: Entries) -> None:
    closing_of(lesson, entries)["facts"]["prompts_missed"] += 1


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (swap_secret, "commitment does not follow"),
        (swap_root, "root of the first"),
        (move_checkpoint, "not one between opening and prompts"),
        (leave_out_a_leaf, "missing [3]"),
        (hide_a_prompt, "it was due and never went out"),
        (deny_the_silences, "it was due and never went out"),
        (ask_too_early, "does not follow from the seed"),
        (ask_another_kind, "does not follow from the seed"),
        (call_it_scheduled, "prompt 99999: it does not follow from the seed"),
        (add_without_a_reason, "no reason is given"),
        (add_too_early, "went out before it was due"),
        (add_after_another_moment, "another moment"),
        (swap_a_cosignature, "by none of the witnesses given"),
        (leave_out_a_cosignature, "prompt "),
        (cosign_later, "not dated within 60 s"),
        (count_one_more, "prompts missed"),
    ],
)
def test_whatever_an_insider_changes_shows(
    lesson: HeldLesson,
    tmp_path: Path,
    change: Callable[[HeldLesson, Entries], None],
    told: str,
) -> None:
    """The log's own key signed the changed history, so only what follows from chance is left."""
    archive = lesson.relogged(tmp_path / "other", lambda entries: change(lesson, entries))
    problems = lesson.prove(archive).problems
    assert any(told in problem for problem in problems), problems


@pytest.mark.parametrize(
    "swapped",
    [
        {"policy": "ab" * 32},
        {"platform": "platform-2"},
        {"schedule": {"kinds": ["silent_capture"], "mean_gap_s": 3600, "min_gap_s": 30}},
        {"session": "00" * 16},
        {"class": "class-2"},
        {"learner": "learner-2"},
    ],
)
def test_a_swapped_header_is_not_what_was_committed_to(
    lesson: HeldLesson, tmp_path: Path, swapped: dict[str, Any]
) -> None:
    """The insider seals another header, and makes the root good again."""
    sealed = []

    def change(entries: Entries) -> None:
        header = {**lesson.prove().header.to_record(), **swapped}
        opening = lesson.of_kind(entries, "session_opened")[0]
        sealed.append(prepared_anew(lesson, opening, header))
        with_root_made_good(entries, closing_of(lesson, entries))

    problems = lesson.prove(lesson.relogged(tmp_path / "other", change)).problems
    lesson.stage.archive.evidence.discard(sealed[0])
    assert "the commitment does not follow from secret and header" in problems
    if swapped.keys() & {"session", "class", "learner"}:
        assert any("is not the opening leaf's" in problem for problem in problems)


def test_entries_that_were_never_signed_are_refused(lesson: HeldLesson, tmp_path: Path) -> None:
    archive = lesson.relogged(tmp_path / "other", lambda _: None)
    (bundle,) = (archive / "log" / "tile" / "entries").rglob("*.p/*")
    bundle.write_bytes(bundle.read_bytes().replace(b'"origin":"added"', b'"origin":"addeb"'))
    with pytest.raises(LedgerError, match="do not lead to the root"):
        lesson.prove(archive)


def test_a_receipt_of_another_entry_is_refused(lesson: HeldLesson) -> None:
    archive = lesson.stage.archive
    with pytest.raises(LedgerError, match="entry 0 was wanted"):
        lesson.prove(receipt=archive.receipt(lesson.result.closed_index))


@pytest.fixture(name="stage")
def make_stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LessonStage]:
    monkeypatch.setattr("os.fsync", lambda _: None)
    stage = LessonStage.build(tmp_path)
    yield stage
    stage.finish()


def short_session(stage: LessonStage) -> HeldLesson:
    session_id = stage.open()
    stage.attend(session_id, minutes=3)
    result = stage.end(session_id)
    stage.archive.publish()
    return HeldLesson(folder=stage.folder, stage=stage, session_id=session_id, result=result)


def test_a_session_that_was_dropped_leaves_a_gap(stage: LessonStage, tmp_path: Path) -> None:
    dropped, kept = short_session(stage), short_session(stage)
    sequence = kept.prove(witnesses=()).sequence
    assert [session.number for session in sequence] == [0, 1]
    assert [session.phase for session in sequence] == ["closed", "closed"]

    def drop(entries: Entries) -> None:
        entries[:] = [entry for entry in entries if entry["session_id"] != dropped.session_id]
        closing = closing_of(kept, entries)
        closing["facts"]["schedule_checkpoint_size"] = 1
        with_root_made_good(entries, closing)

    proof = kept.prove(kept.relogged(tmp_path / "other", drop), witnesses=())
    assert proof.gaps == (0,)
    assert "session numbers 0 of this learner and class are not in the log" in proof.problems


def test_a_receipt_of_another_session_is_refused(stage: LessonStage) -> None:
    one, other = short_session(stage), short_session(stage)
    with pytest.raises(LedgerError, match="the receipt is of entry"):
        one.prove(receipt=stage.archive.receipt(other.result.opened_index))


def test_what_was_due_before_the_opening_passed_is_excused(stage: LessonStage) -> None:
    session_id = stage.open(minutes=120)
    stage.clock.advance(timedelta(minutes=30).total_seconds())
    stage.attend(session_id, minutes=1)
    result = stage.end(session_id)
    stage.archive.publish()
    held = HeldLesson(folder=stage.folder, stage=stage, session_id=session_id, result=result)
    proof = held.prove(witnesses=())
    assert proof.ok
    early = [p for p in proof.prompts if p.due_s is not None and p.due_s < 1800]
    assert early
    assert {p.why for p in early} == {Why.BEFORE_OPENING}


def test_an_unfinished_session_keeps_its_secret(stage: LessonStage) -> None:
    session_id = stage.open()
    stage.answer(session_id, stage.prompt(session_id))
    stage.archive.publish()
    log = read_session_log(stage.folder / "archive", session_id, stage.archive.verifier)
    records = SealedRecords(folder=stage.folder / "archive", keystore=stage.keystore)
    with pytest.raises(InputError, match="has not ended"):
        prove_schedule(log, records)


def test_an_abandoned_session_is_proved_too(stage: LessonStage) -> None:
    session_id = stage.open(minutes=5)
    stage.attend(session_id, minutes=2)
    stage.clock.advance(3 * 3600)
    stage.engine.abandon_expired()
    result = stage.engine.result(session_id)
    stage.archive.publish()
    held = HeldLesson(folder=stage.folder, stage=stage, session_id=session_id, result=result)
    proof = held.prove(witnesses=())
    assert (proof.problems, proof.phase) == ((), "abandoned")
    assert proof.prompts[0].origin is PromptOrigin.OPENING


def test_a_session_nobody_opened_is_unknown(lesson: HeldLesson) -> None:
    nobody = HeldLesson(
        folder=lesson.folder, stage=lesson.stage, session_id="00" * 16, result=lesson.result
    )
    with pytest.raises(UnknownSubjectError):
        nobody.prove()
