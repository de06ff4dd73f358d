"""An evaluation from pictures to page, on faces whose vectors are known."""

import json
import re
from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
import pytest

from pipelines.evaluation import data_digest, evaluate
from pipelines.evaluation_report import evaluation_page
from pipelines.evaluation_result import Evaluation
from pipelines.face_pairs import embed_pictures, score_pairs
from pipelines.picture_lists import PictureList, read_folder, read_pairs
from tests.fakes import CALIBRATION
from tests.pipelines.made_up_faces import NOBODY, ColourObserver, save_face
from verifier.calibration import Calibration, Metric, Uncalibrated
from verifier.errors import ContractMismatchError
from verifier.likelihood_cost import cllr

KEYS = ["subjects", "mated", "non_mated", "fta", "eer", "fnmr_at", "cllr", "min_cllr"]


def crowd(folder: Path, *, people: int = 8, pictures: int = 5, spread: int = 12) -> PictureList:
    """Save people 20 apart whose pictures differ by up to ``spread``, and one without a face."""
    generator = np.random.default_rng(5)
    for person in range(people):
        for number in range(pictures):
            red = 20 * person + int(generator.integers(spread))
            save_face(folder / f"p{person}" / f"{number}.png", red=red, green=number)
    save_face(folder / "p0" / "nobody.png", red=0, blue=NOBODY)
    return read_folder(folder)


def evaluated(
    listed: PictureList, *, calibration: Calibration | Uncalibrated | None = None, rounds: int = 50
) -> Evaluation:
    embedded = embed_pictures(listed.pictures, ColourObserver())
    scored = score_pairs(embedded, listed, metric=Metric.L2)
    return evaluate(listed, embedded, scored, calibration=calibration, rounds=rounds)


def test_the_public_keys_come_first_and_hold_plain_numbers(tmp_path: Path) -> None:
    document = evaluated(crowd(tmp_path), calibration=CALIBRATION).to_json()
    assert list(document)[: len(KEYS)] == KEYS
    assert [document[key] for key in KEYS[:4]] == [8, 80, 700, 1]
    assert list(document["fnmr_at"]) == ["0.01", "0.001", "0.0001"]
    assert {"value", "low", "high"} <= document["eer"].keys()
    assert document["images"] == 41
    assert document["not_compared"] == {"mated": 5, "non_mated": 35, "identical": 0}
    assert document["contract"] == CALIBRATION.contract_id
    assert document["calibration"] == CALIBRATION.label
    assert json.loads(json.dumps(document, allow_nan=False)) == document


def test_rates_of_overlapping_people(tmp_path: Path) -> None:
    found = evaluated(crowd(tmp_path, spread=40))
    scored, at = found.scored, found.fnmr_at[0]
    threshold, value, low, high = measured(at.threshold, at.rate.value, at.rate.low, at.rate.high)
    assert value == pytest.approx((scored.score[scored.mated] < threshold).mean())
    assert (scored.score[~scored.mated] >= threshold).mean() <= 0.01
    assert low <= value <= high
    assert [each.rate.value is None for each in found.fnmr_at] == [False, True, True]


def measured(*numbers: float | None) -> list[float]:
    """Return the numbers, of which none may be missing."""
    assert None not in numbers
    return [number for number in numbers if number is not None]


def test_without_errors_there_is_a_bound_and_no_zero(tmp_path: Path) -> None:
    found = evaluated(crowd(tmp_path, spread=1))
    rates = [found.eer, found.fnmr_at[0].rate]
    assert [(rate.value, rate.low, rate.high) for rate in rates] == 2 * [(None, 0.0, 3 / 16)]


def test_one_error_says_no_more_than_none(tmp_path: Path) -> None:
    """8 people, 4 pictures each: 16 mated comparisons share no picture."""
    listed = crowd(tmp_path, people=8, pictures=4, spread=1)
    embedded = embed_pictures(listed.pictures, ColourObserver())
    none = score_pairs(embedded, listed, metric=Metric.L2)
    score = none.score.copy()
    score[np.flatnonzero(none.mated)[0]] = score.min() - 1
    bounds = [
        evaluate(listed, embedded, scored, rounds=50).eer.high
        for scored in (none, replace(none, score=score))
    ]
    without, with_one = measured(*bounds)
    assert without == pytest.approx(3 / 16)
    assert with_one > without


