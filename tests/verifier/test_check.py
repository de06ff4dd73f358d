"""The public evidence format: what is read, what is refused, what comes back."""

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from verifier.assurance import LearnerPath
from verifier.check import Challenge, Check, Outcome, SessionEvidence, parse_session
from verifier.errors import InvalidRecordError

# The example of the published format.
EXAMPLE = """{"session_id":"s1","planned_minutes":60.0,"duration_s":3600.0,
 "checks":[
  {"t":312.5,"prompted":true,"outcome":"captured","faces":1,"comparison_log10_lr":2.2,
   "pad_log10_lr":0.9,"challenge":{"kind":"turn_left","passed":true,"latency_s":2.9},
   "near_duplicate":false},
  {"t":800.0,"prompted":true,"outcome":"no_response"},
  {"t":1200.0,"prompted":false,"outcome":"no_face","faces":0}]}"""


def record(**changes: Any) -> dict[str, Any]:
    return {"session_id": "s1", "planned_minutes": 60, "duration_s": 3600, "checks": [], **changes}


def with_check(**changes: Any) -> dict[str, Any]:
    return record(checks=[{"t": 10, "prompted": True, "outcome": "captured", **changes}])


def test_the_published_example_is_read() -> None:
    evidence = parse_session(EXAMPLE)
    first, second, third = evidence.checks
    assert (evidence.session_id, evidence.duration_s) == ("s1", 3600.0)
    assert first == Check(
        t=312.5,
        prompted=True,
        outcome=Outcome.CAPTURED,
        faces=1,
        comparison_log10_lr=2.2,
        pad_log10_lr=0.9,
        challenge=Challenge(kind="turn_left", passed=True, latency_s=2.9),
        near_duplicate=False,
    )
    assert second.faces is None
    assert (third.prompted, third.faces) == (False, 0)
    assert json.loads(evidence.to_json()) == json.loads(EXAMPLE)


def test_pauses_are_written_where_there_are_any() -> None:
    """Records without them keep their bytes, which seed the score."""
    bare = parse_session(json.dumps(record()))
    assert "pauses" not in bare.to_json()
    assert parse_session(json.dumps(record(pauses=[]))) == bare
    paused = parse_session(json.dumps(record(pauses=[[0, 1.5], [1.5, 3600]])))
    assert list(paused.pauses) == [(0, 1.5), (1.5, 3600)]
    assert json.loads(paused.to_json())["pauses"] == [[0, 1.5], [1.5, 3600]]


def test_checks_are_sorted_on_reading() -> None:
    checks = [{"t": t, "prompted": True, "outcome": "unreadable"} for t in (9, 3, 6)]
    evidence = parse_session(json.dumps(record(checks=checks)))
    assert [check.t for check in evidence.checks] == [3, 6, 9]


