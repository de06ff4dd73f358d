"""Opens the networks of an installed pack in ONNX Runtime.

A file is read once; the digest is taken of those very bytes, and the session is built from them,
so nobody can swap the file between the check and the use.
"""

import hashlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from models.installed_pack import InstalledPack
from verifier.arrays import Float32Array
from verifier.errors import ModelUnavailableError

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

# The one dimension that may change from call to call without costing speed.
_BATCH: Final = "n"

# A detector fed pictures of longer side 256 in steps of 32 sees at most 15 sizes. Beyond this many
# the general session serves, so that odd sizes cost time but never memory without bound.
_MOST_SIZES: Final = 16

_Sizes: TypeAlias = tuple[tuple[str, int], ...]


def open_session(pack: InstalledPack, role: str, threads: int = 1) -> "OnnxSession":
    """Open the network that plays ``role`` in an installed pack.

    Raises
    ------
    ModelUnavailableError
        If the pack has no such role, or the file is not the one that was installed.
    """
    if role not in pack.files:
        raise ModelUnavailableError(f"pack {pack.name} has no {role!r}, it has {list(pack.files)}")
    file = pack.files[role]
    return OnnxSession(read_verified(file.path, file.sha256), threads=threads)


def read_verified(path: Path, sha256: str) -> bytes:
    """Return the bytes of a file after checking their digest.

    Raises
    ------
    ModelUnavailableError
        If the file cannot be read or has another SHA-256.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ModelUnavailableError(f"{path.name}: {error.strerror}") from error
    seen = hashlib.sha256(data).hexdigest()
    if seen != sha256:
        raise ModelUnavailableError(f"{path.name}: sha256 {seen[:12]}, wanted {sha256[:12]}")
    return data


class OnnxSession:
    """One network on the CPU, safe to call from several threads.

    Where a network leaves more free than its batch size (the detector: height and width), a
    session of its own is built for each size it meets: with the size known ONNX Runtime plans its
    memory ahead, which makes the detector a fifth faster. Building one takes some 30 ms, once.
    """

    def __init__(self, model: bytes, threads: int = 1) -> None:
        self._model = model
        self._threads = threads
        self._general = _build(model, threads, ())
        self._free = {
            port.name: [
                (axis, name)
                for axis, name in enumerate(port.shape)
                if isinstance(name, str) and name != _BATCH
            ]
            for port in self._general.get_inputs()
        }
        self._by_size: dict[_Sizes, InferenceSession] = {(): self._general}
        self._lock = Lock()

    def run(self, outputs: Sequence[str], inputs: Mapping[str, Float32Array]) -> list[Float32Array]:
        """Return the named outputs, in that order, for float32 inputs by name."""
        session = self._session_for(inputs)
        results: list[Float32Array] = session.run(list(outputs), dict(inputs))
        return results

    def _session_for(self, inputs: Mapping[str, Float32Array]) -> "InferenceSession":
        sizes = tuple(
            (dimension, inputs[name].shape[axis])
            for name, free in self._free.items()
            for axis, dimension in free
        )
        with self._lock:
            if sizes not in self._by_size and len(self._by_size) <= _MOST_SIZES:
                self._by_size[sizes] = _build(self._model, self._threads, sizes)
            return self._by_size.get(sizes, self._general)


def quiet_runtime() -> Any:
    """Import ONNX Runtime so that it reports to nobody, and return it.

    From 1.29 on it lays a device id into the user's cache folder and sends its maker which models
    are opened, unless this variable is set before the first import. So nothing else here may
    import it, and the import cannot stand at the top of the file.
    """
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    import onnxruntime  # noqa: PLC0415  # see above

    return onnxruntime


def _build(model: bytes, threads: int, sizes: _Sizes) -> "InferenceSession":
    onnxruntime = quiet_runtime()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    # A waiting thread that spins takes the core from the web server beside it.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3  # errors only
    for dimension, size in sizes:
        options.add_free_dimension_override_by_name(dimension, size)
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
