"""A stage for the whole service: the real app on the real application; people are colours.

Two platforms, two officers, a clock that is moved by hand. Every act is an HTTP request; what one
does not say, such as which platform or class, is the stage's usual one.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any, Final
from unittest.mock import patch

import httpx
from fastapi import FastAPI

from models.image_decoder import FRAME_LIMITS, decode_image, encode_frame
from pipelines.archive_verification import verify_archive
from pipelines.clock import ManualClock, SystemClock
from pipelines.simulate.identity_authority import demo_identity
from service.application import Application, open_application
from service.credentials import ApiKey, Role, issue_api_key
from service.http.app import create_app
from service.live.memory_engine import MemoryLiveState
from service.settings import Settings
from service.sql.api_keys import Principal, create_key, create_platform
from tests.pipelines.lesson_stage import (
    CALIBRATION,
    CONTRACT,
    LEARNER_FACE,
    STARTS,
    ColourObserver,
    dense_policy,
    frame,
)
from tests.service.http.asgi_client import call
from tests.service.http.documented import undocumented
from verifier.transparency.base64_text import to_base64

CREDIT_HOURS: Final = 0.2
"""What a class of the stage asks for: 9 minutes."""
CONSENT: Final = {"version": "consent-2026-01"}
POLL_EVERY_S: Final = 5.0

_NEVER_S: Final = 3600.0
_STARTS_ON, _ENDS_ON = "2026-03-01", "2026-12-31"


@dataclass(kw_only=True)
class ServiceStage:
    """A service, who may call it, and what they do.

    Attributes
    ----------
    platform, other_platform, officer, second_officer
        API keys, as their holders send them.
    undocumented
        Answers that came and of which the OpenAPI document says nothing.
    """

    folder: Path
    clock: ManualClock
    application: Application
    app: FastAPI
    platform: str = field(repr=False)
    other_platform: str = field(repr=False)
    officer: str = field(repr=False)
    second_officer: str = field(repr=False)
    undocumented: set[str] = field(default_factory=set, repr=False)
    _numbers: Iterator[int] = field(default_factory=lambda: count(1), repr=False)

    def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        by: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> httpx.Response:
        """Send a request; ``by`` an API key or token, by default the platform's, "" for none."""
        key = self.platform if by is None else by
        shown = {"Authorization": f"Bearer {key}"} if key else {}
        sent = {} if body is None else {"json": body}
        response = call(self.app, method, path, headers={**shown, **(headers or {})}, **sent)
        if (unsaid := undocumented(method, path, response)) is not None:
            self.undocumented.add(unsaid)
        return response

    def get(self, path: str, *, by: str | None = None) -> Any:
        """Return the JSON at ``path``, which has to be there."""
        return _success(self.call("GET", path, by=by)).json()

    def post(self, path: str, body: Any = None, *, by: str | None = None) -> Any:
        """Post something that has to succeed; return what comes back."""
        return _success(self.call("POST", path, {} if body is None else body, by=by)).json()

    def put(self, path: str, body: Any = None, *, by: str | None = None) -> Any:
        """Put something that has to succeed; return what comes back."""
        return _success(self.call("PUT", path, {} if body is None else body, by=by)).json()

    def delete(self, path: str, *, by: str | None = None) -> Any:
        """Delete something that has to be there; return what comes back."""
        return _success(self.call("DELETE", path, by=by)).json()

    def fresh(self, noun: str) -> str:
        """Return an id that nothing on the stage has yet."""
        return f"{noun}-{next(self._numbers)}"

    def register_learner(self, *, identified: bool = True, by: str | None = None) -> str:
        """Register somebody new, by default with an identity the demo's authority confirms."""
        number = next(self._numbers)
        body: dict[str, Any] = {"reference": f"learner-{number}"}
        if identified:
            person = demo_identity(number)
            body["identity"] = {"name": person.name, "id_number": person.id_number}
        return str(self.post("/v1/learners", body, by=by)["learner_id"])

    def give_consent(self, learner_id: str, *, by: str | None = None) -> Any:
        """Record the learner's consent."""
        return self.put(f"/v1/learners/{learner_id}/consent", CONSENT, by=by)

    def enrol(self, learner_id: str, who: str = LEARNER_FACE, *, by: str | None = None) -> Any:
        """Enrol a face, confirmed by two live frames."""
        return self.post(f"/v1/learners/{learner_id}/enrolment", faces(who), by=by)

    def enrolled_learner(self, *, by: str | None = None) -> str:
        """Register, ask and enrol somebody new."""
        learner_id = self.register_learner(by=by)
        self.give_consent(learner_id, by=by)
        self.enrol(learner_id, by=by)
        return learner_id

    def open_class(
        self, class_id: str | None = None, *, by: str | None = None, **change: Any
    ) -> str:
        """Apply for a class, the usual one but for ``change``; return its id."""
        body = {**class_application(class_id or self.fresh("class")), **change}
        return str(self.post("/v1/classes", body, by=by)["class_id"])

    def approve(self, class_id: str) -> Any:
        """Approve a class."""
        return self.post(f"/v1/classes/{class_id}/approval", by=self.officer)

    def roster(self, class_id: str, learner_id: str, *, by: str | None = None) -> Any:
        """Put a learner on a class's roster."""
        return self.put(f"/v1/classes/{class_id}/roster/{learner_id}", by=by)

    def prepare(self, *, by: str | None = None) -> tuple[str, str]:
        """Return an enrolled learner and an approved class with the learner on its roster."""
        learner_id, class_id = self.enrolled_learner(by=by), self.open_class(by=by)
        self.approve(class_id)
        self.roster(class_id, learner_id, by=by)
        return learner_id, class_id

    def open_session(
        self, learner_id: str, class_id: str, *, minutes: float = 12, by: str | None = None
    ) -> Any:
        """Open a session; return the reply, with the learner's one-time code."""
        body = {"learner_id": learner_id, "class_id": class_id, "planned_minutes": minutes}
        return self.post("/v1/sessions", body, by=by)

    def token(self, opened: Any) -> str:
        """Exchange the code of an opened session for the learner's token."""
        path = f"/v1/sessions/{opened['session_id']}/token"
        return str(self.post(path, {"code": opened["code"]}, by="")["token"])

    def prompt(self, session_id: str, *, by: str | None = None) -> Any:
        """Return the prompt that waits, or None."""
        return self.get(f"/v1/sessions/{session_id}/prompt", by=by)["prompt"]

    def answer(self, prompt: Any, *who: str, by: str | None = None) -> Any:
        """Answer a prompt with frames; return the reply."""
        return self.post(f"/v1/prompts/{prompt['prompt_id']}/answer", reply(prompt, *who), by=by)

    def attend(
        self, session_id: str, minutes: float, *who: str, by: str | None = None
    ) -> list[Any]:
        """Let time pass, answering every prompt; return the replies to the answers."""
        replies = []
        for _ in range(round(60 * minutes / POLL_EVERY_S)):
            while prompt := self.prompt(session_id, by=by):
                replies.append(self.answer(prompt, *who, by=by))
            self.clock.advance(POLL_EVERY_S)
        return replies

    def close(self, session_id: str, *who: str, by: str | None = None) -> Any:
        """Announce the end, answer what is open and the closing prompt; return the outcome."""
        while prompt := self.prompt(session_id, by=by):
            self.answer(prompt, *who, by=by)
        self.post(f"/v1/sessions/{session_id}/end", by=by)
        while (prompt := self.prompt(session_id, by=by)) is None:
            paused = self.get(f"/v1/sessions/{session_id}", by=by)["paused_until"]
            until = self.clock.now() if paused is None else datetime.fromisoformat(paused)
            self.clock.advance(max(1.0, (until - self.clock.now()).total_seconds()))
        self.answer(prompt, *who, by=by)
        return self.post(f"/v1/sessions/{session_id}/close", by=by)

    def hold_lesson(
        self, learner_id: str, class_id: str, *, minutes: float = 12, by: str | None = None
    ) -> Any:
        """Hold a whole lesson that the learner attends; return its outcome."""
        opened = self.open_session(learner_id, class_id, minutes=minutes, by=by)
        self.attend(opened["session_id"], minutes, by=by)
        return self.close(opened["session_id"], by=by)

    def publish(self) -> None:
        """Let a signed checkpoint hold everything that was acknowledged."""
        self.application.archive.publish()


