"""The running service, asked over a socket, and what whoever skips a lesson leaves behind."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

import httpx
from sqlalchemy import func, select

from pipelines.schedule_header import SealedRecords
from pipelines.schedule_proof import ScheduleProof, prove_schedule
from pipelines.session_log import LoggedLeaf, SessionLog, read_session_log
from pipelines.stored_evidence import StoredEvidence, read_evidence
from service.http.server import listen, serve_in_thread
from service.sql import tables
from tests.service.http.documented import undocumented
from tests.service.http.frame_client import FrameClient, open_frame_session
from tests.service.http.service_stage import ServiceStage, open_stage, reply

Player = Callable[[float], Mapping[str, Any]]
"""What a player says at a second of the lesson."""
BEAT_EVERY_S: Final = 10.0
_ANSWERS: Final = frozenset({"snapshot", "answer_unreadable", "code_answered"})
"""Kinds of leaf that a judged answer becomes."""


@dataclass(kw_only=True)
class SkippingStage(ServiceStage):
    """A stage whose every request goes over HTTP, and is kept with its answer.

    ``heard`` holds all that came back, headers too, and when.
    """

    client: httpx.Client = field(repr=False)
    heard: list[tuple[datetime, str]] = field(default_factory=list, repr=False)

    def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        by: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> httpx.Response:
        """Send a request, as `ServiceStage.call` does, but over a socket."""
        key = self.platform if by is None else by
        shown = {"Authorization": f"Bearer {key}"} if key else {}
        sent = {} if body is None else {"json": body}
        response = self.client.request(method, path, headers={**shown, **(headers or {})}, **sent)
        self.heard.append((self.clock.now(), f"{_shown(response.headers)}\n{response.text}"))
        if (unsaid := undocumented(method, path, response)) is not None:
            self.undocumented.add(unsaid)
        return response

    def lesson(self, *, minutes: float = 12, prepared: tuple[str, str] | None = None) -> "Lesson":
        """Open a session that a platform's own app captures, its opening prompt not yet passed."""
        learner_id, class_id = prepared or self.prepare()
        opened = self.open_session(learner_id, class_id, minutes=minutes)
        return Lesson(
            stage=self,
            opened=opened,
            learner_id=learner_id,
            class_id=class_id,
            send=self.call,
        )

    def frame_lesson(self) -> tuple["Lesson", FrameClient]:
        """Open a session in the engine's frame, on a device that the learner registered."""
        learner_id, class_id = self.prepare()
        device = FrameClient(stage=self)
        assert device.register(learner_id).status_code == 201
        opened = open_frame_session(self, learner_id, class_id)
        assert device.enter(opened).is_success
        lesson = Lesson(
            stage=self,
            opened=opened,
            learner_id=learner_id,
            class_id=class_id,
            send=device.call,
        )
        return lesson, device

    def log(self, session_id: str) -> SessionLog:
        """Return all that the signed log holds of a session."""
        self.publish()
        archive = self.application.archive
        return read_session_log(archive.folder, session_id, archive.verifier)

    def prove(self, session_id: str) -> ScheduleProof:
        """Prove the schedule of a session that is over, with the keys and no witness."""
        application = self.application
        return prove_schedule(
            self.log(session_id),
            SealedRecords(folder=application.archive.folder, keystore=application.keystore),
            policies=[application.policy],
        )

    def ended_sessions(self) -> list[str]:
        """Return the ids of all sessions that are over."""
        row = tables.session.c
        with self.application.database.reading() as tx:
            return list(
                tx.execute(select(row.session_id).where(row.ended_at.is_not(None))).scalars()
            )

    def row_count(self, table: str) -> int:
        """Return how many rows a table has."""
        counted = select(func.count()).select_from(tables.metadata.tables[table])
        with self.application.database.reading() as tx:
            return int(tx.execute(counted).scalar_one())


