"""Kinds of values that several messages share, each bounded."""

from typing import Annotated, Final

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field
from pydantic.json_schema import WithJsonSchema
from pydantic_core import PydanticCustomError

from verifier.errors import InvalidRecordError
from verifier.transparency.base64_text import from_base64

LONGEST_REFERENCE: Final = 128
WANTED: Final = "zhenxue_wanted"
"""Type of errors whose message is our own and repeats nothing that was sent."""


class Message(BaseModel):
    """A body: what it does not know it ignores, as all public formats here do."""

    model_config = ConfigDict(frozen=True, extra="ignore")


def _bytes_of(value: object) -> bytes:
    try:
        return from_base64(value if isinstance(value, str) else "!")
    except InvalidRecordError:
        raise PydanticCustomError(WANTED, "standard base64 with padding was wanted") from None


def _printable(value: str) -> str:
    # NUL and its like are refused by databases and mislead whoever reads a list.
    if not value.isprintable() or value != value.strip():
        message = "printable text without blanks at its ends was wanted"
        raise PydanticCustomError(WANTED, message)
    return value


Base64Bytes = Annotated[
    bytes,
    BeforeValidator(_bytes_of),
    WithJsonSchema({"type": "string", "contentEncoding": "base64"}),
]
"""Bytes as standard base64 with padding, in its one canonical spelling."""

OpaqueId = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.:-]{1,64}$")]
"""An id that the engine or a platform gave out; no free text, for it may stand in the log."""

OwnReference = Annotated[
    str, Field(min_length=1, max_length=LONGEST_REFERENCE), AfterValidator(_printable)
]
"""What a platform calls something in its own system."""

ShortText = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_printable)]

LongText = Annotated[str, Field(min_length=1, max_length=500), AfterValidator(_printable)]
