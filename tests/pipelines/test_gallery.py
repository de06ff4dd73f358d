"""The gallery finds what comparing with everybody would find, and forgets what it is told to."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from threading import Thread

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from pipelines import gallery as module
from pipelines.gallery import Gallery, Hit, rebuild
from pipelines.keystore import KeyStore, RecordClass
from pipelines.lesson_store import StoredEnrolment
from pipelines.sealed_template import EnrolledTemplate, TemplateSealer
from tests.memory_store import MemoryStore
from verifier.arrays import Float32Array
from verifier.comparison import Metric, Template, comparison_score
from verifier.enrolment import Anchor
from verifier.errors import ContractMismatchError, InvalidEvidenceError

CONTRACT = "made-up-network@0123"
METRICS = list(Metric)
NOW = datetime(2026, 3, 2, 1, 0, tzinfo=UTC)

SIZE = 8
numbers = st.floats(-2, 2, width=32).filter(lambda x: x == 0 or abs(x) > 1e-3)
vectors = st.lists(numbers, min_size=SIZE, max_size=SIZE).map(lambda x: vector(*x)).filter(np.any)


def vector(*numbers: float) -> Float32Array:
    return np.array(numbers, np.float32)


def template(vector: Sequence[float] | Float32Array, contract: str = CONTRACT) -> Template:
    return Template(contract_id=contract, vector=np.asarray(vector, np.float32))


def filled(vectors: Sequence[Float32Array], metric: Metric, *, block_rows: int = 4) -> Gallery:
    gallery = Gallery(CONTRACT, metric, block_rows=block_rows)
    for number, vector in enumerate(vectors):
        gallery.add(f"l{number:03}", template(vector))
    return gallery


def everybody(
    vectors: Sequence[Float32Array], probe: Float32Array, metric: Metric, from_score: float
) -> list[Hit]:
    """Compare with one after the other."""
    hits = [
        Hit(learner_id=f"l{number:03}", comparison_score=comparison_score(vector, probe, metric))
        for number, vector in enumerate(vectors)
    ]
    kept = [hit for hit in hits if hit.comparison_score >= from_score]
    return sorted(kept, key=lambda hit: (-hit.comparison_score, hit.learner_id))


def test_a_known_gallery() -> None:
    """Distances 0.1, 0.5 and 2 are scores of 0.9, 0.5 and -1."""
    gallery = filled([vector(0.1, 0), vector(0.5, 0), vector(0, 2)], Metric.L2)
    probe = template([0, 0])
    found = gallery.search(probe, limit=9, from_score=-2.0)
    assert [(hit.learner_id, round(hit.comparison_score, 6)) for hit in found] == [
        ("l000", 0.9),
        ("l001", 0.5),
        ("l002", -1.0),
    ]
    assert gallery.search(probe, limit=1, from_score=-2.0) == found[:1]
    assert gallery.search(probe, limit=9, from_score=0.51) == found[:1]
    assert gallery.search(probe, limit=9, from_score=0.0, besides="l000") == found[1:2]
    assert gallery.search(probe, limit=1, from_score=-2.0, besides="l000") == found[1:2]
    assert gallery.search(probe, limit=9, from_score=1.01) == ()


def test_a_known_gallery_by_angle() -> None:
    gallery = filled([vector(3, 0), vector(1, 1), vector(-1, 0)], Metric.COSINE)
    found = gallery.search(template([2, 0]), limit=9, from_score=-1.0)
    assert [hit.comparison_score for hit in found] == pytest.approx([1.0, 0.5**0.5, -1.0])


def test_an_empty_gallery_finds_nobody() -> None:
    gallery = Gallery(CONTRACT, Metric.L2)
    assert gallery.search(template([1.0]), limit=1, from_score=-9) == ()
    assert (len(gallery), gallery.remove("l000"), gallery.allocated_bytes) == (0, False, 0)


@pytest.mark.parametrize("metric", METRICS)
@settings(max_examples=150, deadline=None)
@given(
    people=st.lists(vectors, max_size=14),
    probe=vectors,
    from_score=st.floats(-3, 1.1) | st.just(-np.inf),
    limit=st.integers(1, 16),
)
def test_a_search_finds_what_comparing_with_everybody_finds(
    metric: Metric, people: list[Float32Array], probe: Float32Array, from_score: float, limit: int
) -> None:
    found = filled(people, metric).search(template(probe), limit=limit, from_score=from_score)
    assert list(found) == everybody(people, probe, metric, from_score)[:limit]


@pytest.mark.parametrize("metric", METRICS)
def test_rounding_keeps_nobody_from_their_own_score(metric: Metric) -> None:
    """Long vectors close together: single precision alone would order them at random."""
    rng = np.random.default_rng(1)
    people = (1000 + rng.normal(0, 1e-3, (300, 128))).astype(np.float32)
    probe = people[7]
    exact = everybody(list(people), probe, metric, -np.inf)
    gallery = filled(list(people), metric, block_rows=64)
    for wanted in exact[::37]:
        least = wanted.comparison_score
        found = gallery.search(template(probe), limit=300, from_score=least)
        assert list(found) == [hit for hit in exact if hit.comparison_score >= least]
    assert list(gallery.search(template(probe), limit=5, from_score=-1e9)) == exact[:5]


def test_of_many_in_one_place_as_many_as_wanted_are_found() -> None:
    gallery = filled([vector(1, 1)] * 30, Metric.L2, block_rows=8)
    found = gallery.search(template([1, 1]), limit=3, from_score=0.5, besides="l001")
    assert [hit.learner_id for hit in found] == ["l000", "l002", "l003"]


class TestForgetting:
    def test_nothing_of_a_vector_is_left_where_it_was(self) -> None:
        marked = vector(0.1234567, 7.654321, 3.25)
        gallery = filled([vector(1, 2, 3), marked, vector(4, 5, 6)], Metric.L2)
        held = [array for block in gallery._blocks for array in (block.rows, block.squares)]
        assert any(number in array for number in marked for array in held)
        assert gallery.remove("l001")
        square = np.float32(marked.astype(np.float64) @ marked.astype(np.float64))
        for number in (*marked, square):
            assert not any(number in array for array in held)
        assert all(array is one for array, one in zip(held, _arrays(gallery), strict=True))
        assert ("l001" in gallery, len(gallery)) == (False, 2)
        assert not gallery.remove("l001")

    def test_nothing_of_an_earlier_vector_is_left_where_a_new_one_is(self) -> None:
        gallery = filled([vector(1, 2, 3)], Metric.L2)
        gallery.add("l000", template([4, 5, 6]))
        (rows, squares) = _arrays(gallery)
        assert rows.tolist() == [[4, 5, 6], *[[0, 0, 0]] * 3]
        assert squares.tolist() == [77, 0, 0, 0]
        assert len(gallery) == 1

    def test_a_place_is_used_again_before_another_block_is_made(self) -> None:
        gallery = filled([vector(n, 1) for n in range(4)], Metric.L2, block_rows=4)
        before = gallery.allocated_bytes
        gallery.remove("l002")
        gallery.add("new", template([9, 9]))
        assert gallery.allocated_bytes == before
        gallery.add("more", template([8, 8]))
        assert gallery.allocated_bytes == 2 * before

    def test_whoever_was_removed_takes_nobody_elses_place_among_the_best(self) -> None:
        """A row of zeros is near a probe of zeros; nobody is there."""
        gallery = filled([vector(0.1, 0)] * 4, Metric.L2)
        for learner_id in ("l000", "l001", "l002"):
            gallery.remove(learner_id)
        found = gallery.search(template([0, 0]), limit=1, from_score=-9)
        assert [hit.learner_id for hit in found] == ["l003"]


def _arrays(gallery: Gallery) -> list[Float32Array]:
    return [array for block in gallery._blocks for array in (block.rows, block.squares)]


class TestRefusals:
    def test_a_template_of_another_contract(self) -> None:
        gallery = filled([vector(1, 2)], Metric.L2)
        other = template([1, 2], "another-network@4567")
        with pytest.raises(ContractMismatchError, match="another-network@4567"):
            gallery.add("l000", other)
        with pytest.raises(ContractMismatchError):
            gallery.search(other, limit=1, from_score=0)

    def test_a_vector_of_another_length(self) -> None:
        gallery = filled([vector(1, 2)], Metric.L2)
        with pytest.raises(InvalidEvidenceError, match="vector of 3, 2 wanted"):
            gallery.add("l001", template([1, 2, 3]))
        assert len(gallery) == 1

    @pytest.mark.parametrize("vector", [[1e10, 0], [0, 0], [1e-12, 0]])
    def test_a_vector_that_single_precision_cannot_multiply(self, vector: list[float]) -> None:
        with pytest.raises(InvalidEvidenceError, match="too long, or too short"):
            Gallery(CONTRACT, Metric.COSINE).add("l000", template(vector))

    @pytest.mark.parametrize(("limit", "from_score"), [(0, 0.5), (1, float("nan"))])
    def test_a_search_for_nothing(self, limit: int, from_score: float) -> None:
        with pytest.raises(ValueError, match="1 or more and a number"):
            Gallery(CONTRACT, Metric.L2).search(template([1]), limit=limit, from_score=from_score)

    def test_vectors_stay_out_of_what_is_printed(self) -> None:
        gallery = filled([vector(0.1234567)], Metric.L2)
        assert "1234" not in repr(gallery) + repr(gallery._blocks)


class GalleryMachine(RuleBasedStateMachine):
    """Whatever is added, replaced and removed: the gallery holds what a dictionary would hold."""

    names = st.sampled_from([f"l{number:03}" for number in range(7)])

    def __init__(self) -> None:
        super().__init__()
        self.gallery = Gallery(CONTRACT, Metric.L2, block_rows=3)
        self.model: dict[str, Float32Array] = {}

    @rule(name=names, vector=vectors)
    def add(self, name: str, vector: Float32Array) -> None:
        self.gallery.add(name, template(vector))
        self.model[name] = vector

    @rule(name=names)
    def remove(self, name: str) -> None:
        assert self.gallery.remove(name) == (self.model.pop(name, None) is not None)

    @invariant()
    def finds_them_all(self) -> None:
        probe = np.ones(SIZE, np.float32)
        found = self.gallery.search(template(probe), limit=9, from_score=-np.inf)
        scores = {n: comparison_score(v, probe, Metric.L2) for n, v in self.model.items()}
        assert {hit.learner_id: hit.comparison_score for hit in found} == scores
        assert len(self.gallery) == len(self.model)

    @invariant()
    def holds_nothing_else(self) -> None:
        rows = sum(np.count_nonzero(block.rows.any(axis=1)) for block in self.gallery._blocks)
        assert rows == len(self.model)


TestGalleryMachine = GalleryMachine.TestCase
TestGalleryMachine.settings = settings(max_examples=40, stateful_step_count=20, deadline=None)


def test_readers_beside_a_writer_see_whole_rows_only() -> None:
    """One row swings between two places; a torn one would be near what is neither."""
    size = 512
    ones, others = np.full(size, 1, np.float32), np.full(size, -1, np.float32)
    gallery = Gallery(CONTRACT, Metric.L2, block_rows=2)
    gallery.add("swings", template(ones))
    gallery.add("stays", template(np.zeros(size, np.float32)))
    stop, seen = [False], set[float]()

    def swing() -> None:
        while not stop[0]:
            gallery.add("swings", template(others))
            gallery.add("swings", template(ones))

    writer = Thread(target=swing)
    writer.start()
    try:
        for _ in range(300):
            found = gallery.search(template(ones), limit=2, from_score=-np.inf)
            assert {hit.learner_id for hit in found} == {"swings", "stays"}
            seen.update(hit.comparison_score for hit in found if hit.learner_id == "swings")
    finally:
        stop[0] = True
        writer.join()
    assert seen <= {1.0, 1 - 2 * size**0.5}


def test_a_reader_waits_while_a_row_is_written() -> None:
    gallery = filled([vector(1, 2)], Metric.L2)
    found: list[tuple[Hit, ...]] = []
    reader = Thread(
        target=lambda: found.append(gallery.search(template([1, 2]), limit=1, from_score=0))
    )
    with gallery._blocks[0].lock:
        reader.start()
        reader.join(timeout=0.2)
        assert found == []
    reader.join()
    assert [hit.learner_id for hit in found[0]] == ["l000"]


class TestRebuilding:
    @pytest.fixture
    def templates(self, tmp_path: Path) -> TemplateSealer:
        return TemplateSealer(keystore=KeyStore.open(tmp_path / "keys"), authority="chongqing")

    def store(self, templates: TemplateSealer, contracts: Sequence[str]) -> MemoryStore:
        store = MemoryStore()
        with store.writing() as unit:
            for number, contract in enumerate(contracts):
                learner_id = f"l{number:03}"
                enrolled = EnrolledTemplate(
                    template=template([number, 1], contract),
                    anchor=Anchor.OFFICER,
                    enrolled_at=NOW,
                )
                unit.store_enrolment(
                    StoredEnrolment(
                        learner_id=learner_id,
                        contract_id=contract,
                        sealed_template=templates.seal(learner_id, enrolled),
                        anchor=Anchor.OFFICER,
                        enrolled_at=NOW,
                        evidence_id="00" * 32,
                    )
                )
        return store

    def test_what_is_on_record_is_in_it_and_the_rest_is_counted(
        self,
        templates: TemplateSealer,
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        """Whatever the batches; one damaged template keeps nobody else out."""
        monkeypatch.setattr(module, "BATCH", 2)
        store = self.store(templates, [CONTRACT, CONTRACT, "old@1", CONTRACT, CONTRACT])
        templates.keystore.destroy("l001", RecordClass.FACE_EVIDENCE)
        with store.writing() as unit:
            whole = unit.enrolment("l003")
            damaged = whole.sealed_template.replace(b'"nonce":"', b'"nonce":"A', 1)
            unit.store_enrolment(replace(whole, sealed_template=damaged))
        gallery = Gallery(CONTRACT, Metric.L2)
        rebuilt = rebuild(gallery, store, templates)
        assert (rebuilt.added, rebuilt.forgotten, rebuilt.outdated) == (2, 1, 1)
        assert rebuilt.damaged == ("l003",)
        found = gallery.search(template([0, 1]), limit=9, from_score=-np.inf)
        assert [(hit.learner_id, hit.comparison_score) for hit in found] == [
            ("l000", 1.0),
            ("l004", -3.0),
        ]
        assert [record.getMessage() for record in caplog.records] == [
            "templates that are damaged and in no search: 1"
        ]
        assert "l003" not in caplog.text + repr(rebuilt)

    def test_nothing_is_written_anywhere(self, templates: TemplateSealer, tmp_path: Path) -> None:
        store = self.store(templates, [CONTRACT] * 3)
        before = sorted(tmp_path.rglob("*"))
        gallery = Gallery(CONTRACT, Metric.L2)
        rebuild(gallery, store, templates)
        gallery.search(template([0, 1]), limit=9, from_score=0)
        gallery.remove("l000")
        assert sorted(tmp_path.rglob("*")) == before