@dataclass(kw_only=True)
class Lesson:
    """One session, and whoever follows it: ``send`` is how they ask, with key, token or proof."""

    stage: SkippingStage
    opened: Any = field(repr=False)
    learner_id: str
    class_id: str
    send: Callable[[str, str, Any], httpx.Response] = field(repr=False)

    @property
    def session_id(self) -> str:
        """Its id."""
        return str(self.opened["session_id"])

    @property
    def told(self) -> Any:
        """What the platform is told of it."""
        return self.stage.get(f"/v1/sessions/{self.session_id}")

    def prompt(self) -> Any:
        """Ask what waits for an answer; None: nothing."""
        response = self.send("GET", f"/v1/sessions/{self.session_id}/prompt", None)
        assert response.is_success, response.text
        return response.json()["prompt"]

    def answer(self, prompt: Any, *who: str) -> Any:
        """Send frames of somebody, the learner by default; return what came back."""
        response = self.try_answer(prompt, *who)
        assert response.is_success, response.text
        return response.json()

    def try_answer(self, prompt: Any, *who: str) -> httpx.Response:
        """Send frames, which may be refused."""
        return self.send("POST", f"/v1/prompts/{prompt['prompt_id']}/answer", reply(prompt, *who))

    def begin(self) -> None:
        """Pass the opening prompt."""
        assert self.answer(self.prompt())["answer"] == "pass"

    def beat(self, said: Mapping[str, Any]) -> httpx.Response:
        """Send a heartbeat."""
        return self.send("POST", f"/v1/sessions/{self.session_id}/heartbeats", dict(said))

    def attend(self, minutes: float, *, player: Player | None = None) -> None:
        """Stay there, and answer every prompt in the moment in which it is due."""
        for at_s in self._moments(60 * minutes, player=player):
            if player is not None:
                assert self.beat(player(at_s)).status_code == 204
            while prompt := self.prompt():
                assert self.answer(prompt)["answer"] == "pass"

    def _moments(self, length_s: float, *, player: Player | None) -> Iterator[float]:
        """Move the clock to whatever comes next, in seconds from now; the last is the end."""
        clock, engine = self.stage.clock, self.stage.application.engine
        start, beaten_s = clock.now(), 0.0
        ends = start + timedelta(seconds=length_s)
        yield 0.0
        while clock.now() < ends:
            beaten_s += BEAT_EVERY_S
            upcoming = ends if player is None else start + timedelta(seconds=beaten_s)
            while (due := engine.next_due(self.session_id)) is not None and due < upcoming:
                clock.advance((due - clock.now()).total_seconds())
                while prompt := self.prompt():
                    assert self.answer(prompt)["answer"] == "pass"
            clock.advance((upcoming - clock.now()).total_seconds())
            yield (upcoming - start).total_seconds()

    def until_due(self) -> None:
        """Move the clock to the next prompt, nobody asking meanwhile."""
        due = self.stage.application.engine.next_due(self.session_id)
        assert due is not None
        self.stage.clock.advance((due - self.stage.clock.now()).total_seconds())

    def close(self) -> Any:
        """Announce the end, answer the closing prompt at once, and close."""
        self.stage.post(f"/v1/sessions/{self.session_id}/end")
        assert self.answer(self.prompt())["answer"] == "pass"
        return self.leave()

    def leave(self) -> Any:
        """Close without another answer; return what it came to."""
        return self.stage.post(f"/v1/sessions/{self.session_id}/close")

    @property
    def leaves(self) -> tuple[LoggedLeaf, ...]:
        """Its leaves in the signed log."""
        return self.stage.log(self.session_id).leaves

    def count(self, *kinds: str) -> int:
        """Return how many leaves of these kinds it has."""
        return sum(logged.leaf.kind in kinds for logged in self.leaves)

    def sealed(self, logged: LoggedLeaf) -> StoredEvidence:
        """Return what a leaf discloses to whoever holds the archive's keys."""
        application = self.stage.application
        return read_evidence(application.archive.folder, logged.leaf, application.keystore)

    @property
    def answers(self) -> tuple[LoggedLeaf, ...]:
        """The leaves of judged answers."""
        return tuple(logged for logged in self.leaves if logged.leaf.kind in _ANSWERS)

    @property
    def missed(self) -> int:
        """Prompts that were missed, as the log tells.

        Each has a leaf of its own but for one that was still open when the session was given up:
        that one the closing leaf counts.
        """
        leaves = self.leaves
        own = sum(logged.leaf.kind == "prompt_missed" for logged in leaves)
        counted = leaves[-1].whole("prompts_missed")
        assert own <= counted <= own + 1
        return counted

    def spans_within(self, start_s: float, end_s: float) -> set[tuple[str, str | None]]:
        """Return state and reason of all credit spans that share time with that stretch."""
        row = tables.credit_span.c
        query = select(row.state, row.reason).where(
            row.session_id == self.session_id, row.start_s < end_s, row.end_s > start_s
        )
        with self.stage.application.database.reading() as tx:
            return {(found.state, found.reason) for found in tx.execute(query)}

    @property
    def missed_by_schedule(self) -> int:
        """Prompts of the schedule that went out and were missed, as the proof finds them."""
        proof = self.stage.prove(self.session_id)
        assert proof.ok, proof.problems
        return sum(prompt.is_planned and prompt.is_missed for prompt in proof.prompts)

    @property
    def playback(self) -> Any:
        """What its heartbeats came to."""
        return self.stage.get(f"/v1/sessions/{self.session_id}/playback")

    @property
    def gate(self) -> Any:
        """What an officer reads at the gate, once all is published."""
        self.stage.publish()
        path = f"/v1/classes/{self.class_id}/learners/{self.learner_id}/eligibility"
        return self.stage.get(path, by=self.stage.officer)

    def rule(self, name: str) -> Any:
        """Return what one rule of the gate says."""
        (found,) = (rule for rule in self.gate["rules"] if rule["rule"] == name)
        return found


def _shown(headers: httpx.Headers) -> str:
    """Return headers but for Date, which tells the real time and not the stage's."""
    return "\n".join(f"{name}: {value}" for name, value in headers.items() if name != "date")


def earned_nothing(lesson: Lesson) -> Any:
    """Assert that no second was credited and nothing is payable; return what the lesson tells."""
    told, gate = lesson.told, lesson.gate
    assert told["credited_s"] == 0
    assert gate["credited_s"] == 0
    assert gate["outcome"] in {"not_yet", "refer"}
    return told


@contextmanager
def open_skipping_stage(folder: Path) -> Iterator[SkippingStage]:
    """Serve a stage on loopback; in the end prove every schedule and verify the whole archive."""
    with (
        open_stage(folder) as stage,
        serve_in_thread(stage.app, listen("127.0.0.1", 0)) as url,
        httpx.Client(base_url=url, trust_env=False, timeout=30) as client,
    ):
        same = {each.name: getattr(stage, each.name) for each in fields(stage)}
        served = SkippingStage(**same, client=client)
        yield served
        prove_all(served)
        assert not served.undocumented


def prove_all(stage: SkippingStage) -> None:
    """End whatever is still open, and prove every schedule there is."""
    stage.clock.advance(24 * 3600)
    stage.application.engine.abandon_expired()
    proofs = {session_id: stage.prove(session_id) for session_id in stage.ended_sessions()}
    assert len(proofs) == stage.row_count("session")
    faulty = {session_id: proof.problems for session_id, proof in proofs.items() if not proof.ok}
    assert not faulty
