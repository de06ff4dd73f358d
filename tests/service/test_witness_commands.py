"""`zhenxue witness`: made, told which logs to watch, run, asked for alarms."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import httpx
from typer.testing import CliRunner, Result

from service.witness_commands import witness_app
from tests.pipelines.witness_samples import ORIGIN, SIGNER, MadeUpLog
from verifier.transparency.base64_text import to_base64
from verifier.transparency.cosignature import CosignatureVerifier
from verifier.transparency.note import SignedNote

LOG = MadeUpLog.of(16)


def run(*words: str | Path) -> Result:
    return CliRunner().invoke(witness_app, list(map(str, words)))


def test_from_the_first_key_to_the_first_alarm(tmp_path: Path) -> None:
    folder = tmp_path / "finance"
    made = run("init", folder, "--name", "witness.finance.example")
    verifier = CosignatureVerifier.from_vkey(made.stdout.strip())
    assert (folder / "witness.vkey").read_text() == made.stdout
    assert run("logs", folder, "--add", SIGNER.verifier.vkey).stdout.split() == [
        SIGNER.verifier.vkey
    ]
    assert json.loads(run("logs", folder, "--json").stdout) == [SIGNER.verifier.vkey]
    assert run("alarms", folder).exit_code == 0
    serve = [sys.executable, "-m", "service.cli", "witness", "serve", str(folder), "--port", "0"]
    with subprocess.Popen(serve, stdout=subprocess.PIPE, env={**os.environ}) as process:
        assert process.stdout is not None
        said = process.stdout.readline().decode()
        url = re.findall(r"http://\S+", said)[0]
        reply = httpx.post(f"{url}/add-checkpoint", content=LOG.request(0, 7))
        verifier.verify(SignedNote.parse(LOG.note(7).serialize() + reply.content))
        httpx.post(f"{url}/add-checkpoint", content=MadeUpLog.of(7, salt=1).request(7, 7))
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    alarmed = run("alarms", folder, "--json")
    assert alarmed.exit_code == 1
    (alarm,) = json.loads(alarmed.stdout)
    assert alarm["kind"] == "fork"
    assert alarm["evidence"] in run("alarms", folder).stdout
    (tree,) = json.loads(run("history", folder, ORIGIN, "--json").stdout)
    assert (tree["size"], tree["root"]) == (7, to_base64(LOG.checkpoint(7).root))
    assert json.loads(run("history", folder, ORIGIN, "--json", "--index", "6").stdout) == [tree]
    assert run("history", folder, ORIGIN, "--index", "7").exit_code == 1


def test_what_is_no_witness_is_bad_input(tmp_path: Path) -> None:
    for command in ("alarms", "logs", "serve"):
        assert run(command, tmp_path, *(["--port", "0"] * (command == "serve"))).exit_code == 2
    assert run("init", tmp_path / "w", "--name", "two words").exit_code == 2
    run("init", tmp_path / "w", "--name", "w.example")
    assert run("history", tmp_path / "w", ORIGIN).exit_code == 2
    assert run("logs", tmp_path / "w", "--add", "nonsense").exit_code == 2
