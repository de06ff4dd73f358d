"""What the core needs from models, clocks and stores; `models` and `pipelines` implement it.

A frame is observed in four steps, and each has a protocol, so that a model pack can bring its
own: a `FaceDetector` finds faces, a `FaceAligner` cuts each as the embedder was trained on, a
`FaceEmbedder` turns what was cut into vectors, an `AttackDetector` tells a live face from a
picture of one. A `FaceObserver` joins them.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from verifier.arrays import Float32Array, Pixels
from verifier.detection import Detection
from verifier.observation import Box, FrameObservation


class FaceDetector(Protocol):
    """Finds faces in a frame."""

    def detect(self, pixels: Pixels) -> tuple[Detection, ...]:
        """Return the faces in canonical pixels, shape (height, width, 3), the surest first."""
        ...


class FaceAligner(Protocol):
    """Cuts faces the way one embedder wants them; part of that embedder's contract."""

    def cut(self, pixels: Pixels, detection: Detection, mesh_px: Float32Array) -> Pixels:
        """Return one face, shape (side, side, 3), RGB.

        Parameters
        ----------
        pixels
            Canonical pixels, shape (height, width, 3).
        detection
            The face as the detector saw it.
        mesh_px
            The mesh laid over it, shape (468, 3), canonical pixels. An aligner uses this or the
            detector's points; which of the two is part of the contract.
        """
        ...


class FaceEmbedder(Protocol):
    """Turns faces into vectors that can be compared under one contract."""

    @property
    def contract_id(self) -> str:
        """Network, its digest, and how faces are cut and compared: ``name@sha256-prefix``."""
        ...

    def embed(self, chips: Float32Array) -> Float32Array:
        """Return shape (n, d) for n face chips of shape (n, 3, side, side), RGB, 0 to 255."""
        ...


class AttackDetector(Protocol):
    """Tells a face before the camera from a picture of one: one method of PAD."""

    @property
    def contract_id(self) -> str:
        """Networks, their digests, and how faces are cut: what its numbers belong to."""
        ...

    def judge(self, pixels: Pixels, boxes: Sequence[Box]) -> tuple[float | None, ...]:
        """Return log10 P(finding | bona fide) / P(finding | attack) for each face.

        Parameters
        ----------
        pixels
            Canonical pixels, shape (height, width, 3).
        boxes
            The faces, forehead to chin, as `FaceObservation.box_px` has them.

        Returns
        -------
        tuple[float | None, ...]
            In the order of the boxes; None where nothing could be told, which counts neither
            way: what was not measured is never bona fide.
        """
        ...


class FaceObserver(Protocol):
    """Finds the faces of one frame and measures them."""

    @property
    def contract_id(self) -> str:
        """The embedder's contract."""
        ...

    @property
    def attack_contract_id(self) -> str | None:
        """The attack detector's contract; None where nobody judges attacks."""
        ...

    def observe(self, pixels: Pixels, *, embed: bool = True) -> FrameObservation:
        """Observe canonical pixels, shape (height, width, 3), RGB."""
        ...


class ProgressSink(Protocol):
    """Hears how far a long task has come."""

    def update(self, stage: str, done: int, total: int) -> None:
        """Hear that ``stage`` is at ``done`` of ``total`` bytes or steps; total 0 is unknown."""
        ...


class Clock(Protocol):
    """Where time comes from; the core never asks the operating system."""

    def now(self) -> datetime:
        """Return the current time, timezone-aware UTC, never going backwards."""
        ...
