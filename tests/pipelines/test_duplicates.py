"""Whether the search can find anybody at all: a gentle line and many faces make it blind."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from pipelines.duplicates import DuplicateSearch
from pipelines.gallery import Gallery
from pipelines.keystore import KeyStore
from pipelines.sealed_template import TemplateSealer
from tests.fakes import CALIBRATION, CONTRACT
from tests.memory_store import MemoryStore
from verifier.calibration import Metric
from verifier.comparison import Template
from verifier.policy import default_policy
from verifier.policy_groups import DuplicateRules


def search_among(count: int, folder: Path, rules: DuplicateRules) -> DuplicateSearch:
    gallery = Gallery(CONTRACT, Metric.L2, block_rows=max(1, count))
    for number in range(count):
        vector = np.array([number, 0, 0], np.float32)
        gallery.add(f"learner-{number}", Template(contract_id=CONTRACT, vector=vector))
    return DuplicateSearch(
        gallery=gallery,
        store=MemoryStore(),
        templates=TemplateSealer(keystore=KeyStore.open(folder / "keys"), authority="test"),
        rules=rules,
    )


def test_it_goes_blind_where_the_gallery_outgrows_the_line(tmp_path: Path) -> None:
    """It ends at a log10 LR of 5, for one picture twice: N faces with N / 10^5 false cases."""
    rules = default_policy().duplicates
    assert CALIBRATION.log10_lr(1.0) <= CALIBRATION.slope + CALIBRATION.intercept == 5
    for count, allowed, blind in (
        (0, 0.1, False),
        (1000, 0.1, False),
        (1, 1e-5, False),
        (2, 1e-5, True),
    ):
        few = replace(rules, false_cases_per_enrolment=allowed)
        search = search_among(count, tmp_path, few)
        assert search.is_blind(CALIBRATION) is blind, (count, allowed)
        assert search.point(CALIBRATION).gallery_size == max(1, count)
