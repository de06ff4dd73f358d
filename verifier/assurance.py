"""Who held the camera; fixed when a session opens, written in every leaf, result and gate trace."""

from enum import StrEnum


class Assurance(StrEnum):
    """The engine's own frame, or the calling platform, through whose hands the pictures passed."""

    FRAME = "frame"
    PLATFORM = "platform"


class LearnerPath(StrEnum):
    """How the learner is known in a session; fixed when it opens."""

    FACE = "face"
    NON_FACE = "non_face"  # by an officer's grant, made before
