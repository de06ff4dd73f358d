"""A calibration as a document: what it says of a score, its name, and what it refuses to be."""

import json
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.packs import load_packs
from tests.fakes import CALIBRATION, CALIBRATION_DATA, CONTRACT
from verifier.calibration import (
    DEFAULT_CALIBRATION,
    FORMAT,
    MOST_BYTES,
    Calibration,
    CalibrationData,
    Metric,
    Uncalibrated,
    default_calibration,
    parse_calibration,
)
from verifier.errors import (
    ContractMismatchError,
    InputError,
    InvalidEvidenceError,
    InvalidRecordError,
)

KNOWN = replace(CALIBRATION, name="涪陵 2026")

finite = st.floats(allow_nan=False, allow_infinity=False)
calibrations = st.builds(
    Calibration,
    name=st.text(st.characters(codec="utf-8", categories=["L", "N"]), min_size=1, max_size=20),
    made_on=st.dates(),
    contract_id=st.just(CONTRACT),
    metric=st.sampled_from(Metric),
    slope=st.floats(1e-3, 1e3),
    intercept=st.floats(-1e3, 1e3),
    min_log10_lr=st.floats(-6, -1e-3),
    max_log10_lr=st.floats(1e-3, 6),
    cap_reason=st.just("made up"),
    data=st.just(CALIBRATION_DATA),
    extra=st.dictionaries(st.sampled_from(["note", "later"]), st.integers(-9, 9) | st.text()),
)


def record(**changes: Any) -> dict[str, Any]:
    """Return the public record of ``KNOWN``, changed at the top."""
    return {**KNOWN.to_json(), **changes}


def data_record(**changes: Any) -> dict[str, Any]:
    """Return the record changed in its ``data``."""
    return record(data={**CALIBRATION_DATA.to_json(), **changes})


def test_a_known_document() -> None:
    assert KNOWN.document().decode() == (
        '{"cap_reason":"made up","contract_id":"made-up-network@0123",'
        '"data":{"mated":900,"mated_subjects":300,"non_mated":44850,"sha256":"' + "5c" * 32 + '",'
        '"subject_pairs":44850,"subjects":300},"format":"zhenxue/calibration/v1","intercept":-5,'
        '"made_on":"2026-03-01","max_log10_lr":2,"metric":"l2","min_log10_lr":-2,'
        '"name":"涪陵 2026","slope":10}'
    )
    assert KNOWN.calibration_id == (
        "9f5ead991581ff35ae5ef1cfbe34a2a9b386aab806cba83345e4e7e6d004de3b"
    )
    assert KNOWN.label == f"涪陵 2026@{KNOWN.calibration_id[:12]}"


@given(calibration=calibrations)
def test_a_document_read_again_is_the_same_calibration(calibration: Calibration) -> None:
    again = parse_calibration(calibration.document())
    assert again == calibration
    assert again.calibration_id == calibration.calibration_id


def test_the_id_is_worked_out_once_and_anew_for_another_document() -> None:
    assert KNOWN.calibration_id is KNOWN.calibration_id
    other = replace(KNOWN, slope=11.0)
    assert other.calibration_id != KNOWN.calibration_id
    assert other.calibration_id == parse_calibration(other.document()).calibration_id
    assert "calibration_id" not in repr(KNOWN)


def test_a_document_has_a_longest_size() -> None:
    """Also in its canonical spelling, in which it is kept and read again: 1e20 has 21 digits."""
    document = KNOWN.document()
    longest = document + b" " * (MOST_BYTES - len(document))
    assert parse_calibration(longest) == KNOWN
    assert parse_calibration(longest.decode()) == KNOWN
    for text in (longest + b" ", longest.decode() + " "):
        with pytest.raises(InvalidRecordError, match=f"at most {MOST_BYTES}"):
            parse_calibration(text)
    spelt_short = record(later=["BIG"] * 5_000)
    short = json.dumps(spelt_short).replace('"BIG"', "1e20").encode()
    assert len(short) < MOST_BYTES
    with pytest.raises(InvalidRecordError, match=f"at most {MOST_BYTES}"):
        parse_calibration(short)


def test_layout_does_not_matter_and_values_do() -> None:
    loose = json.dumps(KNOWN.to_json(), indent=4, ensure_ascii=True)
    assert parse_calibration(loose).calibration_id == KNOWN.calibration_id


def test_any_change_of_a_byte_is_another_calibration_or_none() -> None:
    """Every byte of the document changed to each of a few others."""
    document = KNOWN.document()
    for at in range(len(document)):
        for other in b'0159az"-. {':
            changed = document[:at] + bytes([other]) + document[at + 1 :]
            if changed == document:
                continue
            try:
                read = parse_calibration(changed)
            except InvalidRecordError:
                continue
            assert read.calibration_id != KNOWN.calibration_id, changed


