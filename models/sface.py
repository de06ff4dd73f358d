"""Turns faces into vectors with OpenCV Zoo's SFace, cut as `cv2.FaceRecognizerSF` cuts them.

Five points of a face (eyes, nose tip, mouth corners) are laid by a similarity over the template
that the network was trained on, 112 x 112. Vectors are normalised: compared by their cosine.
"""

from typing import Final

import cv2
import numpy as np

from models.network import Network
from models.similarity import fit_similarity
from verifier.arrays import Float32Array, FloatArray, Pixels
from verifier.detection import Detection
from verifier.errors import ModelUnavailableError

CHIP_SIDE_PX: Final = 112
DIMENSIONS: Final = 128

# Where eyes, nose tip and mouth corners (left before right, as seen) lie on a chip: the template
# of the ArcFace family (Deng et al., CVPR 2019), to which SFace's training pictures were cut.
TEMPLATE: Final = np.array(
    [(38.2946, 51.6963), (73.5318, 51.5014), (56.0252, 71.7366), (41.5493, 92.3655),
     (70.7299, 92.2041)]
)  # fmt: skip


class FivePointAligner:
    """Cuts by a detector's five points; a `verifier.protocols.FaceAligner`."""

    def cut(self, pixels: Pixels, detection: Detection, mesh_px: Float32Array) -> Pixels:
        """Return the face, shape (112, 112, 3), black where it leaves the picture.

        Bilinear sampling at any size of face, as in training, though it aliases on large ones.
        """
        del mesh_px  # the mesh network knows no such points as this template was made of
        matrix = picture_to_chip(detection.keypoints_px.astype(np.float64))
        size = (CHIP_SIDE_PX, CHIP_SIDE_PX)
        return np.asarray(cv2.warpAffine(pixels, matrix, size, flags=cv2.INTER_LINEAR), np.uint8)


def picture_to_chip(points_px: FloatArray) -> FloatArray:
    """Return the 2 x 3 least-squares similarity that lays five points, (5, 2), on the template."""
    # Five points in one spot have no size; a face of one pixel is as good as any.
    a, b = fit_similarity(points_px, TEMPLATE, least_spread=1.0)
    return np.array([(a.real, -a.imag, b.real), (a.imag, a.real, b.imag)])


class SfaceEmbedder:
    """Embeds chips with ``embedder.onnx``; a `verifier.protocols.FaceEmbedder`."""

    def __init__(self, network: Network, contract_id: str) -> None:
        self._network = network
        self._contract_id = contract_id

    @property
    def contract_id(self) -> str:
        """Network, its digest, and how faces are cut and compared."""
        return self._contract_id

    def embed(self, chips: Float32Array) -> Float32Array:
        """Return vectors of length one, shape (n, 128); they are compared by their cosine.

        Parameters
        ----------
        chips
            Shape (n, 3, 112, 112), RGB, 0 to 255; the network scales them itself.

        Raises
        ------
        ModelUnavailableError
            If the network gives a vector of another size, or none that has a direction.
        """
        # One at a time: the published file was made for a batch of one.
        vectors = [self._embed_one(chips[i : i + 1]) for i in range(len(chips))]
        return np.concatenate(vectors) if vectors else np.empty((0, DIMENSIONS), np.float32)

    def _embed_one(self, chip: Float32Array) -> Float32Array:
        (vector,) = self._network.run(["embeddings"], {"chips": chip})
        if vector.shape != (1, DIMENSIONS):
            raise ModelUnavailableError(f"SFace gave {vector.shape}, (1, {DIMENSIONS}) wanted")
        length = float(np.linalg.norm(vector))
        if not 0 < length < np.inf:  # written so that NaN fails
            raise ModelUnavailableError(f"SFace gave a vector of length {length}")
        return np.asarray(vector / length, dtype=np.float32)
