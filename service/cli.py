"""``zhenxue``: the command line. Exit codes: 0 ok, 1 negative outcome, 2 bad input."""

import io
import sys

import typer

from service import (
    calibrate_commands,
    demo_commands,
    eligibility_commands,
    evaluate_commands,
    face_commands,
    models_commands,
    serve_commands,
)
from service.archive_commands import archive_app
from service.calibrations_commands import calibrations_app
from service.keys_commands import keys_app
from service.log_commands import log_app
from service.witness_commands import witness_app


def main() -> None:
    """Run the command line; a terminal that lacks a character shows a question mark for it."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    app()


app = typer.Typer(
    name="zhenxue",
    help="真学: proof of presence for subsidised online training.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(models_commands.app, name="models")
app.add_typer(archive_app, name="archive")
app.add_typer(log_app, name="log")
app.command("inspect")(face_commands.inspect)
app.command("compare")(face_commands.compare_pictures)
app.command("evaluate")(evaluate_commands.evaluate_command)
app.command("calibrate")(calibrate_commands.calibrate_command)
app.command("eligibility")(eligibility_commands.eligibility)
app.command("demo")(demo_commands.demo)
app.command("serve")(serve_commands.serve_command)
app.command("openapi")(serve_commands.openapi)
app.add_typer(keys_app, name="keys")
app.add_typer(calibrations_app, name="calibrations")
app.add_typer(witness_app, name="witness")


if __name__ == "__main__":
    main()
