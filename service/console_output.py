"""How the command line speaks: JSON for programs, text for people, one exit code for each."""

import functools
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import IntEnum
from typing import Any, ParamSpec

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from verifier.errors import VerifierError

P = ParamSpec("P")

out = Console(highlight=False, soft_wrap=True)
err = Console(stderr=True, highlight=False, soft_wrap=True)


class ExitCode(IntEnum):
    """What a shell script reads."""

    OK = 0
    NEGATIVE = 1  # the question was answered, and the answer is no
    BAD_INPUT = 2  # the question could not be answered as it was put


def print_json(value: object) -> None:
    """Write one JSON document to standard output, untouched by terminal formatting."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False, allow_nan=False) + "\n")


def complain(message: str) -> None:
    """Write one error line to standard error."""
    err.print("error:", message, markup=False)


def reports_errors(command: Callable[P, Any]) -> Callable[P, None]:
    """Turn errors raised on purpose into one line and exit code 2; anything else is a defect."""

    @functools.wraps(command)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            code = command(*args, **kwargs)
        except (VerifierError, OSError) as error:
            complain(str(error))
            code = ExitCode.BAD_INPUT
        raise typer.Exit(int(code or ExitCode.OK))

    return wrapped


class ProgressBars:
    """One bar a stage; implements the progress sink that installation reports to."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._tasks: dict[str, Any] = {}

    def update(self, stage: str, done: int, total: int) -> None:
        """Draw ``stage`` at ``done`` of ``total`` (bytes or steps; total 0 is unknown)."""
        if stage not in self._tasks:
            self._tasks[stage] = self._progress.add_task(stage, total=total or None)
        self._progress.update(self._tasks[stage], completed=done, total=total or None)


@contextmanager
def progress_bars() -> Iterator[ProgressBars]:
    """Show progress on standard error, so that standard output stays machine-readable."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f}%"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=err, transient=False) as progress:
        yield ProgressBars(progress)
