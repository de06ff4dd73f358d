"""Whose pages may embed the learner frame: the origins that a platform registered."""

import ipaddress
import re
from collections.abc import Sequence
from typing import Final
from urllib.parse import urlsplit

from sqlalchemy import Connection, select, update

from service.sql.tables import platform
from verifier.errors import InputError, UnknownSubjectError

MOST_ORIGINS: Final = 32
"""They stand in a header; whoever needs more has a platform of its own for each city."""

_HOST: Final = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?")
_DEFAULT_PORTS: Final = {"https": 443, "http": 80}


def parse_origin(text: str) -> str:
    """Return an origin as browsers write it: scheme, host, and the port unless it is the usual.

    Raises
    ------
    InputError
        If it is anything more or less, a pattern, or not https and not this machine's own.
    """
    wanted = f"{text[:80]!r}: https://host or https://host:port was wanted"
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise InputError(wanted) from None
    host = (parts.hostname or "").lower()
    shown = f"[{host}]" if ":" in host else host
    spelled = {f"{parts.scheme}://{shown}{'' if port is None else f':{port}'}"}
    # Compared whole: no name, password, path, query, blank or control character passes.
    if text.lower() not in spelled or not (_HOST.fullmatch(host) or _is_loopback(host)):
        raise InputError(wanted)
    if parts.scheme != "https" and not (parts.scheme == "http" and _is_loopback(host)):
        raise InputError(f"{wanted}, http only for this machine itself")
    usual = port is None or port == _DEFAULT_PORTS[parts.scheme]
    return f"{parts.scheme}://{shown}" + ("" if usual else f":{port}")


def frame_origins(tx: Connection, platform_id: str) -> tuple[str, ...]:
    """Return whose pages may embed the frame; empty for nobody's, and for an unknown platform."""
    chosen = select(platform.c.frame_origins).where(platform.c.platform_id == platform_id)
    return tuple(tx.execute(chosen).scalar_one_or_none() or ())


def set_frame_origins(tx: Connection, platform_id: str, origins: Sequence[str]) -> tuple[str, ...]:
    """Let pages of these origins, and of no others, embed the frame; return them as kept.

    Raises
    ------
    InputError
        If one is no origin, or there are too many.
    UnknownSubjectError
        If there is no such platform.
    """
    kept = tuple(dict.fromkeys(parse_origin(origin) for origin in origins))
    if len(kept) > MOST_ORIGINS:
        raise InputError(f"{len(kept)} origins; at most {MOST_ORIGINS} were wanted")
    this = update(platform).where(platform.c.platform_id == platform_id)
    if tx.execute(this.values(frame_origins=list(kept))).rowcount == 0:
        raise UnknownSubjectError("there is no platform with that id")
    return kept


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
