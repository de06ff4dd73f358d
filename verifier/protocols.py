"""What the core needs from models, clocks and stores; `models` and `pipelines` implement it."""

from datetime import datetime
from typing import Protocol

from verifier.arrays import Float32Array, Pixels
from verifier.observation import FrameObservation


class FaceEmbedder(Protocol):
    """Turns faces into vectors that can be compared under one contract."""

    @property
    def contract_id(self) -> str:
        """Network, its digest, and how faces are cut and compared: ``name@sha256-prefix``."""
        ...

    def embed(self, chips: Float32Array) -> Float32Array:
        """Return shape (n, d) for n face chips of shape (n, 3, height, width)."""
        ...


class FaceObserver(Protocol):
    """Finds the faces of one frame and measures them."""

    @property
    def contract_id(self) -> str:
        """The embedder's contract."""
        ...

    def observe(self, pixels: Pixels, *, embed: bool = True) -> FrameObservation:
        """Observe canonical pixels, shape (height, width, 3), RGB."""
        ...


class Clock(Protocol):
    """Where time comes from; the core never asks the operating system."""

    def now(self) -> datetime:
        """Return the current time, timezone-aware UTC, never going backwards."""
        ...
