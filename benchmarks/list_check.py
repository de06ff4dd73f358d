"""How many subjects a second one client learns about: ``POST /v1/lists/check`` in large batches."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final

from benchmarks.load import Post, Reply, send_all
from benchmarks.percentiles import percentiles
from benchmarks.served_process import ServedProcess
from pipelines.simulate.http_caller import HttpCaller
from verifier.errors import VerifierError

BATCH: Final = 1000
LISTED: Final = 20
"""Institutions on the black list, every tenth of those asked about until all are placed."""


def measure_list_check(
    service: ServedProcess, api_key: str, learner_ids: Sequence[str], batches: int
) -> dict[str, Any]:
    """Ask again and again about the platform's learners and about institutions.

    Raises
    ------
    VerifierError
        If a question is refused, or an institution on the list is not found there.
    """
    _blacklist(service)
    question = Post(path="/v1/lists/check", body=_question(learner_ids))
    replies = send_all(service.url, api_key, [question] * batches, clients=1)
    _require_answered(replies)
    latencies_ms = [1e3 * reply.latency_s for reply in replies]
    return {
        "batches": batches,
        "subjects_per_s": BATCH * batches / replies[-1].done_s,
        "latency_ms": percentiles(latencies_ms),
    }


def _question(learner_ids: Sequence[str]) -> bytes:
    learners = [{"kind": "learner", "id": each} for each in learner_ids[: BATCH // 2]]
    others = range(BATCH - len(learners))
    subjects = [*learners, *({"kind": "institution", "id": _institution(n)} for n in others)]
    return json.dumps({"subjects": subjects}, separators=(",", ":")).encode()


def _blacklist(service: ServedProcess) -> None:
    """Have one officer propose entries and another approve them."""
    one, other = (service.command("keys", "officer", name) for name in ("officer 1", "officer 2"))
    with HttpCaller(service.url, one) as proposing, HttpCaller(service.url, other) as approving:
        for number in range(LISTED):
            entry = {
                "list_name": "black",
                "subject_kind": "institution",
                "subject_id": _institution(10 * number),
                "reason_code": "proxy_attendance",
            }
            entry_id = proposing.post("/v1/lists/entries", entry)["entry_id"]
            approving.post(f"/v1/lists/entries/{entry_id}/approval")


def _institution(number: int) -> str:
    return f"school-{number:06}"


def _require_answered(replies: Sequence[Reply]) -> None:
    statuses = Counter(reply.status for reply in replies)
    if set(statuses) != {200}:
        raise VerifierError(f"the list check gave {dict(statuses)}; 200 was wanted each time")
    results: Sequence[Mapping[str, Any]] = json.loads(replies[0].body)["results"]
    found = sum(result["listed"] is not None for result in results)
    if found != LISTED:
        raise VerifierError(f"{found} subjects were on a list; {LISTED} were wanted")
