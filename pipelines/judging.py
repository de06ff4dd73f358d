"""Which answers are being judged at this moment, in this process."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock


class Judging:
    """Answers that arrived and are not judged yet: their prompts must not be missed meanwhile.

    Not shared between processes, and need not be: an answer dies with the process that judges it.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._going_on: Counter[str] = Counter()

    @contextmanager
    def of(self, prompt_id: str) -> Iterator[None]:
        """Mark an answer to this prompt as being judged."""
        with self._lock:
            self._going_on[prompt_id] += 1
        try:
            yield
        finally:
            with self._lock:
                self._going_on[prompt_id] -= 1
                if not self._going_on[prompt_id]:
                    del self._going_on[prompt_id]

    def goes_on(self, prompt_id: str) -> bool:
        """Say whether an answer to this prompt is being judged."""
        with self._lock:
            return prompt_id in self._going_on
