"""One face as a detector sees it, before anything is measured on it."""

from dataclasses import dataclass

from verifier.arrays import Float32Array
from verifier.observation import Box


@dataclass(frozen=True, slots=True, kw_only=True)
class Detection:
    """Where a detector sees a face, and how sure it is.

    Detectors draw boxes of different size and mark different points; of all of them the first
    two points are the eyes, left and right in the picture.

    Attributes
    ----------
    box_px
        The detector's own box, in canonical pixels; may reach out of the picture.
    keypoints_px
        Shape (k, 2), canonical pixels. BlazeFace, k = 6: eyes, nose tip, mouth, ears. YuNet,
        k = 5: eyes, nose tip, mouth corners. dlib, k = 2: eyes. Left before right, as seen.
    score
        The detector's own number, 0 to 1; what it means differs between detectors.
    """

    box_px: Box
    keypoints_px: Float32Array
    score: float
