"""``zhenxue serve`` and ``openapi``: run the service, print its API."""

import json
import logging
from pathlib import Path
from typing import Annotated

import cv2
import typer

from models.installation import install
from models.packs import find_pack
from service.application import open_application
from service.chosen_calibration import metric_of
from service.chosen_models import chosen_observer
from service.console_output import ExitCode, out, progress_bars, reports_errors
from service.http.app import create_app, openapi_document
from service.http.server import base_url, listen, serve
from service.settings import read_settings
from verifier.calibration import default_calibration
from verifier.policy import default_policy

DataOption = Annotated[
    Path | None, typer.Option("--data", help="Folder of database, archive and keys.")
]


@reports_errors
def serve_command(
    data: DataOption = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on; 0: any.")] = None,
) -> ExitCode:
    """Run the service until Ctrl-C: embedded database and live state unless others are set."""
    settings = read_settings(data_dir=data, host=host, port=port)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    cv2.setNumThreads(settings.threads)  # its own pool would compete with the judges for cores
    wanted = find_pack(settings.pack)
    metric = metric_of(wanted)
    bound = listen(settings.host, settings.port)  # refused before anything is opened
    try:
        with progress_bars() as bars:
            pack = install(
                wanted,
                settings.cache_dir,
                progress=bars,
                allow_non_commercial=settings.allow_non_commercial,
            )
        with open_application(
            settings,
            observer=chosen_observer(settings, pack=pack, judge_attacks=True),
            metric=metric,
            calibration=default_calibration(wanted.contract_id),
            policy=default_policy(),
        ) as application:
            out.print(f"zhenxue listens on {base_url(bound)}", markup=False)
            serve(create_app(application), bound)
    finally:
        bound.close()
    return ExitCode.OK


@reports_errors
def openapi(
    output: Annotated[
        Path | None, typer.Option("-o", "--out", help="File to write; by default the terminal.")
    ] = None,
) -> ExitCode:
    """Print the service's OpenAPI document."""
    text = json.dumps(openapi_document(), indent=2, ensure_ascii=False) + "\n"
    if output is None:
        typer.echo(text, nl=False)
    else:
        output.write_text(text, encoding="utf-8")
    return ExitCode.OK
