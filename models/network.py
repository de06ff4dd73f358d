"""What detector, mesher and embedder need of a network; `models.sessions` implements it."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from verifier.arrays import Float32Array


class Network(Protocol):
    """Something that turns named arrays into named arrays."""

    def run(self, outputs: Sequence[str], inputs: Mapping[str, Float32Array]) -> list[Float32Array]:
        """Return the named outputs, in that order."""
        ...
