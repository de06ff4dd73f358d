"""Settings, read once from the environment (prefix ``ZHENXUE_``) and passed down as arguments."""

from pathlib import Path

from platformdirs import user_cache_path
from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from verifier.errors import InputError


class Settings(BaseSettings):
    """Where things lie and how many threads they may use."""

    model_config = SettingsConfigDict(env_prefix="ZHENXUE_", frozen=True)

    cache_dir: Path = Field(
        default_factory=lambda: user_cache_path("zhenxue"),
        description="Converted networks and the demo's portraits.",
    )
    pack: str = Field(default="default", description="Model pack by its name in packs.toml.")
    threads: int = Field(default=1, ge=1, le=64, description="Threads for one inference call.")


def read_settings() -> Settings:
    """Read the settings from the environment.

    Raises
    ------
    InputError
        If one is not what it should be; the message names the variable.
    """
    try:
        return Settings()
    except ValidationError as error:
        wrong = [f"ZHENXUE_{str(e['loc'][0]).upper()}: {e['msg']}" for e in error.errors()]
        raise InputError("; ".join(wrong)) from None
