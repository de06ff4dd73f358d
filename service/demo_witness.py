"""A witness for the demo: its own key, folder and server; only the machine it shares."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pipelines.witness import Witness, add_log, create_witness
from service.http.server import listen, serve_in_thread
from service.witness_app import create_witness_app
from verifier.protocols import Clock
from verifier.transparency.note import NoteVerifier

WITNESS_NAME: Final = "witness.demo.zhenxue.example"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningWitness:
    """A witness's public key and address, as the setting ``witnesses`` takes them."""

    vkey: str
    url: str

    @property
    def setting(self) -> str:
        """The pair as one text."""
        return f"{self.vkey} {self.url}"


@contextmanager
def run_witness(folder: Path, log: NoteVerifier, clock: Clock) -> Iterator[RunningWitness]:
    """Make a witness of ``log`` in ``folder`` and run it for as long as the context lasts."""
    vkey = create_witness(folder, WITNESS_NAME).vkey
    add_log(folder, log)
    with (
        Witness.open(folder, clock=clock) as witness,
        listen("127.0.0.1", 0) as bound,
        serve_in_thread(create_witness_app(witness), bound) as url,
    ):
        yield RunningWitness(vkey=vkey, url=url)
