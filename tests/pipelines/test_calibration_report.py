"""The report: what it warns of, what a program reads, and a page without photographs."""

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import date

import numpy as np
import pytest

from pipelines.calibration import fit_calibration
from pipelines.calibration_page import page
from pipelines.calibration_rates import CountedRate, GroupNames, RateName, measure_rates
from pipelines.calibration_report import CalibrationReport, Counts
from pipelines.face_pairs import ScoredPairs
from tests.pipelines.score_sets import score_set
from verifier.measured_rate import measured_rate


def report(
    scored: ScoredPairs, groups: Mapping[str, GroupNames] | None = None, name: str = "site"
) -> CalibrationReport:
    fitted = fit_calibration(
        scored, name=name, made_on=date(2026, 11, 23), allow_few=True, rounds=20
    )
    return CalibrationReport(
        fitted=fitted,
        rates=measure_rates(scored, fitted.calibration, groups=groups),
        scored=scored,
        counts=Counts(folder="faces", pictures=40, fta=1, unfit=2, identical=3, ungrouped_rows=0),
        has_groups=groups is not None,
    )


def codes(made: CalibrationReport) -> list[str]:
    return [code for code, _ in made.warnings]


@pytest.mark.parametrize(
    ("people", "warned_of"),
    [
        (5, ["FEW_PEOPLE", "NO_MATCH_POSSIBLE", "NO_MISMATCH_POSSIBLE"]),
        (12, ["NO_MISMATCH_POSSIBLE"]),
        (170, []),
    ],
)
def test_what_few_people_rule_out_is_said(people: int, warned_of: list[str]) -> None:
    assert codes(report(score_set(people, 2, d_prime=5.0))) == warned_of


def test_a_line_that_does_not_fit_is_said() -> None:
    """Every fortieth impostor looks like the enrolled person: no upper cap of 100 is true."""
    scored = score_set(30, 3)
    doubles = ~scored.mated & (np.arange(len(scored.score)) % 40 == 0)
    # Twins: what the straight line takes for the strongest evidence.
    twins = replace(scored, score=np.where(doubles, 0.9, scored.score))
    assert "UPPER_CAP_OVERCLAIMS" in codes(report(twins))
    assert "UPPER_CAP_OVERCLAIMS" not in codes(report(scored))


def test_how_far_a_cap_overclaims_is_said_however_small() -> None:
    """40 of a million above a cap that allows for one in a million."""
    made = report(score_set(12, 2))
    scored = taken_to_a_million(made.scored)
    high = replace(made.fitted.calibration, max_log10_lr=6.0, slope=20.0, intercept=0.0)
    boundless = replace(made, scored=scored, fitted=replace(made.fitted, calibration=high))
    ((chinese, english),) = (
        texts for code, texts in boundless.warnings if code == "UPPER_CAP_OVERCLAIMS"
    )
    assert "0.004 % 的比对越过上下限，按其含义至多 0.0001 %" in chinese
    assert "0.004 % of comparisons lie beyond a cap that allows for 0.0001 %" in english


def taken_to_a_million(scored: ScoredPairs) -> ScoredPairs:
    """Return a million non-mated comparisons and one mated; 40 of the former have a score of 1."""
    chosen = np.repeat(np.flatnonzero(~scored.mated)[:1], 1_000_000)
    many = scored.taken(np.append(chosen, np.flatnonzero(scored.mated)[:1]))
    return replace(many, score=(np.arange(1_000_001) < 40).astype(np.float64))


def test_a_group_that_is_wronged_is_named_in_both_tongues() -> None:
    scored = score_set(40, 3, d_prime=6.0)
    sex = ["男" if picture < 60 else "女" for picture in range(120)]
    wronged = scored.mated & (scored.picture_a < 60)
    made = report(replace(scored, score=scored.score - 0.25 * wronged), {"sex": sex})
    (texts,) = (texts for code, texts in made.warnings if code == "GROUP_DIFFERS")
    assert re.search(r"性别「男」的错误不匹配率是各组几何平均的 [\d.]+ 倍", texts[0])
    assert re.search(r"FNMR of sex “男” is [\d.]+ times the geometric mean", texts[1])


def test_a_program_reads_the_document_the_counts_and_null_for_what_is_not_known() -> None:
    sex = ["m"] * 18 + ["f"] * 6
    made = report(score_set(12, 2), {"sex": sex})
    read = json.loads(json.dumps(made.to_json(), allow_nan=False))
    assert read["calibration"] == made.fitted.calibration.to_json()
    assert read["calibration_id"] == made.fitted.calibration.calibration_id
    assert read["slope"]["low"] <= read["slope"]["value"] <= read["slope"]["high"]
    assert [limit["limit"] for limit in read["limits"]] == ["match", "no_match"]
    few, many = read["groups"]
    assert (few["people"], few["fmr"], few["fnmr"]) == (3, None, None)
    assert many["fnmr"]["trials"] == 9
    assert (read["fta"], read["unfit"], read["identical"]) == (1, 2, 3)


def test_the_page_needs_nothing_else_and_shows_nobody() -> None:
    made = report(score_set(12, 2), {"sex": ["m"] * 18 + ["f"] * 6}, name="<b>site</b>")
    html = page(made)
    assert made.fitted.calibration.calibration_id in html
    assert "&lt;b&gt;site&lt;/b&gt;" in html
    assert "<b>site" not in html
    # One picture, drawn here; nothing is fetched, and nobody's name is on it.
    assert re.findall(r'src="([^,"]*)', html) == ["data:image/png;base64"]
    assert not re.search(r"https?://|person \d", html)
    assert "人数太少" in html
    assert "尚未生效" in html


def with_rate(made: CalibrationReport, errors: int) -> CalibrationReport:
    """Return the report with so many false matches in a million, of 500,000 pairs of people."""
    match, no_match = made.rates.limits
    rate = CountedRate(
        errors=errors,
        trials=1_000_000,
        people=500_000,
        measured=measured_rate(
            errors / 1e6,
            (2e-5, 7e-5),
            errors=errors,
            trials=1_000_000,
            people=500_000,
            kind="false matches",
        ),
    )
    changed = replace(match, rates={**match.rates, RateName.FMR: rate})
    return replace(made, rates=replace(made.rates, limits=(changed, no_match)))


def test_a_small_rate_is_not_printed_as_none() -> None:
    made = report(score_set(12, 2))
    some, none = page(with_rate(made, errors=40)), page(with_rate(made, errors=0))
    assert "<b>0.004 %</b>" in some
    assert "0.002 % – 0.007 %" in some
    assert "<b>未测得 not measured</b>" in none
    assert "&lt; 0.0006 %" in none  # three in as many pairs of people


def test_the_page_says_that_no_groups_were_given() -> None:
    assert "未提供分组" in page(report(score_set(12, 2)))
