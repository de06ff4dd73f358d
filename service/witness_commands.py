"""``zhenxue witness``: what a bureau runs to watch the log of an engine that it does not run."""

import logging
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from pipelines.clock import SystemClock
from pipelines.witness import (
    ALARMS,
    Witness,
    add_log,
    create_witness,
    memory_folder,
    read_logs,
)
from pipelines.witness_alarms import read_alarms
from pipelines.witness_store import CosignedTree, read_trees
from service.console_output import ExitCode, out, print_json, reports_errors
from service.http.server import base_url, listen, serve
from service.witness_app import create_witness_app
from verifier.errors import InputError
from verifier.transparency.base64_text import to_base64
from verifier.transparency.note import NoteVerifier

witness_app = typer.Typer(
    help="A witness of a log: cosigns what only grows, keeps and reports what does not.",
    no_args_is_help=True,
)

FolderArgument = Annotated[Path, typer.Argument(metavar="FOLDER", help="The witness's folder.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]


@witness_app.command("init")
@reports_errors
def init_command(
    folder: FolderArgument,
    name: Annotated[
        str, typer.Option(help="Of the witness, like an address: witness.finance.example")
    ],
) -> ExitCode:
    """Make a witness and print its public key, which everybody who verifies needs."""
    typer.echo(create_witness(folder, name).vkey)
    return ExitCode.OK


@witness_app.command("logs")
@reports_errors
def logs_command(
    folder: FolderArgument,
    add: Annotated[
        str | None, typer.Option("--add", metavar="KEY", help="Watch the log with this key too.")
    ] = None,
    as_json: JsonOption = False,
) -> ExitCode:
    """List the logs that are watched; one that is added is watched from the next start on."""
    if add is not None:
        add_log(folder, NoteVerifier.from_vkey(add.strip()))
    keys = [key.vkey for keys in read_logs(folder).values() for key in keys]
    if as_json:
        print_json(keys)
    else:
        for key in keys:
            typer.echo(key)
    return ExitCode.OK


@witness_app.command("serve")
@reports_errors
def serve_command(
    folder: FolderArgument,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on; 0: any.")] = 8470,
) -> ExitCode:
    """Run the witness until Ctrl-C."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    bound = listen(host, port)
    try:
        with Witness.open(folder, clock=SystemClock()) as witness:
            out.print(f"witness {witness.verifier.name} listens on {base_url(bound)}", markup=False)
            serve(create_witness_app(witness), bound)
    finally:
        bound.close()
    return ExitCode.OK


@witness_app.command("alarms")
@reports_errors
def alarms_command(folder: FolderArgument, as_json: JsonOption = False) -> ExitCode:
    """List what was refused and looks like fraud; exit code 1 if there is anything."""
    read_logs(folder)  # an empty answer about the wrong folder would be worse than none
    found = read_alarms(folder / ALARMS)
    if as_json:
        print_json([alarm.to_record() for alarm in found])
    else:
        for alarm in found:
            line = f"{alarm.at}  {alarm.kind.value:8}  size {alarm.size}  {alarm.origin}"
            out.print(f"{line}  {alarm.name}", markup=False)
        if not found:
            out.print("no alarms")
    return ExitCode.NEGATIVE if found else ExitCode.OK


@witness_app.command("history")
@reports_errors
def history_command(
    folder: FolderArgument,
    origin: Annotated[str, typer.Argument(help="Of the log: the name in its key.")],
    index: Annotated[
        int | None, typer.Option(min=0, help="Only the first cosigned tree with this entry.")
    ] = None,
    as_json: JsonOption = False,
) -> ExitCode:
    """List every tree that was cosigned; with --index exit code 1 if none holds that entry."""
    if origin not in read_logs(folder):
        raise InputError(f"{origin} is not among the logs that this witness watches")
    found = read_trees(memory_folder(folder, origin))
    if index is not None:
        found = [tree for tree in found if tree.size > index][:1]
    if as_json:
        print_json([_record(tree) for tree in found])
    else:
        for tree in found:
            out.print("  ".join(map(str, _record(tree).values())), markup=False)
    return ExitCode.OK if found or index is None else ExitCode.NEGATIVE


def _record(tree: CosignedTree) -> dict[str, str | int]:
    at = datetime.fromtimestamp(tree.timestamp, UTC)
    return {"at": at.isoformat(), "size": tree.size, "root": to_base64(tree.root)}
