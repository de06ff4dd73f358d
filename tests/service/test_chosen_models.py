"""Which attack detector the settings choose, and that they keep the mirror's password."""

from pathlib import Path

import pytest

from service.chosen_models import chosen_attack_detector
from service.settings import Settings, read_settings
from verifier.errors import InputError, ModelUnavailableError


def test_by_default_nobody_judges_attacks(tmp_path: Path) -> None:
    assert chosen_attack_detector(Settings(cache_dir=tmp_path, attack_pack=None)) is None


def test_a_pack_that_is_not_there_is_no_silent_none(tmp_path: Path) -> None:
    with pytest.raises(ModelUnavailableError, match="'minifasnet' is absent"):
        chosen_attack_detector(Settings(cache_dir=tmp_path, attack_pack="minifasnet"))


def test_a_pack_nobody_knows_is_bad_input(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no pack 'nope'"):
        chosen_attack_detector(Settings(cache_dir=tmp_path, attack_pack="nope"))


def test_the_mirror_keeps_its_password(monkeypatch: pytest.MonkeyPatch) -> None:
    mirror = "https://user:s3cret@files.example/models"
    monkeypatch.setenv("ZHENXUE_MODELS_MIRROR", mirror)
    settings = read_settings()
    assert settings.models_mirror_address == mirror
    assert "s3cret" not in repr(settings)
    monkeypatch.delenv("ZHENXUE_MODELS_MIRROR")
    assert read_settings().models_mirror_address is None
