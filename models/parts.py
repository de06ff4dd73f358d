"""The parts that a pack names, opened: which code runs which network.

Start with `open_parts`; `models.observer` joins what it returns. A new kind of detector, aligner
or embedder is a name in `models.packs` and a case here.
"""

from dataclasses import dataclass
from typing import Final, assert_never

from models.batching import BatchingNetwork
from models.blazeface import BACK, FULL, SHORT, BlazeFaceDetector
from models.embedder import ChipEmbedder
from models.face_chip import MeshAligner
from models.face_recognition_backend import FaceRecognitionLibrary, open_library
from models.installed_pack import InstalledPack
from models.mesh import BLAZEFACE_REGION, FaceMesher, RegionRule
from models.network import Network
from models.packs import AlignerName, DetectorName, EmbedderName
from models.sessions import OnnxSession, open_session
from models.sface import FivePointAligner, SfaceEmbedder
from models.yunet import YunetDetector
from verifier.errors import ModelUnavailableError
from verifier.protocols import FaceAligner, FaceDetector, FaceEmbedder

# Squares that lie where those of BlazeFace back lie: medians over 50 photographs of LFW.
_YUNET_REGION: Final = RegionRule(per_box=1.21, down=0.086)
_HOG_REGION: Final = RegionRule(per_box=1.46, down=0.057)


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenParts:
    """What an observer is made of."""

    detector: FaceDetector
    mesher: FaceMesher
    aligner: FaceAligner
    embedder: FaceEmbedder


def open_parts(pack: InstalledPack, threads: int = 1, *, batch_slots: int = 0) -> OpenParts:
    """Open the networks of an installed pack and the code that its parts name.

    Parameters
    ----------
    batch_slots
        How many batches of the embedder may run at once, where callers in several threads are to
        share them (`models.batching`); 0: everybody embeds alone.

    Raises
    ------
    ModelUnavailableError
        If the pack does not observe faces, lacks a network or library, or a file is not the one
        that was installed.
    """
    parts = pack.parts
    if parts.detector is None or parts.aligner is None or parts.embedder is None:
        raise ModelUnavailableError(f"pack {pack.name!r} does not observe faces")
    opener = _Opener(pack, threads, batch_slots)
    return OpenParts(
        detector=opener.detector(parts.detector),
        mesher=FaceMesher(open_session(pack, "mesh", threads), region_rule(parts.detector)),
        aligner=opener.aligner(parts.aligner),
        embedder=opener.embedder(parts.embedder),
    )


class _Opener:
    def __init__(self, pack: InstalledPack, threads: int, batch_slots: int) -> None:
        self._pack = pack
        self._threads = threads
        self._batch_slots = batch_slots
        self._library = None if pack.library is None else open_library(pack.library)

    def detector(self, name: DetectorName) -> FaceDetector:
        match name:
            case "blazeface-back":
                return BlazeFaceDetector(self._session("detector"), BACK)
            case "blazeface-short":
                return BlazeFaceDetector(self._session("detector"), SHORT)
            case "blazeface-full":
                return BlazeFaceDetector(self._session("detector"), FULL)
            case "yunet":
                return YunetDetector(self._session("detector"))
            case "face-recognition":
                return self._needed_library()
            case _:
                assert_never(name)

    def aligner(self, name: AlignerName) -> FaceAligner:
        match name:
            case "mesh25-chip150":
                return MeshAligner()
            case "five-points-112":
                return FivePointAligner()
            case "dlib-shape5-chip150":
                return self._needed_library()
            case _:
                assert_never(name)

    def embedder(self, name: EmbedderName) -> FaceEmbedder:
        contract_id = self._pack.contract_id
        match name:
            case "dlib-resnet":
                return ChipEmbedder(self._batching(self._session("embedder")), contract_id)
            case "sface":
                return SfaceEmbedder(self._session("embedder"), contract_id)
            case "face-recognition":
                return self._needed_library().embedder(contract_id)
            case _:
                assert_never(name)

    def _batching(self, network: Network) -> Network:
        return BatchingNetwork(network, self._batch_slots) if self._batch_slots else network

    def _session(self, role: str) -> OnnxSession:
        return open_session(self._pack, role, self._threads)

    def _needed_library(self) -> FaceRecognitionLibrary:
        if self._library is None:
            raise ModelUnavailableError(f"pack {self._pack.name!r} names no library")
        return self._library


def region_rule(detector: DetectorName) -> RegionRule:
    """Return where the mesh looks for the face in a box of this detector."""
    match detector:
        case "yunet":
            return _YUNET_REGION
        case "face-recognition":
            return _HOG_REGION
        case "blazeface-back" | "blazeface-short" | "blazeface-full":
            return BLAZEFACE_REGION
        case _:
            assert_never(detector)
