"""The benchmark of schedules: bulk is one-by-one, and the processes change no byte."""

from benchmarks.schedules import CHUNK, count_chunk, digest_of, packed, promise_of, run, table
from verifier.policy import default_policy
from verifier.schedule import PlannedPrompts, ScheduleParameters, commitment

POLICY = default_policy()
PARAMETERS = ScheduleParameters.of(POLICY.prompts)


def test_bulk_and_one_by_one_agree_to_the_byte() -> None:
    for number in (0, 1, 99_999):
        promise = promise_of(number, PARAMETERS, POLICY.digest)
        assert promise.committed == commitment(promise.secret, promise.header)
        plan = PlannedPrompts(seed=promise.seed, parameters=PARAMETERS).until(45 * 60)
        told = b"".join(round(1000 * p.offset_s).to_bytes(4, "big") + b"\0" for p in plan)
        assert packed(promise, 45) == promise.seed + told


def test_two_processes_and_this_one_agree_to_the_byte() -> None:
    """Each process is started anew and works everything out from nothing."""
    report = run(300, 45, 2)
    again = count_chunk(range(300), 45)
    assert (report["sessions"], report["prompts"]) == (again.sessions, again.prompts)
    assert report["digest"] == digest_of([again])
    assert report["digest"] in table(report)
    assert again.sessions < CHUNK


def test_the_digest_covers_every_session() -> None:
    assert count_chunk(range(20), 45).digest != count_chunk(range(1, 21), 45).digest
