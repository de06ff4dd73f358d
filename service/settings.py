"""Settings, read once from the environment (prefix ``ZHENXUE_``) and passed down as arguments."""

from pathlib import Path

from platformdirs import user_cache_path
from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """Where things lie and how many threads they may use."""

    model_config = SettingsConfigDict(env_prefix="ZHENXUE_", frozen=True)

    cache_dir: Path = Field(
        default_factory=lambda: user_cache_path("zhenxue"),
        description="Converted networks and the demo's portraits.",
    )
    pack: str = Field(default="default", description="Model pack by its name in packs.toml.")
    threads: int = Field(default=1, ge=1, le=64, description="Threads for one inference call.")
