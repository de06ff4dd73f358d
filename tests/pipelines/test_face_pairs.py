"""From pictures to scores: what is compared, what is not, and that nothing goes missing."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.face_pairs import (
    MAX_NON_MATED,
    EmbeddedPictures,
    ScoredPairs,
    clear_face,
    comparison_scores,
    embed_listed,
    embed_pictures,
    score_pairs,
)
from pipelines.picture_lists import PictureList, read_folder, read_pairs
from tests.fakes import CONTRACT
from tests.pipelines.made_up_faces import (
    BESIDE,
    NOBODY,
    UNFIT,
    ColourObserver,
    face_of_width,
    save_face,
)
from verifier.calibration import Metric
from verifier.comparison import comparison_score
from verifier.errors import InputError, InvalidEvidenceError, TooFewTrialsError


def embedded(listed: PictureList) -> EmbeddedPictures:
    return embed_pictures(listed.pictures, ColourObserver())


def scored(
    listed: PictureList, *, seed: int = 0, max_non_mated: int = MAX_NON_MATED
) -> ScoredPairs:
    return score_pairs(
        embedded(listed), listed, metric=Metric.L2, seed=seed, max_non_mated=max_non_mated
    )


def crowd(folder: Path, people: int, pictures: int = 2) -> PictureList:
    for person in range(people):
        for number in range(pictures):
            save_face(folder / f"p{person}" / f"{number}.png", red=person, green=number)
    return read_folder(folder)


def test_all_pairs_of_a_folder(tmp_path: Path) -> None:
    pairs = scored(crowd(tmp_path, people=3))
    assert (pairs.mated.sum(), (~pairs.mated).sum()) == (3, 12)
    assert (pairs.subject_a == pairs.subject_b).tolist() == pairs.mated.tolist()
    assert pairs.score[pairs.mated] == pytest.approx(0.99)
    assert pairs.subjects == ("p0", "p1", "p2")
    assert (pairs.contract_id, pairs.metric) == (CONTRACT, Metric.L2)
    assert (pairs.not_compared_mated, pairs.not_compared_non_mated, pairs.identical) == (0, 0, 0)


def test_some_of_the_comparisons(tmp_path: Path) -> None:
    pairs = scored(crowd(tmp_path, people=3))
    assert len(np.unique(pairs.subject_pair)) == 3 + 3  # each with themselves, each two
    some = pairs.taken(~pairs.mated)
    assert len(some.score) == len(some.picture_b) == len(some.subject_pair) == 12
    assert (some.subject_a != some.subject_b).all()
    assert some.subject_pair.tolist() == pairs.subject_pair[~pairs.mated].tolist()
    last = pairs.taken(np.array([14, 14]))
    assert last.picture_a.tolist() == 2 * [pairs.picture_a[14]]
    assert last.not_compared_mated == pairs.not_compared_mated


def test_what_cannot_be_acquired_is_counted(tmp_path: Path) -> None:
    crowd(tmp_path, people=2)
    save_face(tmp_path / "p0" / "nobody.png", red=9, blue=NOBODY)
    save_face(tmp_path / "p0" / "two.png", red=9, blue=BESIDE)
    (tmp_path / "p1" / "broken.jpg").write_bytes(b"no picture")
    save_face(tmp_path / "p1" / "unfit.png", red=9, blue=UNFIT)
    listed = read_folder(tmp_path)
    seen = embedded(listed)
    assert seen.failures == {"no_face": 1, "no_clear_face": 1, "not_an_image": 1}
    assert (seen.fta, seen.acquired.sum(), seen.unfit.sum()) == (3, 5, 1)
    pairs = scored(listed)
    # 2 usable of p0, 3 of p1; 4 of each were given.
    assert (pairs.mated.sum(), (~pairs.mated).sum()) == (1 + 3, 6)
    assert (pairs.not_compared_mated, pairs.not_compared_non_mated) == (12 - 4, 16 - 6)


def test_a_copy_is_no_second_picture(tmp_path: Path) -> None:
    crowd(tmp_path, people=2)
    save_face(tmp_path / "p0" / "copy.png", red=0, green=1)
    pairs = scored(read_folder(tmp_path))
    assert (pairs.mated.sum(), (~pairs.mated).sum()) == (2, 4)
    assert (pairs.identical, pairs.not_compared_mated, pairs.not_compared_non_mated) == (2, 0, 0)


def test_one_picture_of_two_people_is_refused(tmp_path: Path) -> None:
    crowd(tmp_path, people=2)
    save_face(tmp_path / "p0" / "x.png", red=1, green=1)
    with pytest.raises(InputError, match="one picture, given as two people"):
        scored(read_folder(tmp_path))


def test_listed_pairs_and_no_others(tmp_path: Path) -> None:
    for name, red in {"a": 1, "b": 2, "c": 3}.items():
        save_face(tmp_path / f"{name}.png", red=red)
    save_face(tmp_path / "a2.png", red=1)
    save_face(tmp_path / "gone.png", red=1, blue=NOBODY)
    rows = ["a.png,b.png,1", "a.png,a2.png,1", "a.png,gone.png,0", "b.png,c.png,0"]
    (tmp_path / "pairs.csv").write_text("\n".join(["a,b,mated", *rows]))
    pairs = scored(read_pairs(tmp_path / "pairs.csv"))
    assert pairs.mated.tolist() == [True, False]
    assert pairs.score == pytest.approx([0.99, 0.99])
    assert (pairs.identical, pairs.not_compared_mated, pairs.not_compared_non_mated) == (1, 0, 1)


def pairs_with_a_copy(folder: Path, *rows: str) -> PictureList:
    """List pairs of x and y, two pictures each; ``copy.png`` has the pixels of the first of x."""
    for name, red in {"x1": 1, "x2": 2, "y1": 11, "y2": 12, "copy": 1}.items():
        save_face(folder / f"{name}.png", red=red)
    known = ("x1.png,x2.png,1", "y1.png,y2.png,1", "x1.png,y1.png,0")
    (folder / "pairs.csv").write_text("\n".join(["a,b,mated", *known, *rows]))
    return read_pairs(folder / "pairs.csv")


def test_a_copy_in_a_csv_joins_people_whom_nobody_named(tmp_path: Path) -> None:
    listed = pairs_with_a_copy(tmp_path, "copy.png,y2.png,0")
    assert len(listed.subjects) == 3
    joined, seen = embed_listed(listed, ColourObserver())
    assert len(joined.subjects) == 2
    assert joined.pictures == seen.pictures
    assert joined.pictures[4].subject == joined.pictures[0].subject
    pairs = score_pairs(seen, joined, metric=Metric.L2)
    assert pairs.mated.tolist() == [True, True, False, False]


@pytest.mark.parametrize(
    ("row", "line"),
    [
        pytest.param("copy.png,x2.png,0", 5, id="the copy is of one of them"),
        pytest.param("copy.png,y2.png,1", 4, id="the copy joins two people"),
    ],
)
def test_a_row_that_a_copy_contradicts_is_named(tmp_path: Path, row: str, line: int) -> None:
    listed = pairs_with_a_copy(tmp_path, row)
    with pytest.raises(InputError, match=rf"pairs.csv, line {line}: not mated"):
        embed_listed(listed, ColourObserver())


def test_a_copy_under_two_given_names_is_refused(tmp_path: Path) -> None:
    pairs_with_a_copy(tmp_path)
    rows = ["x1.png,x2.png,1,x,x", "copy.png,y1.png,0,z,y"]
    table = tmp_path / "named.csv"
    table.write_text("\n".join(["a,b,mated,subject_a,subject_b", *rows]))
    with pytest.raises(InputError, match="one picture, given as two people"):
        embed_listed(read_pairs(table), ColourObserver())


def test_nothing_left_to_compare_is_an_error(tmp_path: Path) -> None:
    save_face(tmp_path / "p0" / "0.png", red=0)
    save_face(tmp_path / "p0" / "nobody.png", red=0, blue=NOBODY)
    save_face(tmp_path / "p1" / "0.png", red=1)
    with pytest.raises(TooFewTrialsError, match=r"0 mated and 1 non-mated .* of 3 pictures 1"):
        scored(read_folder(tmp_path))


def test_of_many_non_mated_pairs_some_are_drawn(tmp_path: Path) -> None:
    listed = crowd(tmp_path, people=40)
    everything = scored(listed)
    drawn = scored(listed, max_non_mated=1000)
    assert everything.non_mated_available == drawn.non_mated_available == 3120
    assert drawn.mated.sum() == 40
    assert 850 < (~drawn.mated).sum() < 1150  # six standard deviations around 1,000
    assert len(set(zip(drawn.picture_a, drawn.picture_b, strict=True))) == len(drawn.score)
    assert scored(listed, max_non_mated=1000).score.tolist() == drawn.score.tolist()
    assert scored(listed, max_non_mated=1000, seed=1).score.size != drawn.score.size


def test_a_face_nearly_as_wide_leaves_a_photograph_unclear() -> None:
    wide, less, small = (face_of_width(width) for width in (100, 81, 80))
    assert clear_face([]) is None
    assert clear_face([wide]) is wide
    assert clear_face([wide, less]) is None
    assert clear_face([wide, small]) is wide
    # Faces come largest first, by area: a wide one may be third.
    assert clear_face([wide, small, less]) is None


@given(
    values=st.lists(
        st.tuples(*4 * [st.floats(-2, 2, width=32)]).filter(lambda v: sum(map(abs, v)) > 0.1),
        min_size=2,
        max_size=8,
    ),
    metric=st.sampled_from(Metric),
)
def test_scores_are_those_of_single_comparisons(
    values: list[tuple[float, ...]], metric: Metric
) -> None:
    vectors = np.array(values, np.float32)
    others = np.roll(vectors, 1, axis=0)
    expected = [comparison_score(a, b, metric) for a, b in zip(vectors, others, strict=True)]
    assert comparison_scores(vectors, others, metric) == pytest.approx(expected, abs=1e-12)


def test_a_vector_without_direction_has_no_cosine() -> None:
    nothing = np.zeros((1, 3), np.float32)
    with pytest.raises(InvalidEvidenceError, match="length 0"):
        comparison_scores(nothing, nothing + np.float32(1), Metric.COSINE)
