"""How a benchmark hands over its figures: a table for people, JSON for programs."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def publish(report: Mapping[str, Any], table: str, json_path: Path | None) -> None:
    """Print ``table``, and write ``report`` to ``json_path`` where one is given."""
    print(table)
    if json_path is not None:
        json_path.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