def test_keys_of_a_later_version_are_kept_and_count() -> None:
    """An approval covers every word, also those that this version does not understand."""
    text = json.dumps(data_record(cameras=3) | {"note": "autumn"})
    read = parse_calibration(text)
    assert (read.extra, read.data.extra) == ({"note": "autumn"}, {"cameras": 3})
    assert read.log10_lr(0.6) == KNOWN.log10_lr(0.6)
    assert read.calibration_id != KNOWN.calibration_id
    assert parse_calibration(read.document()) == read


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (record(format="zhenxue/calibration/v2"), FORMAT),
        (record(metric="euclid"), "one of l2, cosine"),
        (record(made_on="yesterday"), "an ISO 8601 date"),
        (record(slope=-1.0), "a rising one"),
        (record(slope="10"), "a number"),
        (record(max_log10_lr=6.1), "at most 6 away"),
        (record(min_log10_lr=0), "around 0"),
        (record(name=" "), "name"),
        (record(name="a\x1b[31m"), "printable"),
        (record(name="a" * 201), "1 to 200"),
        (record(data=None), "data is null"),
        (record(later=2**60), "2\\*\\*53"),
        (data_record(subjects=2.5), "a whole number"),
        (data_record(subjects=0), "a whole number"),
        (data_record(mated=True), "a number"),
        (data_record(mated_subjects=301), "301 mated subjects"),
        (data_record(subject_pairs=44_851), "44851 pairs of people"),
        (data_record(sha256="5C" * 32), "64 hexadecimal"),
        ({name: value for name, value in record().items() if name != "data"}, "data is missing"),
        ([], "an object"),
    ],
)
def test_a_document_that_breaks_the_format_says_where(changed: object, message: str) -> None:
    with pytest.raises(InvalidRecordError, match=message):
        parse_calibration(json.dumps(changed))


@given(calibration=calibrations, low=finite, high=finite)
def test_more_alike_is_never_less_evidence_and_never_beyond_the_caps(
    calibration: Calibration, low: float, high: float
) -> None:
    low, high = sorted((low, high))
    ratios = calibration.log10_lr(low), calibration.log10_lr(high)
    assert calibration.min_log10_lr <= ratios[0] <= ratios[1] <= calibration.max_log10_lr


@given(calibration=calibrations, scores=st.lists(st.floats(-10, 10)))
def test_many_scores_say_what_each_of_them_does(
    calibration: Calibration, scores: list[float]
) -> None:
    each = [calibration.log10_lr(score) for score in scores]
    assert calibration.log10_lrs(np.array(scores)).tolist() == each


@given(calibration=calibrations, share=st.floats(0, 1))
def test_the_score_of_a_ratio_has_that_ratio(calibration: Calibration, share: float) -> None:
    spread = calibration.max_log10_lr - calibration.min_log10_lr
    wanted = calibration.min_log10_lr + share * spread
    got = calibration.log10_lr(calibration.score_at(wanted))
    assert got == pytest.approx(wanted, abs=1e-9)


def test_caps_follow_the_rule_of_three_on_people() -> None:
    """300 people are 44,850 pairs: 44850/3 is 10**4.17, 300/3 is 10**2."""
    assert CALIBRATION_DATA.most_log10_lr == pytest.approx(math.log10(14_950))
    assert CALIBRATION_DATA.least_log10_lr == pytest.approx(-2)
    assert not KNOWN.exceeds_its_data
    assert replace(KNOWN, min_log10_lr=-2.001).exceeds_its_data
    assert replace(KNOWN, max_log10_lr=4.2).exceeds_its_data


def test_the_default_names_its_five_people_and_takes_its_caps_elsewhere() -> None:
    assert DEFAULT_CALIBRATION.data.subjects == 5
    assert DEFAULT_CALIBRATION.exceeds_its_data


def test_only_the_built_in_caps_may_exceed_their_data() -> None:
    KNOWN.require_supported(None)
    DEFAULT_CALIBRATION.require_supported(DEFAULT_CALIBRATION)
    for other in (None, KNOWN):
        with pytest.raises(InputError, match=r"caps of -2 and 1.959; .* at least -0.222"):
            DEFAULT_CALIBRATION.require_supported(other)
    assert "3,000" in DEFAULT_CALIBRATION.cap_reason
    assert parse_calibration(DEFAULT_CALIBRATION.document()) == DEFAULT_CALIBRATION


def test_only_the_default_pack_has_a_built_in_calibration() -> None:
    default = load_packs()["default"]
    assert default_calibration(default.contract_id) is DEFAULT_CALIBRATION
    assert default.contract is not None
    DEFAULT_CALIBRATION.require_fits(default.contract_id, Metric(default.contract.metric))
    assert default_calibration("other@1") is None


def test_contracts_and_metrics_are_not_mixed() -> None:
    uncalibrated = Uncalibrated(contract_id=CONTRACT, metric=Metric.L2)
    for calibration in (KNOWN, uncalibrated):
        calibration.require_fits(CONTRACT, Metric.L2)
        with pytest.raises(ContractMismatchError, match="templates of other@1"):
            calibration.require_fits("other@1", Metric.L2)
        with pytest.raises(ContractMismatchError, match="l2 scores, these are cosine"):
            calibration.require_fits(CONTRACT, Metric.COSINE)


def test_without_a_calibration_no_score_says_anything() -> None:
    uncalibrated = Uncalibrated(contract_id=CONTRACT, metric=Metric.COSINE)
    assert uncalibrated.calibration_id is None
    assert uncalibrated.label == uncalibrated.name == "uncalibrated"


@pytest.mark.parametrize("change", [{"subjects": 0}, {"mated": -1}, {"sha256": "ab"}])
def test_data_are_counted(change: dict[str, Any]) -> None:
    with pytest.raises(InvalidEvidenceError):
        replace(CALIBRATION_DATA, **change)


def test_data_of_two_people() -> None:
    """The smallest that can be: two people, one of them twice."""
    data = CalibrationData(
        subjects=2, mated_subjects=1, subject_pairs=1, mated=1, non_mated=1, sha256="0" * 64
    )
    assert data.to_json()["subjects"] == 2
