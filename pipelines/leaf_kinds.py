"""What leaves are called in the log: one name for whoever writes them and whoever reads them."""

from typing import Final

from verifier.prompt import PromptKind

ENROLMENT: Final = "enrolment"
FACE_ERASED: Final = "face_erased"
DEVICE_REGISTERED: Final = "device_registered"
DEVICE_REVOKED: Final = "device_revoked"

SESSION_OPENED: Final = "session_opened"
SESSION_PAUSED: Final = "session_paused"
SESSION_CLOSED: Final = "session_closed"
PROMPT_ISSUED: Final = "prompt_issued"
PROMPT_MISSED: Final = "prompt_missed"

SNAPSHOT: Final = "snapshot"
"""Evidence with a picture; of a session, an answer that shows one."""
_WITHOUT_PICTURE: Final = {
    PromptKind.SILENT_CAPTURE: "answer_unreadable",
    PromptKind.TYPED_CODE: "code_answered",
    PromptKind.OFFICER_CALL: "call_recorded",
}
ANSWERS: Final = frozenset({SNAPSHOT, *_WITHOUT_PICTURE.values()})


def answer_kind(asked: PromptKind, *, with_picture: bool) -> str:
    """Return what the leaf of an answer to a prompt of that kind is called."""
    return SNAPSHOT if with_picture else _WITHOUT_PICTURE[asked]
