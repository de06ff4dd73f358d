"""Who held the camera; fixed when a session opens, written in every leaf, result and gate trace."""

from enum import StrEnum


class Assurance(StrEnum):
    """The engine's own frame, or the calling platform, through whose hands the pictures passed."""

    FRAME = "frame"
    PLATFORM = "platform"
