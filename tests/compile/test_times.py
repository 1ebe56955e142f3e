"""Times belong to a variant's bytes, the kind of machine and what measured them, and to nothing else."""

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isthmus.compile import times
from isthmus.compile.times import KnownTimes, digest_of, digests_of, machine_class, measured_with
from isthmus.release.manifest import EDGE, GOLDEN_NAME, SERVING, FileEntry, Manifest, Record, Release, Timing, Variant

TIMING, OTHER = Timing(1.0, 0.9, 1.5, 300, 0.1), Timing(2.0, 1.9, 2.5, 300, 0.2)
FILES = st.dictionaries(st.sampled_from(("a", "b/c", "d")), st.binary(max_size=4), min_size=1)


def _release(files: Mapping[str, str], *, model: str = "digits", version: int = 1, recipe: str = "int8") -> Release:
    """A release by its variants' files and their hashes alone; a name begins with its variant's kind."""
    entries = {name: FileEntry(name, 1, found) for name, found in files.items()}
    variants = tuple(
        Variant(kind, recipe, tuple(entry for name, entry in entries.items() if name.startswith(f"{kind}/")), None, 0.0)
        for kind in (SERVING, EDGE)
    )
    golden = FileEntry(GOLDEN_NAME, 1, "00")
    manifest = Manifest(model, version, recipe, "serving_default", (), (), variants, golden, 0.1, None, 0, ())
    return Release(Path("nowhere"), manifest, Record(machine_class(), "", TIMING, OTHER, measured_with=measured_with()))


@given(FILES, FILES)
def test_folders_have_one_digest_where_names_and_contents_are_the_same(
    tmp_path_factory: pytest.TempPathFactory, first: dict[str, bytes], second: dict[str, bytes]
) -> None:
    folders = []
    for files in (first, second):
        folders.append(tmp_path_factory.mktemp("variant"))
        for name, content in files.items():
            (folders[-1] / name).parent.mkdir(exist_ok=True)
            (folders[-1] / name).write_bytes(content)
    assert (digest_of(folders[0]) == digest_of(folders[1])) == (first == second)


def test_a_release_and_the_files_it_was_made_from_have_the_same_digests(tmp_path: Path, make_files: Callable[[Path], Release]) -> None:
    release = make_files(tmp_path)
    assert digests_of(release.manifest) == {SERVING: digest_of(tmp_path / SERVING / "3"), EDGE: digest_of(tmp_path / EDGE / "model.tflite")}


@pytest.fixture
def make_files() -> Callable[[Path], Release]:
    def make(folder: Path) -> Release:
        from isthmus.release.hashing import file_sha256

        found = {}
        for name in (f"{SERVING}/3/saved_model.pb", f"{SERVING}/3/variables/variables.index", f"{EDGE}/model.tflite"):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(name)
            found[name] = file_sha256(folder / name)
        return _release(found, version=3)

    return make


def test_neither_model_nor_version_nor_the_other_variant_is_in_a_variants_digest() -> None:
    first = digests_of(_release({"serving/1/saved_model.pb": "aa", "edge/model.tflite": "bb"}).manifest)
    files = {"serving/2/saved_model.pb": "aa", "edge/model.tflite": "cc"}
    second = digests_of(_release(files, model="figures", version=2, recipe="int4").manifest)
    assert first[SERVING] == second[SERVING]
    assert first[EDGE] != second[EDGE]


def test_the_first_time_of_a_variant_counts_whoever_asks(tmp_path: Path) -> None:
    known = KnownTimes(tmp_path / "times")
    assert known.get("aa") is None
    assert known.keep("aa", TIMING) == TIMING
    assert known.keep("aa", OTHER) == TIMING
    assert KnownTimes(tmp_path / "times").get("aa") == TIMING
    assert known.get("bb") is None


def test_of_many_that_measure_at_once_all_plan_with_one_time(tmp_path: Path) -> None:
    known = KnownTimes(tmp_path / "times")
    timings = [replace(TIMING, mean_ms=float(index)) for index in range(1, 33)]
    with ThreadPoolExecutor(8) as threads:
        kept = set(threads.map(lambda timing: known.keep("aa", timing), timings))
    assert kept == {known.get("aa")}
    assert len(list((tmp_path / "times").iterdir())) == 1


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b'{"mean_ms": 1}'])
def test_a_damaged_time_is_measured_again(tmp_path: Path, damage: bytes) -> None:
    known = KnownTimes(tmp_path / "times")
    known.keep("aa", TIMING)
    (file,) = (tmp_path / "times").iterdir()
    file.write_bytes(damage)
    assert known.get("aa") is None
    assert known.keep("aa", OTHER) == OTHER
    assert known.get("aa") == OTHER


@pytest.mark.parametrize("changed", ["machine_class", "measured_with"])
def test_another_machine_and_another_server_have_times_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changed: str) -> None:
    known = KnownTimes(tmp_path / "times")
    known.keep("aa", TIMING)
    monkeypatch.setattr(times, changed, lambda: "another")
    assert known.get("aa") is None
    assert known.keep("aa", OTHER) == OTHER


def test_the_embedded_server_is_part_of_what_measures() -> None:
    from isthmus.compile.key import own_files

    files = own_files(times.MEASURING_CODE, ())
    assert {"server/app.py", "server/rest.py", "isthmus_agent/protocol/request.py", "compile/build/timing.py"} <= set(files)


@pytest.mark.parametrize(
    ("changes", "learnt"),
    [({}, True), ({"machine_class": "aarch64 4 cores"}, False), ({"measured_with": "another"}, False), ({"measured_with": ""}, False)],
)
def test_a_release_of_another_machine_brings_its_times_where_they_would_be_the_same_here(
    tmp_path: Path, changes: dict[str, str], learnt: bool
) -> None:
    release = _release({"serving/1/saved_model.pb": "aa", "edge/model.tflite": "bb"})
    digests, known = digests_of(release.manifest), KnownTimes(tmp_path / "times")
    known.learn(replace(release, record=replace(release.record, **changes)))
    assert [known.get(digests[kind]) for kind in (SERVING, EDGE)] == ([TIMING, OTHER] if learnt else [None, None])
