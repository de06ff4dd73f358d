"""Chips to vectors: layout and batches, without the network."""

from collections.abc import Mapping, Sequence

import numpy as np

from models.embedder import MAX_BATCH, ChipEmbedder, network_input
from verifier.arrays import Float32Array


class MeanColour:
    """A network whose vector repeats the mean of the red channel."""

    def __init__(self) -> None:
        self.batches: list[int] = []

    def run(self, outputs: Sequence[str], inputs: Mapping[str, Float32Array]) -> list[Float32Array]:
        """Answer like the network; see `Network.run`."""
        assert list(outputs) == ["embeddings"]
        self.batches.append(len(inputs["chips"]))
        return [np.repeat(inputs["chips"][:, 0].mean(axis=(1, 2))[:, None], 128, axis=1)]


def test_chips_are_laid_out_by_channel_and_keep_their_grey_levels() -> None:
    chip = np.random.default_rng(0).integers(0, 256, (150, 150, 3), dtype=np.uint8)
    laid_out = network_input([chip, chip[::-1]])
    assert laid_out.shape == (2, 3, 150, 150)
    assert laid_out.dtype == np.float32
    assert (laid_out[0, 2] == chip[..., 2]).all()
    assert (laid_out[1, 0] == chip[::-1, :, 0]).all()


def test_many_chips_go_in_batches_and_keep_their_order() -> None:
    network = MeanColour()
    chips = np.zeros((MAX_BATCH + 3, 3, 150, 150), dtype=np.float32)
    chips[:, 0] = np.arange(MAX_BATCH + 3)[:, None, None]
    embedder = ChipEmbedder(network, "net@0")
    vectors = embedder.embed(chips)
    assert embedder.contract_id == "net@0"
    assert network.batches == [MAX_BATCH, 3]
    assert vectors.shape == (MAX_BATCH + 3, 128)
    assert vectors[:, 7].tolist() == list(range(MAX_BATCH + 3))


def test_no_chip_gives_no_vector() -> None:
    empty = np.zeros((0, 3, 150, 150), dtype=np.float32)
    assert ChipEmbedder(MeanColour(), "net@0").embed(empty).shape == (0, 128)