def test_listed_pairs_that_share_a_picture_count_once(tmp_path: Path) -> None:
    """Each person's first picture with three others: nobody has two comparisons apart."""
    crowd(tmp_path, pictures=4, spread=1)
    rows = [f"p{n}/0.png,p{n}/{k}.png,1" for n in range(8) for k in (1, 2, 3)]
    rows += [f"p{n}/{k}.png,p{(n + 1) % 8}/0.png,0" for n in range(8) for k in range(4)]
    (tmp_path / "pairs.csv").write_text("\n".join(["a,b,mated", *rows]))
    assert evaluated(read_pairs(tmp_path / "pairs.csv")).eer.high == pytest.approx(3 / 8)


def test_cllr_is_that_of_each_pairs_own_ratio(tmp_path: Path) -> None:
    found = evaluated(crowd(tmp_path), calibration=CALIBRATION)
    scored = found.scored
    ratios = np.array([CALIBRATION.log10_lr(float(score)) for score in scored.score])
    assert found.cllr == pytest.approx(cllr(ratios[scored.mated], ratios[~scored.mated]))
    assert found.cllr_interval is not None
    (value,) = measured(found.cllr)
    assert found.cllr_interval[0] <= value <= found.cllr_interval[1]
    assert found.min_cllr <= value


@pytest.mark.parametrize(
    "calibration",
    [None, Uncalibrated(contract_id=CALIBRATION.contract_id, metric=CALIBRATION.metric)],
)
def test_without_a_calibration_there_is_no_cllr(
    tmp_path: Path, calibration: Uncalibrated | None
) -> None:
    found = evaluated(crowd(tmp_path), calibration=calibration)
    assert (found.cllr, found.cllr_interval, found.calibration) == (None, None, None)
    assert found.notes[-1].english.startswith("no calibration for this contract")


def test_a_calibration_of_another_contract_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ContractMismatchError):
        evaluated(crowd(tmp_path), calibration=replace(CALIBRATION, contract_id="other@0"))


def test_too_few_people_give_no_interval(tmp_path: Path) -> None:
    found = evaluated(crowd(tmp_path, people=4, spread=40))
    assert (found.eer.low, found.eer.high, found.rounds) == (None, None, 0)
    assert found.notes[0].english == "4 people with mated pairs: no intervals, 5 wanted"


def test_inferred_people_are_told(tmp_path: Path) -> None:
    crowd(tmp_path)
    rows = [f"p{n}/0.png,p{n}/1.png,1\np{n}/0.png,p{(n + 1) % 8}/1.png,0" for n in range(8)]
    (tmp_path / "pairs.csv").write_text("\n".join(["a,b,mated", *rows]))
    found = evaluated(read_pairs(tmp_path / "pairs.csv"))
    assert (found.subjects, found.mated, found.non_mated) == (8, 8, 8)
    assert "people follow from mated pairs" in found.notes[1].english


def test_the_digest_names_what_was_compared_and_not_how_it_was_called(tmp_path: Path) -> None:
    def digest(listed: PictureList) -> str:
        return data_digest(listed, embed_pictures(listed.pictures, ColourObserver()))

    first = digest(crowd(tmp_path / "one"))
    (tmp_path / "one" / "p3").rename(tmp_path / "one" / "a renamed person")
    assert digest(read_folder(tmp_path / "one")) == first
    (tmp_path / "one" / "p4" / "0.png").rename(tmp_path / "one" / "p5" / "another.png")
    assert digest(read_folder(tmp_path / "one")) != first


def test_the_page_stands_alone_and_says_what_it_rests_on(tmp_path: Path) -> None:
    folder = tmp_path / "<b>班级"
    folder.mkdir()
    found = evaluated(crowd(folder), calibration=CALIBRATION)
    page = evaluation_page(found, date(2026, 11, 23))
    assert page == evaluation_page(found, date(2026, 11, 23))
    assert not re.search(r"(?:src|href)=\"(?!data:image/png;base64,)", page)
    assert page.count("data:image/png;base64,") == 2  # the curves; no photograph
    for text in (
        *("错误率", "error rates", "未测得 not measured", "&lt;b&gt;班级"),
        *(CALIBRATION.calibration_id, CALIBRATION.contract_id, found.data_sha256),
        *("采集失败 FTA", "1 / 41 (no_face 1)", "2026-11-23", found.notes[0].chinese),
    ):
        assert text in page
    assert "<b>" not in page


def test_a_page_of_useless_scores_can_be_drawn(tmp_path: Path) -> None:
    """All scores equal: no operating point is left to draw, and no width of a histogram."""
    found = evaluated(crowd(tmp_path))
    flat = replace(found.scored, score=np.zeros_like(found.scored.score))
    useless = evaluate(found.listed, found.embedded, flat, rounds=5)
    assert useless.eer.value == pytest.approx(0.5)
    assert "50 %" in evaluation_page(useless, date(2026, 11, 23))
