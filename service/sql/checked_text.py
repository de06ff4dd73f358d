"""Texts that callers choose, checked before they become keys or labels in the database."""

import unicodedata

from verifier.errors import InputError

# PostgreSQL refuses NUL, no file could hold half a surrogate pair, and what cannot be seen makes
# two texts look alike that are not.
_FORBIDDEN = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})


def require_text(name: str, value: str, *, longest: int) -> str:
    """Return ``value`` if it may stand in a record; the message never repeats it.

    Raises
    ------
    InputError
        If it is empty, blank, longer than ``longest`` characters, or holds an invisible one.
    """
    if not isinstance(value, str) or not value.strip() or len(value) > longest:
        raise InputError(f"{name} is not a text of 1 to {longest} characters")
    if any(unicodedata.category(character) in _FORBIDDEN for character in value):
        raise InputError(f"{name} holds a control or formatting character; none was wanted")
    return value
