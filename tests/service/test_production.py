"""Production settings refuse whatever only suits a demo."""

from pathlib import Path

import pytest

from pipelines.clock import ManualClock
from service.application import open_application
from service.settings import IdentityAuthorityName, Settings, read_settings
from tests.pipelines.lesson_stage import CALIBRATION, STARTS, ColourObserver, dense_policy
from verifier.errors import InputError
from verifier.transparency.cosignature import CosignatureSigner

WITNESS_KEY = CosignatureSigner("witness.finance.example", bytes(32)).verifier.vkey
REAL = {"production": True, "authority": "cq.example", "log_origin": "cq.example/log"}


def open_with(tmp_path: Path, clock: ManualClock | None, **change: object) -> None:
    # model_copy asks no validator: whoever builds settings in code is refused all the same.
    settings = Settings.model_validate({**REAL, "data_dir": tmp_path}).model_copy(update=change)
    with open_application(
        settings,
        observer=ColourObserver(),
        metric=CALIBRATION.metric,
        calibration=CALIBRATION,
        policy=dense_policy(),
        clock=clock,
    ):
        pass


def test_real_values_suit_production() -> None:
    assert read_settings(**REAL).production


@pytest.mark.parametrize(
    ("change", "variable"),
    [
        ({"identity_authority": "demo"}, "ZHENXUE_IDENTITY_AUTHORITY"),
        ({"authority": "unnamed-authority"}, "ZHENXUE_AUTHORITY"),
        ({"log_origin": "log.zhenxue.example"}, "ZHENXUE_LOG_ORIGIN"),
        ({"witnesses": f"{WITNESS_KEY} http://witness.example"}, "ZHENXUE_WITNESSES"),
    ],
)
def test_what_production_refuses(change: dict[str, str], variable: str) -> None:
    with pytest.raises(InputError, match=f"{variable}$"):
        read_settings(**{**REAL, **change})


@pytest.mark.parametrize("url", ["https://witness.example", "http://127.0.0.1:8470"])
def test_a_witness_whose_answer_nobody_can_change_suits_production(url: str) -> None:
    (found,) = read_settings(**REAL, witnesses=f"{WITNESS_KEY} {url}").witness_addresses
    assert (found.url, found.verifier.vkey) == (url, WITNESS_KEY)


def test_a_trial_may_have_them_all() -> None:
    assert not read_settings(identity_authority="demo").production


def test_production_runs_on_no_clock_that_is_handed_in(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="clock"):
        open_with(tmp_path, ManualClock(STARTS))
    assert list(tmp_path.iterdir()) == []


def test_production_asks_no_demo_authority(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="demo authority"):
        open_with(tmp_path, None, identity_authority=IdentityAuthorityName.DEMO)
    assert list(tmp_path.iterdir()) == []
