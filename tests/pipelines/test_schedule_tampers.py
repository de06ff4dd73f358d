"""What an insider writes who holds the log's key and every secret: each piece of it shows.

The history before the session's first prompt is left as the witnesses cosigned it, and the one
that is told after it has a cosigned checkpoint of its own: as if they had seen no other.
"""

import copy
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pipelines.schedule_proof import ScheduleProof
from tests.pipelines.proof_stage import (
    WITNESSES,
    Entries,
    HeldLesson,
    asked_as,
    hold_eventful_lesson,
    numbered_anew,
    prepared_anew,
    with_root_made_good,
)
from verifier.errors import InvalidRecordError
from verifier.schedule import PlannedPrompts, ScheduleHeader, commitment, seed
from verifier.transparency.base64_text import from_base64, to_base64
from verifier.transparency.checkpoint import Checkpoint
from verifier.transparency.cosignature import CosignatureSigner

if TYPE_CHECKING:
    from pipelines.evidence_store import PreparedEntry

FINANCE, HR = WITNESSES
THIRD = CosignatureSigner("witness.third.example", bytes([9]) * 32)


@pytest.fixture(scope="module", name="lesson")
def held_lesson(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HeldLesson]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("os.fsync", lambda _: None)
        lesson = hold_eventful_lesson(tmp_path_factory.mktemp("lesson"))
        yield lesson
        lesson.stage.finish()


@pytest.fixture(scope="module", name="honest")
def proof_of_it(lesson: HeldLesson) -> ScheduleProof:
    return lesson.prove()


class Insider:
    """Changes the entries of one session, and makes numbers and counts good again."""

    def __init__(self, lesson: HeldLesson, honest: ScheduleProof, entries: Entries) -> None:
        self.lesson, self.honest, self.entries = lesson, honest, entries
        self.sealed: list[PreparedEntry] = []  # objects to be discarded

    @property
    def closing(self) -> dict[str, Any]:
        return self.lesson.of_kind(self.entries, "session_closed")[0]

    @property
    def facts(self) -> dict[str, Any]:
        facts: dict[str, Any] = self.closing["facts"]
        return facts

    def issued(self, origin: str) -> Entries:
        issued = self.lesson.of_kind(self.entries, "prompt_issued")
        return [entry for entry in issued if entry["facts"]["origin"] == origin]

    @property
    def posterior(self) -> dict[str, Any]:
        added = self.issued("added")
        return next(e for e in added if e["facts"]["added_because"] == "posterior")

    def own(self) -> Entries:
        return [e for e in self.entries if e["session_id"] == self.lesson.session_id]

    def drop_prompts(self, *, keep: int = 0) -> None:
        """Remove scheduled and added prompts from the ``keep``-th scheduled one on."""
        kept, dropping = [], False
        for entry in self.entries:
            if entry["session_id"] == self.lesson.session_id:
                if entry["kind"] == "prompt_issued":
                    facts = entry["facts"]
                    scheduled = facts["origin"] == "scheduled"
                    dropping = facts["origin"] == "added" or (
                        scheduled and facts["planned_index"] >= keep
                    )
                elif entry["kind"] in {"session_opened", "session_closed"}:
                    dropping = False
            if not dropping:
                kept.append(entry)
        self.entries[:] = kept

    def made_good(self) -> None:
        issued = self.lesson.of_kind(self.entries, "prompt_issued")
        missed = self.lesson.of_kind(self.entries, "prompt_missed")
        self.facts["prompts_issued"] = len(issued)
        self.facts["prompts_missed"] = len(missed)
        self.facts["prompts_answered"] = len(issued) - len(missed)
        self.facts["prompts_added"] = len(self.issued("added"))
        numbered_anew(self.entries, self.lesson.session_id)

    def pause(self, because: str, from_ms: int, until_ms: int) -> None:
        """Log a pause just before the end."""
        entry = copy.deepcopy(self.issued("opening")[0])
        entry["kind"] = "session_paused"
        entry["facts"] = {
            "because": because,
            "from_ms": from_ms,
            "until_ms": until_ms,
            "path": "face",
        }
        entry["time"] = self.closing["time"]
        self.entries.insert(self.entries.index(self.closing), entry)

    def held_anew(
        self, asked: list[str], by: list[CosignatureSigner], header: dict[str, Any] | None = None
    ) -> None:
        """Ask exactly what another seed says, in a lesson of 100 s."""
        opening = self.lesson.of_kind(self.entries, "session_opened")[0]
        opening["facts"]["witnesses"] = asked
        with_root_made_good(self.entries, self.closing)
        head = Checkpoint(
            origin=self.honest.checkpoint.origin,
            size=self.facts["schedule_checkpoint_size"],
            root=from_base64(self.facts["schedule_checkpoint_root"]),
        )
        at = int(self.honest.header.opened_at.timestamp())
        lines = sorted(witness.cosign(head.text(), at).signature for witness in by)
        self.facts["schedule_cosignatures"] = list(map(to_base64, lines))
        self.drop_prompts()
        self.entries[:] = [
            e for e in self.entries if e not in self.lesson.of_kind(self.entries, "session_paused")
        ]
        drawn = PlannedPrompts(
            seed=seed(
                from_base64(self.facts["schedule_secret"]),
                from_base64(opening["facts"]["schedule_commitment"]),
                head.root,
                lines,
            ),
            parameters=self.honest.header.parameters
            if header is None
            else ScheduleHeader.from_record(header).parameters,
        )
        opened_ms = self.issued("opening")[0]["facts"]["issued_ms"]
        end_ms = opened_ms + 1  # over before anything of another schedule is due
        assert not [p for p in drawn.until(end_ms / 1000) if p.offset_s * 1000 > opened_ms]
        self.facts["lesson_end_ms"] = end_ms
        self.facts["silences_ms"] = [[0, end_ms]]
        self.issued("closing")[0]["facts"]["issued_ms"] = end_ms
        self.made_good()