def test_unknown_keys_are_kept_and_ignored() -> None:
    given_record = with_check(colour="red", challenge={"kind": "x", "passed": False, "n": [1]})
    given_record["课程"] = {"名称": "电工"}
    line = parse_session(json.dumps(given_record).encode()).to_json()
    assert json.loads(line) == json.loads(json.dumps(given_record))
    assert "电工" in line
    assert "\n" not in line


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ("", "JSON"),
        ("[]", "an object"),
        ("[" * 100_000, "JSON"),
        ('{"session_id":"a","session_id":"b"}', "twice"),
        (b'{"session_id":"\xff"}', "JSON"),
        (json.dumps(record(session_id="\ud800")), "JSON"),
        ("9" * 5000, "JSON"),
        (json.dumps(record(session_id=7)), "session_id is 7; a string"),
        (json.dumps(record(session_id="")), "session_id"),
        (json.dumps(record(duration_s=-1)), "duration_s"),
        (json.dumps(record(path="voice")), "path is 'voice'; one of face, non_face"),
        (json.dumps(record(path=1)), "path is 1; a string"),
        *(
            (json.dumps(record(pauses=pauses)), "pauses is")
            for pauses in (
                7,
                [7],
                [[1]],
                [[1, 2, 3]],
                [[1, "2"]],
                [[1, True]],
                [[2, 1]],
                [[1, 1]],
                [[-1, 2]],
                [[3599, 3601]],
                [[5, 7], [6, 8]],
                [[5, 7], [1, 2]],
                [[0, 1]] * 20_001,
            )
        ),
        (json.dumps(record(duration_s="3600")), "duration_s"),
        (json.dumps(record(planned_minutes=math.nan)), "NaN"),
        (json.dumps(record(checks=None)), "a list"),
        (json.dumps(record(checks=[3])), r"checks\[0\]"),
        (
            json.dumps(record(checks=with_check()["checks"] * 20_001)),
            "checks is 20001; 20000 or fewer",
        ),
        ('{"session_id":"a","planned_minutes":1,"duration_s":1}', "checks is missing"),
        (json.dumps(with_check(outcome="asleep")), "no_response"),
        (json.dumps(with_check(outcome=None)), "outcome"),
        (json.dumps(with_check(t=-0.5)), "t is -0.5"),
        (json.dumps(with_check(t=3600.5)), "at most duration_s"),
        (json.dumps(with_check(t=True)), "t is True"),
        (json.dumps(with_check(t=10**400)), "a finite number"),
        (json.dumps(with_check(prompted=1)), "true or false"),
        (json.dumps(with_check(comparison_log10_lr=math.inf)), "Infinity"),
        (json.dumps(with_check()).replace("10", "1e999"), "a finite number"),
        (json.dumps(with_check(pad_log10_lr="0.9")), "pad_log10_lr"),
        (json.dumps(with_check(faces=1.5)), "a whole number"),
        (json.dumps(with_check(faces=True)), "a whole number"),
        (json.dumps(with_check(faces=0)), "faces is 0"),
        (json.dumps(with_check(outcome="no_response", faces=1)), "faces is 1"),
        (json.dumps(with_check(outcome="no_face", faces=2)), "faces is 2"),
        (json.dumps(with_check(outcome="multiple_faces", faces=1)), "faces is 1"),
        (json.dumps(with_check(challenge="turn_left")), "challenge"),
        (json.dumps(with_check(challenge={"kind": "x"})), "passed is missing"),
        (
            json.dumps(with_check(challenge={"kind": "x", "passed": True, "latency_s": -1})),
            "latency_s",
        ),
    ],
)
def test_a_bad_line_is_refused_with_what_was_wanted(line: str | bytes, wanted: str) -> None:
    with pytest.raises(InvalidRecordError, match=wanted):
        parse_session(line)


def test_a_refusal_stays_short_whatever_was_sent() -> None:
    with pytest.raises(InvalidRecordError) as caught:
        parse_session(json.dumps(record(session_id=["x" * 100_000])))
    assert len(str(caught.value)) < 200


finite = st.floats(-1e9, 1e9)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
unknown = st.dictionaries(texts.map("x_".__add__), finite | texts | st.booleans(), max_size=2)
challenges = st.builds(
    Challenge, kind=texts, passed=st.booleans(), latency_s=st.none() | st.floats(0, 99)
)
checks = st.builds(
    Check,
    t=st.floats(0, 3600),
    prompted=st.booleans(),
    outcome=st.sampled_from(Outcome),
    comparison_log10_lr=st.none() | finite,
    pad_log10_lr=st.none() | finite,
    challenge=st.none() | challenges,
    near_duplicate=st.none() | st.booleans(),
    extra=unknown,
)


def in_pairs(times: list[float]) -> tuple[tuple[float, float], ...]:
    by_time = sorted(times)
    return tuple(zip(by_time[::2], by_time[1::2], strict=False))


sessions = st.builds(
    SessionEvidence,
    session_id=texts.filter(bool),
    planned_minutes=st.floats(0, 600),
    duration_s=st.just(3600.0),
    checks=st.lists(checks, max_size=4).map(tuple),
    started_at=st.none() | texts,
    learner_id=st.none() | texts,
    path=st.sampled_from(LearnerPath),
    pauses=st.lists(st.floats(0, 3600), max_size=6, unique=True).map(in_pairs),
    extra=unknown,
)


@given(evidence=sessions)
def test_what_is_written_is_read_back(evidence: SessionEvidence) -> None:
    assert parse_session(evidence.to_json()) == evidence
    assert parse_session(evidence.to_json().encode()).to_json() == evidence.to_json()
