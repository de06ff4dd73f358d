"""Learners whom a service knows, with frames to answer in their name; none of it is timed."""

import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, Final

import numpy as np

from benchmarks.load import Post
from models.image_decoder import STILL_LIMITS, decode_image
from pipelines.portraits import portraits
from pipelines.simulate.http_caller import HttpCaller
from pipelines.simulate.platform import in_base64
from pipelines.simulate.webcam import Sitter, Webcam
from verifier.errors import VerifierError

PEOPLE: Final = ("person1-a", "person2", "person3")
FRAMES_EACH: Final = 12
CLASS_ID: Final = "class-1"
_CLASS: Final = {
    "class_id": CLASS_ID,
    "institution_id": "school-1",
    "title": "中式烹调师（初级）",
    "starts_on": "2020-01-01",
    "ends_on": "2099-12-31",
    "required_credit_hours": 1,
}
_AT_ONCE: Final = 2  # as many as one platform may enrol at a time


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """Somebody with a photograph, filmed beforehand: filming costs more than judging."""

    reference: str  # base64
    frames: Sequence[bytes]  # JPEG, 640 x 480

    @classmethod
    def film(cls, name: str, path: Path) -> "Person":
        """Film one of the demo's portraits."""
        reference, portrait = path.read_bytes(), portraits()[name]
        pixels = decode_image(reference, STILL_LIMITS).pixels
        sitter = Sitter(pixels=pixels, crop_px=portrait.crop_px, keep_px=portrait.keep_px)
        webcam = Webcam(np.random.default_rng(7))
        films = (webcam.film(sitter, frames=1) for _ in range(FRAMES_EACH))
        return cls(reference=in_base64(reference), frames=[frame for (frame,) in films])


class Crowd:
    """Learners of one platform, enrolled; each is one of a few people."""

    def __init__(self, caller: HttpCaller, people: Sequence[Person]) -> None:
        self._caller = caller
        self._people = people
        self._numbers = count()
        self.learner_ids: list[str] = []
        self._session_ids: dict[int, str] = {}

    @classmethod
    def enrol(cls, caller: HttpCaller, faces: Mapping[str, Path], learners: int) -> "Crowd":
        """Put a class on record and enrol learners.

        Raises
        ------
        VerifierError
            If somebody's enrolment was not passed.
        """
        crowd = cls(caller, [Person.film(name, faces[name]) for name in PEOPLE])
        caller.post("/v1/classes", _CLASS)
        with ThreadPoolExecutor(_AT_ONCE) as threads:
            crowd.learner_ids = list(threads.map(crowd._enrol, range(learners)))
        return crowd

    def answers(self, some: Sequence[int] | None = None) -> list[Post]:
        """Open a session for each learner; return the answer to its opening prompt, ready to go.

        A session of the same learner that is still open is given up by the service. With ``some``,
        for the learners with these numbers only: a prompt waits for a minute.
        """
        numbers = range(len(self.learner_ids)) if some is None else some
        with ThreadPoolExecutor(_AT_ONCE) as threads:
            return list(threads.map(self._answer, numbers))

    @property
    def session_ids(self) -> list[str]:
        """The latest session of each learner who had one."""
        return list(self._session_ids.values())

    def frame_sizes(self) -> list[int]:
        """Return the bytes of each frame that answers are made of."""
        return [len(frame) for person in self._people for frame in person.frames]

    def _enrol(self, number: int) -> str:
        person = self._people[number % len(self._people)]
        body = {"reference": f"learner {number}"}
        learner_id = str(self._caller.post("/v1/learners", body)["learner_id"])
        learner = f"/v1/learners/{learner_id}"
        self._caller.put(f"{learner}/consent", {"version": "2026-01"})
        live = [in_base64(frame) for frame in person.frames[:2]]
        told = self._caller.post(
            f"{learner}/enrolment", {"reference": person.reference, "live": live}
        )
        if told["outcome"] != "pass":
            raise VerifierError(f"enrolment gave {told['outcome']} {told['reason']}; pass wanted")
        return learner_id

    def _answer(self, number: int) -> Post:
        opening = {
            "learner_id": self.learner_ids[number],
            "class_id": CLASS_ID,
            "planned_minutes": 48,
        }
        session_id = self._caller.post("/v1/sessions", opening)["session_id"]
        self._session_ids[number] = session_id
        prompt: dict[str, Any] = self._caller.get(f"/v1/sessions/{session_id}/prompt")["prompt"]
        frames = self._people[number % len(self._people)].frames
        frame = frames[next(self._numbers) % len(frames)]
        body = {"nonce": prompt["nonce"], "frames": [in_base64(frame)]}
        return Post(
            path=f"/v1/prompts/{prompt['prompt_id']}/answer", body=json.dumps(body).encode()
        )
