"""What a model pack is: `packs.toml` as frozen values, checked on reading.

A pack gives each *role* (``embedder``, ``detector``, ``mesh``) one network, named by the SHA-256
of its weights and by the packages those weights are found in. Start with `load_packs`.
"""

import hashlib
import json
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from models.conversion import CONVERTER_VERSION, ConverterName
from verifier.errors import InputError

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
PlainName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
"""A name that can be part of a path or of a pip requirement, and cannot leave a folder."""

_STRICT: Final = ConfigDict(extra="forbid")


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A package on an index, pinned by version and digest."""

    __pydantic_config__ = _STRICT

    requirement: PlainName
    version: PlainName
    artefact: PlainName  # file name of the wheel or source distribution
    sha256: Sha256
    fetch: bool  # false: used where it lies in the downloads folder, never asked of pip


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where in which source a file lies."""

    __pydantic_config__ = _STRICT

    source: PlainName
    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SelfTest:
    """A made-up input and what the reference implementation answers to it.

    The input is `models.self_test.pattern` of ``shape``, divided by ``divisor``, plus ``offset``.
    ``expected`` has for each output a few values, evenly spaced over the flattened output.
    """

    __pydantic_config__ = _STRICT

    input: PlainName
    shape: tuple[int, ...]
    divisor: float = 1.0
    offset: float = 0.0
    tolerance: Annotated[float, Field(gt=0)]  # largest absolute difference
    expected: Mapping[PlainName, tuple[float, ...]] = field(hash=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightsFile:
    """The weights of one network and how they become ONNX."""

    __pydantic_config__ = _STRICT

    converter: ConverterName
    sha256: Sha256
    size_bytes: Annotated[int, Field(gt=0, le=1 << 30)]
    licence: str
    licence_note: str
    found_in: Annotated[tuple[Place, ...], Field(min_length=1)]
    self_test: SelfTest


@dataclass(frozen=True, slots=True, kw_only=True)
class Contract:
    """What has to be the same for two templates to be comparable."""

    __pydantic_config__ = _STRICT

    network: PlainName
    weights: PlainName  # the role whose weights make templates
    preprocessing: PlainName  # how a face is found and cut; changes with `models.face_chip`
    metric: Literal["l2", "cosine"]
    calibration: PlainName


@dataclass(frozen=True, slots=True, kw_only=True)
class Pack:
    """A set of networks that work together under one contract."""

    __pydantic_config__ = _STRICT

    name: PlainName
    summary: str
    licence: str
    commercial_use: bool
    contract: Contract
    sources: Mapping[PlainName, Source]
    files: Mapping[PlainName, WeightsFile] = field(hash=False)

    def __post_init__(self) -> None:
        if self.contract.weights not in self.files:
            raise ValueError(f"the contract names {self.contract.weights!r}, which is no file")
        for role, file in self.files.items():
            for place in file.found_in:
                if place.source not in self.sources:
                    raise ValueError(f"{role} is found in {place.source!r}, which is no source")

    @property
    def contract_id(self) -> str:
        """The contract as templates carry it: ``network@weights+preprocessing.converter``."""
        contract = self.contract
        weights = self.files[contract.weights].sha256[:12]
        return f"{contract.network}@{weights}+{contract.preprocessing}.c{CONVERTER_VERSION}"

    @property
    def digest(self) -> str:
        """SHA-256 over everything that decides what the installed files are."""
        identity = {
            "contract": asdict(self.contract),
            "converter_version": CONVERTER_VERSION,
            "files": {role: [f.converter, f.sha256] for role, f in self.files.items()},
        }
        return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()


def read_packs(text: str) -> dict[str, Pack]:
    """Read packs in the form of `packs.toml`.

    Raises
    ------
    InputError
        If the text is no TOML, or a value is missing, unknown or malformed.
    """
    try:
        tables: dict[str, Any] = tomllib.loads(text).get("packs", {})
        return {name: _PACK.validate_python({"name": name, **t}) for name, t in tables.items()}
    except (tomllib.TOMLDecodeError, ValidationError, TypeError) as error:
        raise InputError(f"packs: {error}") from error


@cache
def _shipped() -> Mapping[str, Pack]:
    return read_packs(Path(__file__).with_name("packs.toml").read_text(encoding="utf-8"))


def load_packs() -> dict[str, Pack]:
    """Return the packs this version knows, by name."""
    return dict(_shipped())


def find_pack(name: str) -> Pack:
    """Return one of the known packs.

    Raises
    ------
    InputError
        If there is none of that name.
    """
    packs = load_packs()
    if name not in packs:
        raise InputError(f"no pack {name!r}; known are {', '.join(sorted(packs))}")
    return packs[name]


_PACK: Final = TypeAdapter(Pack)