Tamper = Callable[[Insider], None]


def one_long_silence(insider: Insider) -> None:
    insider.drop_prompts()
    insider.facts["silences_ms"] = [[0, insider.facts["lesson_end_ms"]]]
    insider.made_good()


def silences_of(length_ms: int) -> Tamper:
    def tamper(insider: Insider) -> None:
        insider.drop_prompts()
        due = [round(1000 * (p.due_s or 0)) for p in insider.honest.prompts if p.is_planned]
        insider.facts["silences_ms"] = [[at, at + length_ms] for at in due]
        insider.made_good()

    return tamper


def a_pause_of_a_second_for_hours(insider: Insider) -> None:
    insider.drop_prompts()
    insider.pause("failures", 7000, 8000)
    insider.facts["silences_ms"] = [[7000, insider.facts["lesson_end_ms"]]]
    insider.made_good()


def a_pause_without_a_failure(insider: Insider) -> None:
    insider.drop_prompts()
    insider.entries.remove(insider.issued("closing")[0])
    insider.pause("engine_away", 50_000, 60_000)
    insider.pause("failures", 60_000, 61_000)
    insider.made_good()


def an_absence_with_prompts_in_it(insider: Insider) -> None:
    insider.pause("engine_away", 7000, insider.facts["lesson_end_ms"])
    insider.made_good()


def an_end_at_once(insider: Insider) -> None:
    insider.drop_prompts()
    insider.facts.update(lesson_end_ms=1, silences_ms=[])
    insider.made_good()


def an_early_end(insider: Insider) -> None:
    insider.drop_prompts(keep=2)
    last = insider.issued("scheduled")[-1]["facts"]["issued_ms"]
    insider.facts["lesson_end_ms"] = last + 1
    insider.made_good()


def no_closing_prompt(insider: Insider) -> None:
    place = insider.entries.index(insider.issued("closing")[0])
    del insider.entries[place : place + 2]
    insider.made_good()


def no_schedule(insider: Insider) -> None:
    kinds = {"session_opened", "session_closed", "snapshot"}
    own = insider.own()
    insider.entries[:] = [e for e in insider.entries if e not in own or e["kind"] in kinds]
    insider.facts.update(schedule_checkpoint_size=None, schedule_checkpoint_root=None)
    insider.facts["schedule_cosignatures"] = []
    insider.made_good()


