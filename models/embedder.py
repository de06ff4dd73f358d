"""Turns face chips into vectors with dlib's recognition network."""

from collections.abc import Sequence
from typing import Final

import numpy as np

from models.network import Network
from verifier.arrays import Float32Array, Pixels

# Larger batches gain nothing more per face and their activations grow past 100 MB.
MAX_BATCH: Final = 32


class ChipEmbedder:
    """Embeds chips with ``embedder.onnx``; a `verifier.protocols.FaceEmbedder`."""

    def __init__(self, network: Network, contract_id: str) -> None:
        self._network = network
        self._contract_id = contract_id

    @property
    def contract_id(self) -> str:
        """Network, its digest, and how faces are cut and compared."""
        return self._contract_id

    def embed(self, chips: Float32Array) -> Float32Array:
        """Return vectors, shape (n, 128), not normalised; they are compared by L2 distance.

        Parameters
        ----------
        chips
            Shape (n, 3, 150, 150), RGB, 0 to 255, as `network_input` lays them out.
        """
        batches = [
            self._network.run(["embeddings"], {"chips": chips[start : start + MAX_BATCH]})[0]
            for start in range(0, len(chips), MAX_BATCH)
        ]
        return np.concatenate(batches) if batches else np.empty((0, 128), dtype=np.float32)


def network_input(chips: Sequence[Pixels]) -> Float32Array:
    """Lay chips of shape (150, 150, 3) out as the network takes them, (n, 3, 150, 150)."""
    return np.stack([chip.transpose(2, 0, 1) for chip in chips]).astype(np.float32)
