"""Settings, read once from the environment (prefix ``ZHENXUE_``) and passed down as arguments."""

from enum import StrEnum
from pathlib import Path
from typing import Final, Self

from platformdirs import user_cache_path
from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from pipelines.witness_client import WitnessAddress, read_addresses
from verifier.errors import InputError

UNNAMED_AUTHORITY: Final = "unnamed-authority"
UNNAMED_ORIGIN: Final = "log.zhenxue.example"


class IdentityAuthorityName(StrEnum):
    """Which authority is asked whose face a reference shows."""

    NONE = "none"
    DEMO = "demo"


class Settings(BaseSettings):
    """Where things lie, who this installation is, and how much of the machine it may use."""

    model_config = SettingsConfigDict(
        env_prefix="ZHENXUE_",
        frozen=True,
        env_ignore_empty=True,  # as a compose file leaves them
    )

    cache_dir: Path = Field(
        default_factory=lambda: user_cache_path("zhenxue"),
        description="Converted networks and the demo's portraits.",
    )
    pack: str = Field(default="default", description="Model pack by its name in packs.toml.")
    attack_pack: str | None = Field(
        default=None,
        description="Model pack that tells faces from pictures of faces; by default none does.",
    )
    models_mirror: SecretStr | None = Field(
        default=None,
        description="Base address under which `models pull` finds files by name; by default each "
        "is fetched from the address in packs.toml.",
    )
    allow_non_commercial: bool = Field(
        default=False, description="Allow a pack whose licence bars commercial use."
    )
    threads: int = Field(default=1, ge=1, le=64, description="Threads for one inference call.")
    batch_slots: int = Field(
        default=0,
        ge=0,
        le=64,
        description="Batches of vectors computed at once, shared by requests that meet; 0: none.",
    )

    data_dir: Path = Field(
        default=Path("zhenxue-data"), description="Database, archive and keys of `serve`."
    )
    keys_dir: Path | None = Field(
        default=None, description="Key store; by default `keys` in the data folder."
    )
    database_url: SecretStr | None = Field(
        default=None, description="postgresql://…; by default SQLite in the data folder."
    )
    redis_url: SecretStr | None = Field(
        default=None, description="redis://…; by default one that the service starts itself."
    )
    host: str = Field(default="127.0.0.1", description="Address to listen on.")
    port: int = Field(default=8460, ge=0, le=65535, description="Port to listen on; 0: any.")
    authority: str = Field(
        default=UNNAMED_AUTHORITY,
        pattern=r"[a-z0-9][a-z0-9.-]{0,63}",
        description="The HR bureau whose evidence this is; ciphertexts are bound to it.",
    )
    log_origin: str = Field(
        default=UNNAMED_ORIGIN,
        pattern=r"[!-*,-~]{1,120}",  # as signed notes want it: no blank, no plus sign
        description="Name of the transparency log, in every checkpoint.",
    )
    identity_authority: IdentityAuthorityName = Field(
        default=IdentityAuthorityName.NONE,
        description="Who confirms identities at enrolment: none, or demo (made-up people only).",
    )
    production: bool = Field(
        default=False, description="Refuse whatever only suits a demo or a trial."
    )
    witnesses: str = Field(
        default="",
        description="Who cosigns the log: pairs of a witness's public key and its address, "
        "separated by commas or blanks.",
    )
    judges: int = Field(
        default=2, ge=1, le=64, description="Answers judged at the same time; one core each."
    )
    requests_per_minute: int = Field(
        default=60_000,
        ge=1,
        le=1_000_000,
        description="Requests of one platform and its learners, or of one officer's key.",
    )
    answers_per_minute: int = Field(
        default=30, ge=1, le=1_000_000, description="Answers sent in one session."
    )
    streams: int = Field(
        default=5_000, ge=0, le=100_000, description="Event streams open at a time."
    )
    streams_per_platform: int = Field(
        default=2_500,
        ge=0,
        le=100_000,
        description="Of them, those of one platform and its learners.",
    )

    @field_validator("witnesses")
    @classmethod
    def _names_witnesses(cls, text: str) -> str:
        try:
            read_addresses(text)
        except InputError as error:
            raise ValueError(str(error)) from None
        return text

    @model_validator(mode="after")
    def _suits_production(self) -> Self:
        if not self.production:
            return self
        unsuitable = {
            "identity_authority": self.identity_authority is IdentityAuthorityName.DEMO,
            "authority": self.authority == UNNAMED_AUTHORITY,
            "log_origin": self.log_origin == UNNAMED_ORIGIN,
            # Whoever sits on the way could answer in a witness's place, and hold it down.
            "witnesses": not all(witness.is_guarded for witness in self.witness_addresses),
        }
        names = [f"ZHENXUE_{name.upper()}" for name, found in unsuitable.items() if found]
        if names:
            raise ValueError(f"production wants other values for {', '.join(names)}")
        return self

    @property
    def witness_addresses(self) -> tuple[WitnessAddress, ...]:
        """Who cosigns the log, and where to ask."""
        return read_addresses(self.witnesses)

    @property
    def keys_folder(self) -> Path:
        """Where the keys lie."""
        return self.keys_dir or self.data_dir / "keys"

    @property
    def database_address(self) -> str:
        """The database's URL; it may hold a password."""
        if self.database_url is not None:
            return self.database_url.get_secret_value()
        return f"sqlite:///{self.data_dir / 'zhenxue.db'}"

    @property
    def models_mirror_address(self) -> str | None:
        """The mirror's address; it may hold a password."""
        return None if self.models_mirror is None else self.models_mirror.get_secret_value()


def read_settings(**overrides: object) -> Settings:
    """Read the settings from the environment; ``overrides`` of the command line go first.

    Raises
    ------
    InputError
        If one is not what it should be; the message names the variable.
    """
    given = {name: value for name, value in overrides.items() if value is not None}
    try:
        return Settings.model_validate(given) if given else Settings()
    except ValidationError as error:
        wrong = [_told(list(e["loc"]), e["msg"]) for e in error.errors()]
        raise InputError("; ".join(wrong)) from None


def _told(place: list[int | str], message: str) -> str:
    return f"ZHENXUE_{str(place[0]).upper()}: {message}" if place else message.split(", ", 1)[1]