@contextmanager
def open_stage(
    folder: Path, *, database_url: str | None = None, redis_url: str | None = None
) -> Iterator[ServiceStage]:
    """Set a stage in an empty folder; verify the whole archive when it is over.

    Parameters
    ----------
    database_url
        Of an empty database; None: SQLite in the folder.
    redis_url
        None: live state in this process.
    """
    clock = ManualClock(STARTS)
    settings = stage_settings(folder, database_url=database_url, redis_url=redis_url)
    with open_stage_application(settings, clock) as application:
        yield _stage(folder, clock, application)
    verify(application)


@contextmanager
def reopen_stage(
    stage: ServiceStage, *, away_s: float, contract_id: str = CONTRACT
) -> Iterator[ServiceStage]:
    """Set a stage that was left up again, ``away_s`` later, with another application.

    ``contract_id`` is that of the model pack then.
    """
    clock = ManualClock(stage.clock.now() + timedelta(seconds=away_s))
    settings = stage.application.settings
    with open_stage_application(settings, clock, contract_id=contract_id) as application:
        yield replace(stage, clock=clock, application=application, app=create_app(application))
    verify(application)


def stage_settings(
    folder: Path, *, database_url: str | None = None, redis_url: str | None = None
) -> Settings:
    """Return the settings of a stage in ``folder``."""
    return Settings.model_validate(
        {
            "data_dir": folder,
            "keys_dir": folder / "keys",
            "database_url": database_url,
            "redis_url": redis_url,
            "identity_authority": "demo",
            "authority": "test",
            "log_origin": "test.example/log",
            "requests_per_minute": 1_000_000,  # tests are faster than any platform
        }
    )