def renamed(origin: str) -> Tamper:
    def tamper(insider: Insider) -> None:
        facts = insider.posterior["facts"]
        facts["origin"] = origin
        for name in ("added_because", "after_index", "after_ms"):
            del facts[name]
        insider.made_good()

    return tamper


def a_second_one_after_the_same_miss(insider: Insider) -> None:
    place = insider.entries.index(insider.posterior)
    again = copy.deepcopy(insider.entries[place : place + 2])
    again[0]["facts"].update(prompt_id="f" * 32, issued_ms=insider.facts["lesson_end_ms"] - 5)
    last = insider.entries.index(insider.issued("closing")[0])
    insider.entries[last:last] = again
    insider.made_good()


def held_back(insider: Insider) -> None:
    # The first: the last may happen to be due at the very end.
    insider.issued("scheduled")[0]["facts"]["issued_ms"] = insider.facts["lesson_end_ms"] - 1


def misses_answered_by_a_copy(insider: Insider) -> None:
    snapshot = insider.lesson.of_kind(insider.entries, "snapshot")[0]
    for missed in insider.lesson.of_kind(insider.entries, "prompt_missed"):
        insider.entries[insider.entries.index(missed)] = copy.deepcopy(snapshot)
    insider.made_good()


def dated(time: str, *, since: int) -> Tamper:
    def tamper(insider: Insider) -> None:
        for entry in insider.own()[since:-1]:
            entry["time"] = time

    return tamper


def another_phase(insider: Insider) -> None:
    insider.facts["phase"] = "wonderful"


def cosigned_by_one_nobody_asked(insider: Insider) -> None:
    insider.held_anew([asked_as(FINANCE)], [HR])


def cosigned_by_one_of_ones_own(insider: Insider) -> None:
    insider.held_anew([asked_as(FINANCE), asked_as(HR)], [HR, THIRD])


def other_parameters(insider: Insider) -> None:
    """Keep the policy's digest, and draw prompts a day apart."""
    kinds = ["silent_capture"]
    rare = {"kinds": kinds, "mean_gap_s": 86_400, "min_gap_s": 30}
    header = {**insider.honest.header.to_record(), "schedule": rare}
    opening = insider.lesson.of_kind(insider.entries, "session_opened")[0]
    facts = {**opening["facts"]}
    secret = from_base64(insider.facts["schedule_secret"])
    facts["schedule_commitment"] = to_base64(
        commitment(secret, ScheduleHeader.from_record(json.loads(json.dumps(header))))
    )
    opening["facts"] = facts
    insider.sealed.append(prepared_anew(insider.lesson, opening, header))
    insider.held_anew([asked_as(FINANCE), asked_as(HR)], [FINANCE, HR], header)


def an_earlier_one_never_ended(insider: Insider) -> None:
    opening = insider.lesson.of_kind(insider.entries, "session_opened")[0]
    other = copy.deepcopy(opening)
    other["session_id"] = "ab" * 16
    opening["facts"]["session_number"] = 1
    insider.entries.insert(0, other)
    insider.facts["schedule_checkpoint_size"] += 1
    insider.made_good()


