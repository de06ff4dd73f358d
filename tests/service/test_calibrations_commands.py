"""``zhenxue calibrations``: two officers' keys put one in force before any service runs."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from service.calibrations_commands import calibrations_app
from service.keys_commands import keys_app
from service.sql.database import load_or_create_database_key
from tests.fakes import CALIBRATION_DATA
from verifier.calibration import DEFAULT_CALIBRATION, Calibration

OURS = replace(
    DEFAULT_CALIBRATION,
    name="our county",
    min_log10_lr=-1.0,
    max_log10_lr=1.5,
    cap_reason="300 people",
    data=CALIBRATION_DATA,
)
FEW = replace(
    OURS, max_log10_lr=0.5, min_log10_lr=-0.1, cap_reason="5 people", data=DEFAULT_CALIBRATION.data
)


@pytest.fixture(name="data")
def folder_that_was_started_once(tmp_path: Path) -> Path:
    load_or_create_database_key(tmp_path / "keys" / "database.key")
    return tmp_path


def officer(data: Path, person: str) -> str:
    made = CliRunner().invoke(keys_app, ["officer", person, "--data", str(data)])
    return made.stdout.strip()


def run(data: Path, *arguments: str, key: str = "") -> Result:
    shown = {"ZHENXUE_OFFICER_KEY": key} if key else {}
    arguments = (*arguments, "--data", str(data))
    return CliRunner().invoke(calibrations_app, arguments, env=shown)


def written(data: Path, what: Calibration) -> str:
    path = data / "calibration.json"
    path.write_bytes(what.document() + b"\n")
    return str(path)


def in_force(data: Path) -> list[str]:
    listed = run(data, "list", "--json")
    assert listed.exit_code == 0, listed.stderr
    return [each["label"] for each in json.loads(listed.stdout) if each["active"]]


def test_two_officers_put_one_in_force(data: Path) -> None:
    one, other = officer(data, "王芳"), officer(data, "李强")
    proposed = run(data, "propose", written(data, OURS), key=one)
    assert proposed.exit_code == 0, proposed.stderr
    assert f"{OURS.calibration_id}  waits for another officer" in proposed.stdout
    alone = run(data, "approve", OURS.calibration_id, key=one)
    assert (alone.exit_code, alone.stdout) == (2, "")
    assert "another person" in alone.stderr
    assert in_force(data) == []
    approved = run(data, "approve", OURS.calibration_id, key=other)
    assert f"{OURS.calibration_id}  in force" in approved.stdout
    assert in_force(data) == [OURS.label]
    assert "our county" in run(data, "list").stdout


@pytest.mark.parametrize("key", ["zx_officer_no", f"zx_officer_0a1b2c3d_{'A' * 43}"])
def test_a_key_that_is_no_officers(data: Path, key: str) -> None:
    refused = run(data, "propose", written(data, OURS), key=key)
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert "no officer's" in refused.stderr
    assert key not in refused.stderr


def test_one_for_another_pack_names_what_was_seen_and_wanted(data: Path) -> None:
    other = written(data, replace(OURS, contract_id="other@1"))
    refused = run(data, "propose", other, key=officer(data, "王芳"))
    assert refused.exit_code == 2
    assert "other@1" in refused.stderr
    assert DEFAULT_CALIBRATION.contract_id in refused.stderr


def test_nothing_is_begun_where_no_service_was_started(tmp_path: Path) -> None:
    refused = run(tmp_path, "list")
    assert refused.exit_code == 2
    assert "start `zhenxue serve` there first" in refused.stderr
    assert list(tmp_path.iterdir()) == []


def test_one_under_which_nobody_matches_is_refused(data: Path) -> None:
    refused = run(data, "propose", written(data, FEW), key=officer(data, "王芳"))
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert "nobody would match anybody" in refused.stderr


@pytest.mark.parametrize(("slope", "blind"), [(OURS.slope, False), (0.1, True)])
def test_who_approves_is_told_if_no_duplicate_can_be_found(
    data: Path, slope: float, blind: bool
) -> None:
    what = replace(OURS, slope=slope)
    assert run(data, "propose", written(data, what), key=officer(data, "王芳")).exit_code == 0
    approved = run(data, "approve", what.calibration_id, key=officer(data, "李强"))
    assert (approved.exit_code, "in force" in approved.stdout) == (0, True)
    assert ("the duplicate search can find nobody" in approved.stderr) == blind