@contextmanager
def open_stage_application(
    settings: Settings, clock: ManualClock | None, *, contract_id: str = CONTRACT
) -> Iterator[Application]:
    """Open an application on which nothing happens by itself; no ``clock``: the system's."""
    observer = ColourObserver()
    observer.contract_id = contract_id
    # No embedded server is to be started where none is tested.
    in_process = patch(
        "service.application.open_live_state", lambda *_: nullcontext(_memory(clock))
    )
    with (
        # Checkpoints come when a session is opened or `publish` is called, and not in between.
        patch("service.application.PUBLISH_EVERY_S", _NEVER_S),
        patch("service.application.SWEEP_EVERY_S", _NEVER_S),
        patch("service.application.BEAT_EVERY_S", _NEVER_S),
        patch("service.application.FLUSH_EVERY_S", _NEVER_S),
        in_process if settings.redis_url is None else nullcontext(),
        open_application(
            settings,
            observer=observer,
            metric=CALIBRATION.metric,
            calibration=replace(CALIBRATION, contract_id=contract_id),
            policy=dense_policy(),
            clock=clock,
        ) as application,
    ):
        yield application


def verify(application: Application) -> None:
    """Verify the whole archive of an application that was closed."""
    report = verify_archive(
        application.archive.folder,
        verifier=application.archive.verifier,
        keystore=application.keystore,
    )
    assert report.ok, report.problems


def picture(who: str, number: int = 0) -> bytes:
    """Return a picture of ``who``; each number, 0 to 255, gives another one."""
    pixels = decode_image(frame(who), FRAME_LIMITS).pixels.copy()
    pixels[:8, :8] = number  # far from the middle, where the observer looks
    return encode_frame(pixels, quality=95)


def faces(who: str = LEARNER_FACE, live: str | None = None) -> dict[str, Any]:
    """Return the body of an enrolment: a reference of one, two live frames of the same or another.

    ``live`` is who sits before the camera.
    """
    frames = [to_base64(picture(live or who, number)) for number in (1, 2)]
    return {"reference": to_base64(picture(who)), "live": frames}


def reply(prompt: Any, *who: str) -> dict[str, Any]:
    """Return the body of an answer to a prompt."""
    frames = [to_base64(frame(each)) for each in who or (LEARNER_FACE,)]
    return {"nonce": prompt["nonce"], "frames": frames}


def class_application(class_id: str) -> dict[str, Any]:
    """Return the body of an application for a class."""
    return {
        "class_id": class_id,
        "institution_id": "school-1",
        "title": "中式烹调师（初级）",
        "starts_on": _STARTS_ON,
        "ends_on": _ENDS_ON,
        "required_credit_hours": CREDIT_HOURS,
    }


def _stage(folder: Path, clock: ManualClock, application: Application) -> ServiceStage:
    return ServiceStage(
        folder=folder,
        clock=clock,
        application=application,
        app=create_app(application),
        platform=_new_platform(application, "platform-1"),
        other_platform=_new_platform(application, "platform-2"),
        officer=issue_officer_key(application, "王芳"),
        second_officer=issue_officer_key(application, "李强"),
    )


def issue_officer_key(application: Application, person: str) -> str:
    """Return a new key of an officer's."""
    return _keep_key(application, issue_api_key(Role.OFFICER), person=person, label=person)


def issue_platform_key(application: Application, platform_id: str) -> str:
    """Return one more key of a platform's."""
    key = issue_api_key(Role.PLATFORM)
    return _keep_key(application, key, platform_id=platform_id, label="a test")


def _new_platform(application: Application, platform_id: str) -> str:
    with application.database.writing() as tx:
        create_platform(tx, platform_id=platform_id, name=platform_id, at=application.clock.now())
    return issue_platform_key(application, platform_id)


def _keep_key(
    application: Application,
    key: ApiKey,
    *,
    label: str,
    platform_id: str | None = None,
    person: str | None = None,
) -> str:
    principal = Principal(key_id=key.key_id, role=key.role, platform_id=platform_id, person=person)
    with application.database.writing() as tx:
        at = application.clock.now()
        create_key(tx, principal=principal, secret_sha256=key.digest, label=label, at=at)
    return key.text


def _memory(clock: ManualClock | None) -> MemoryLiveState:
    """Return live state on the stage's clock: a lesson that takes a second has its usual rates."""
    now = clock or SystemClock()
    return MemoryLiveState(lambda: now.now().timestamp())


def _success(response: httpx.Response) -> httpx.Response:
    assert response.is_success, f"{response.status_code} {response.text}"
    return response
