"""Folders of people and CSVs of pairs, good and bad."""

from collections.abc import Callable
from pathlib import Path

import pytest

from pipelines.picture_lists import PictureList, read_folder, read_pairs
from verifier.errors import InputError

Write = Callable[[str], Path]


@pytest.fixture(name="write")
def write_table(tmp_path: Path) -> Write:
    """Return a function that writes a CSV beside the pictures a.jpg to f.jpg."""
    for name in "abcdef":
        (tmp_path / f"{name}.jpg").touch()

    def write(text: str) -> Path:
        table = tmp_path / "pairs.csv"
        table.write_text(text, encoding="utf-8")
        return table

    return write


def subjects_of(listed: PictureList) -> dict[str, str]:
    return {picture.path.stem: picture.subject for picture in listed.pictures}


def pairs_of(listed: PictureList) -> list[str]:
    assert listed.pairs is not None
    names = [picture.path.stem for picture in listed.pictures]
    return [names[first] + names[second] for first, second in listed.pairs]


class TestFolder:
    """``FOLDER/person/photograph``."""

    def test_each_folder_is_a_person(self, tmp_path: Path) -> None:
        for name in (
            "张三/1.jpg",
            "张三/2.PNG",
            "李四/1.heic",
            "李四/.hidden.jpg",
            "李四/notes.txt",
        ):
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).touch()
        (tmp_path / "loose.jpg").touch()
        (tmp_path / "empty").mkdir()
        listed = read_folder(tmp_path)
        assert [(p.path.name, p.subject) for p in listed.pictures] == [
            ("1.jpg", "张三"),
            ("2.PNG", "张三"),
            ("1.heic", "李四"),  # the decoder will refuse it: counted, not passed over
        ]
        assert (listed.name, listed.pairs, listed.ignored_files) == (tmp_path.name, None, 2)

    @pytest.mark.parametrize(
        ("files", "said"),
        [
            ([], "pictures of 0 people"),
            (["one/1.jpg", "one/2.jpg"], "pictures of 1 people"),
            (["one/1.jpg", "two/1.jpg"], "one picture of each person, so no mated pair"),
        ],
    )
    def test_a_folder_without_both_kinds_of_pairs(
        self, tmp_path: Path, files: list[str], said: str
    ) -> None:
        for name in files:
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).touch()
        with pytest.raises(InputError, match=said):
            read_folder(tmp_path)

    def test_what_is_no_folder(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="no such folder"):
            read_folder(tmp_path / "absent")


class TestPairs:
    """A CSV of pairs."""

    def test_mated_pairs_join_subjects(self, write: Write) -> None:
        listed = read_pairs(write("a,b,mated\na.jpg,b.jpg,1\nb.jpg,c.jpg,TRUE\nc.jpg,d.jpg,0\n"))
        subjects = subjects_of(listed)
        assert subjects["a"] == subjects["b"] == subjects["c"] != subjects["d"]
        assert pairs_of(listed) == ["ab", "bc", "cd"]
        assert (listed.subjects_inferred, listed.duplicate_pairs) == (True, 0)

    def test_subjects_may_be_given(self, write: Write) -> None:
        text = "subject_b,mated,b,a,subject_a\n甲,true,b.jpg,a.jpg,甲\n乙,false,c.jpg,a.jpg,甲\n"
        listed = read_pairs(write("\ufeff" + text))
        assert subjects_of(listed) == {"a": "甲", "b": "甲", "c": "乙"}
        assert not listed.subjects_inferred

    def test_a_pair_listed_again_counts_once(self, write: Write) -> None:
        listed = read_pairs(
            write("a,b,mated\na.jpg,b.jpg,1\n\n./b.jpg,a.jpg,true\na.jpg,c.jpg,0\n")
        )
        assert pairs_of(listed) == ["ab", "ac"]
        assert listed.duplicate_pairs == 1

    def test_paths_may_leave_the_folder(self, write: Write, tmp_path: Path) -> None:
        text = f"a,b,mated\n../{tmp_path.name}/a.jpg,{tmp_path}/b.jpg,1\na.jpg,c.jpg,0\n"
        assert len(read_pairs(write(text)).pictures) == 3

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ("", "no column a, b, mated"),
            ("x,y\n", "no column a, b, mated"),
            ("a,b\na.jpg,b.jpg\n", "no column mated"),
            ("a,b,mated,a\n", "two columns a"),
            ("a,b,mated,subject_a\n", "subject_a and subject_b wanted, or neither"),
            ("a,b,mated\n", "no pairs below the column names"),
            ("a,b,mated\na.jpg,b.jpg,maybe\n", "line 2: mated is 'maybe'"),
            ("a,b,mated\na.jpg,b.jpg\n", "line 2: nothing under mated"),
            ("a,b,mated\na.jpg,,1\n", "line 2: nothing under b"),
            ("a,b,mated\na.jpg,没有.jpg,1\n", "line 2: no file .*没有.jpg"),
            ("a,b,mated\na.jpg,.,1\n", "line 2: no file"),
            ("a,b,mated\na.jpg," + 300 * "x" + ",1\n", "line 2: no file"),
            ("a,b,mated\na.jpg,./a.jpg,1\n", "line 2: a picture paired with itself"),
            ("a,b,mated\na.jpg,b.jpg,1\nb.jpg,a.jpg,0\n", "line 3: an earlier line says"),
            ("a,b,mated\na.jpg,b.jpg,1\n", "only mated pairs; some non-mated ones"),
            ("a,b,mated\na.jpg,b.jpg,0\n", "only non-mated pairs; some mated ones"),
            (
                "a,b,mated\na.jpg,b.jpg,1\nb.jpg,c.jpg,1\na.jpg,c.jpg,0\n",
                "line 4: not mated, but the mated pairs make them one person",
            ),
            (
                "a,b,mated,subject_a,subject_b\na.jpg,b.jpg,1,x,y\na.jpg,c.jpg,0,x,z\n",
                "line 2: mated contradicts",
            ),
            (
                "a,b,mated,subject_a,subject_b\na.jpg,b.jpg,1,x,x\nb.jpg,c.jpg,0,y,z\n",
                "line 3: an earlier line names another subject",
            ),
            ('a,b,mated\n"a.jpg,b.jpg,1\n', "unexpected end of data"),
        ],
    )
    def test_bad_tables_are_told_where(self, write: Write, text: str, said: str) -> None:
        with pytest.raises(InputError, match=said):
            read_pairs(write(text))

    def test_a_table_that_is_not_utf_8(self, write: Write) -> None:
        table = write("")
        table.write_bytes("a,b,mated\n张.jpg,b.jpg,1\n".encode("gb18030"))
        with pytest.raises(InputError, match="save it as a CSV in UTF-8"):
            read_pairs(table)

    def test_a_table_that_is_not_there(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="no such file"):
            read_pairs(tmp_path / "pairs.csv")

    def test_a_null_byte_is_no_defect(self, write: Write) -> None:
        with pytest.raises(InputError):
            read_pairs(write("a,b,mated\na.jpg,b\0.jpg,1\n"))