@pytest.mark.parametrize(
    ("tamper", "told"),
    [
        pytest.param(tamper, told, id=told)
        for tamper, told in (
            (one_long_silence, "in a silence that no other entry bears out"),
            (silences_of(1), "a silence that no other entry bears out"),
            (silences_of(0), "silence that no other entry bears out"),
            (a_pause_of_a_second_for_hours, "no other entry bears out"),
            (a_pause_without_a_failure, "it follows no answer"),
            (an_absence_with_prompts_in_it, "a prompt went out in it"),
            (an_end_at_once, "went out more than a minute after the end"),
            (an_early_end, "more than a minute after the end"),
            (no_closing_prompt, "closed without a closing prompt"),
            (no_schedule, "held without a schedule"),
            (renamed("closing"), "it went out before the end"),
            (renamed("opening"), "the lesson had begun before it"),
            (a_second_one_after_the_same_miss, "another one was added after prompt"),
            (held_back, "it was held back"),
            (misses_answered_by_a_copy, "is one to another prompt"),
            (misses_answered_by_a_copy, "was logged twice"),
            (dated("2027-01-01T00:00:00.000000Z", since=3), "is dated after witness"),
            (dated("2020-01-01T00:00:00.000000Z", since=1), "dated before the session's opening"),
            (another_phase, "names no phase"),
            (cosigned_by_one_nobody_asked, "whom the opening leaf does not name"),
            (cosigned_by_one_of_ones_own, "witness.third.example"),
            (other_parameters, "parameters are not those of the policy"),
            (an_earlier_one_never_ended, "session 0 of this learner and class never ended"),
        )
    ],
)
def test_whatever_an_insider_writes_shows(
    lesson: HeldLesson, honest: ScheduleProof, tmp_path: Path, tamper: Tamper, told: str
) -> None:
    assert honest.ok, honest.problems
    sealed: list[PreparedEntry] = []

    def change(entries: Entries) -> None:
        insider = Insider(lesson, honest, entries)
        tamper(insider)
        sealed.extend(insider.sealed)

    archive = lesson.relogged(tmp_path / "other", change)
    problems = lesson.prove(archive, witnesses=(*WITNESSES, THIRD)).problems
    for prepared in sealed:
        lesson.stage.archive.evidence.discard(prepared)
    third = f"no checkpoint cosigned by {THIRD.verifier.name}"
    assert any(told in problem for problem in problems if third not in problem), problems


@pytest.mark.parametrize("end_ms", [-5, 10**15, 2**53 - 1])
def test_an_end_that_no_lesson_has_is_refused_before_anything_is_computed(
    lesson: HeldLesson, honest: ScheduleProof, tmp_path: Path, end_ms: int
) -> None:
    def tamper(entries: Entries) -> None:
        Insider(lesson, honest, entries).facts["lesson_end_ms"] = end_ms

    with pytest.raises(InvalidRecordError, match="says that the lesson took"):
        lesson.prove(lesson.relogged(tmp_path / "other", tamper))


@pytest.mark.parametrize("told", [[[1, 10**400]], {"12": "34"}, [[1]], "ab", [[5, 1]], None])
def test_silences_that_are_none_are_refused(
    lesson: HeldLesson, honest: ScheduleProof, tmp_path: Path, told: Any
) -> None:
    def tamper(entries: Entries) -> None:
        Insider(lesson, honest, entries).facts["silences_ms"] = told

    with pytest.raises(InvalidRecordError):
        lesson.prove(lesson.relogged(tmp_path / "other", tamper))


def test_the_end_has_to_be_cosigned_too(
    lesson: HeldLesson, honest: ScheduleProof, tmp_path: Path
) -> None:
    """Whoever writes the tail anew has no cosigned checkpoint, or an old one beside it."""
    assert honest.ok
    problem = f"the session's end is under no checkpoint cosigned by {FINANCE.verifier.name}"
    archive = lesson.relogged(tmp_path / "none", lambda _: None)
    (archive / "log" / "witnessed").unlink()
    assert problem in lesson.prove(archive).problems
    assert lesson.prove(archive, witnesses=()).ok

    def rewrite(entries: Entries) -> None:
        Insider(lesson, honest, entries).closing["facts"]["prompts_open_ms"] += 1

    archive = lesson.relogged(tmp_path / "old", rewrite)
    witnessed = lesson.folder / "archive" / "log" / "witnessed"
    (archive / "log" / "witnessed").write_bytes(witnessed.read_bytes())
    assert problem in lesson.prove(archive).problems


def test_silences_are_told_with_what_bears_them_out(honest: ScheduleProof) -> None:
    assert honest.silences
    assert all(silence.why is not None for silence in honest.silences)
    assert 900 <= honest.silent_s < honest.ended_s


def test_another_policy_at_the_end_is_told(
    lesson: HeldLesson, honest: ScheduleProof, tmp_path: Path
) -> None:
    def tamper(entries: Entries) -> None:
        Insider(lesson, honest, entries).facts["policy_digest"] = "00" * 32

    proof = lesson.prove(lesson.relogged(tmp_path / "other", tamper))
    assert (proof.problems, honest.notes) == ((), ())
    assert proof.notes == ("scored under another policy than its schedule was drawn under",)
