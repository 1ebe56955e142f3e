"""The cache gives back what was put in, complete and undamaged, or nothing."""

import hashlib
import os
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from filelock import FileLock, Timeout
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from isthmus.errors import IntegrityError
from isthmus.folders import CACHE_VARIABLE
from isthmus.release.cache import ReleaseCache, default_cache_directory
from isthmus.release.hashing import CHUNK_BYTES, FileRange, file_sha256, tree_hashes
from isthmus.release.manifest import (
    EDGE,
    GOLDEN_NAME,
    MANIFEST_NAME,
    RECORD_NAME,
    SERVING,
    Candidate,
    FileEntry,
    Manifest,
    Record,
    Release,
    TensorSpec,
    Timing,
    Variant,
)

KEY = "ab" * 32
FILES = {"serving/1/saved_model.pb": b"graph", "serving/1/variables/variables.data": b"weights" * 1000, "edge/model.tflite": b"TFL3" * 50}


def _write_release(
    directory: Path,
    *,
    mean_ms: float = 1.0,
    files: dict[str, bytes] = FILES,
    tried: tuple[str, ...] = (),
    reason: str = "",
    machine_class: str = "x86_64 2 cores",
) -> Path:
    directory.mkdir(parents=True)
    entries = {}
    for name, content in {**files, GOLDEN_NAME: b"{}"}.items():
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_bytes(content)
        entries[name] = FileEntry(name, len(content), hashlib.sha256(content).hexdigest())
    variants = tuple(
        Variant(kind, "float32", tuple(entry for name, entry in entries.items() if name.startswith(kind)), 0.99, 1e-6)
        for kind in (SERVING, EDGE)
    )
    spec = (TensorSpec("x", "float32", (-1, 4)),)
    manifest = Manifest("digits", 1, "float32", "serving_default", spec, spec, variants, entries[GOLDEN_NAME], 0.001, 0.99, 10, ())
    timing = Timing(mean_ms, mean_ms, mean_ms, 100)
    (directory / MANIFEST_NAME).write_bytes(manifest.to_bytes())
    record = Record(machine_class, "2026-11-23T00:00:00+00:00", timing, timing, tuple(Candidate(it) for it in tried), reason)
    (directory / RECORD_NAME).write_bytes(record.to_bytes())
    return directory


def _fill(cache: ReleaseCache, key: str = KEY, **release: object) -> Release:
    with cache.work_directory() as work:
        return cache.publish(_write_release(work / "release", **release), key)


@pytest.fixture
def cache(tmp_path: Path) -> ReleaseCache:
    return ReleaseCache(tmp_path / "releases")


def test_a_release_is_found_by_key_and_by_digest(cache: ReleaseCache) -> None:
    published = _fill(cache)
    assert cache.get(KEY) == cache.find(published.digest) == published
    assert published.directory.is_relative_to(cache.directory)
    assert {name: (published.directory / name).read_bytes() for name in FILES} == FILES
    assert list((cache.directory / "work").iterdir()) == []


def test_an_empty_cache_finds_nothing_and_makes_no_folder(cache: ReleaseCache) -> None:
    assert cache.get(KEY) is None
    assert cache.find("sha256:" + "0" * 64) is None
    assert not cache.directory.exists()


@pytest.mark.parametrize("digest", ["", "sha256:", "sha256:../../../etc", "sha256:" + "0" * 63 + "/", "md5:" + "0" * 64])
def test_what_is_no_digest_is_not_looked_for(cache: ReleaseCache, digest: str) -> None:
    _fill(cache)
    assert cache.find(digest) is None


@pytest.mark.parametrize("key", ["../entries", "", "a/b"])
def test_a_key_cannot_lead_out_of_its_folder(cache: ReleaseCache, key: str) -> None:
    _fill(cache)
    assert cache.get(key) is None


def _flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


DAMAGES: dict[str, Callable[[Path], None]] = {
    "a flipped bit": _flip,
    "half of it": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "a byte more": lambda path: path.write_bytes(path.read_bytes() + b" "),
    "nothing in it": lambda path: path.write_bytes(b""),
    "zeros after a power cut": lambda path: path.write_bytes(bytes(path.stat().st_size)),
    "missing": Path.unlink,
    "a folder": lambda path: (path.unlink(), path.mkdir())[0],
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", [*FILES, GOLDEN_NAME, MANIFEST_NAME, RECORD_NAME, "checksums.json"])
def test_a_damaged_entry_counts_as_absent_and_is_replaced(cache: ReleaseCache, name: str, damage: str) -> None:
    published = _fill(cache)
    DAMAGES[damage](published.directory / name)
    if name != "checksums.json" or damage != "a byte more":  # a space after JSON is no damage
        assert cache.get(KEY) is None
        assert cache.find(published.digest) is None
    assert _fill(cache) == published
    assert cache.get(KEY) == published


def test_without_the_check_damage_would_be_given_back(cache: ReleaseCache, monkeypatch: pytest.MonkeyPatch) -> None:
    """The control to the test above: it is the hashes that notice it, not luck."""
    published = _fill(cache)
    _flip(published.directory / "edge/model.tflite")
    assert cache.get(KEY) is None
    monkeypatch.setattr(
        "isthmus.release.cache.tree_hashes",
        lambda ranges: [
            __import__("json").loads((published.directory / "checksums.json").read_text())[_name(r, published)] for r in ranges
        ],
    )
    damaged = cache.get(KEY)
    assert damaged is not None
    assert (damaged.directory / "edge/model.tflite").read_bytes() != FILES["edge/model.tflite"]


def _name(file: FileRange, release: Release) -> str:
    return file.path.relative_to(release.directory).as_posix()


def test_a_release_that_is_not_what_its_manifest_says_is_not_published(cache: ReleaseCache) -> None:
    with cache.work_directory() as work:
        _flip(_write_release(work / "release") / "edge/model.tflite")
        with pytest.raises(IntegrityError, match=r"edge/model\.tflite"):
            cache.publish(work / "release", KEY)
    assert cache.get(KEY) is None


def test_a_release_keeps_the_times_that_were_measured_first(cache: ReleaseCache) -> None:
    first = _fill(cache, mean_ms=1.0)
    second = _fill(cache, "cd" * 32, mean_ms=2.0)
    assert second == first
    assert cache.get("cd" * 32) == first


def test_two_recipes_that_lead_to_one_release_each_say_what_they_tried(cache: ReleaseCache) -> None:
    named = _fill(cache, tried=("int4",), reason="int4, as asked for", mean_ms=1.0)
    searched = _fill(cache, "cd" * 32, tried=("float32", "int4"), reason="int4: 5.3× smaller", mean_ms=2.0)
    assert searched.digest == named.digest
    for release in (searched, cache.get("cd" * 32)):
        assert release is not None
        assert [it.recipe for it in release.record.candidates] == ["float32", "int4"]
        assert release.record.reason == "int4: 5.3× smaller"
        assert release.record.edge.mean_ms == 1.0
    assert cache.get(KEY) == named
    assert cache.find(named.digest) == named


def test_what_another_kind_of_machine_tried_is_not_told_beside_the_first_ones_times(cache: ReleaseCache) -> None:
    first = _fill(cache, tried=("int4",))
    assert _fill(cache, "cd" * 32, tried=("float32", "int4"), machine_class="aarch64 4 cores") == first


def test_a_key_whose_record_is_damaged_still_leads_to_its_release(cache: ReleaseCache) -> None:
    first = _fill(cache)
    (cache.directory / "keys" / KEY).write_text(f"{first.digest}\n{{")
    assert cache.get(KEY) == first


def test_work_is_removed_also_when_it_fails(cache: ReleaseCache) -> None:
    def fail() -> None:
        with cache.work_directory() as work:
            (work / "half.pb").write_bytes(b"half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert list((cache.directory / "work").iterdir()) == []


def test_work_of_a_killed_process_is_swept_and_that_of_a_living_one_is_not(cache: ReleaseCache) -> None:
    program = (
        "import sys, time; from pathlib import Path; from isthmus.release.cache import ReleaseCache\n"
        "with ReleaseCache(Path(sys.argv[1])).work_directory() as work:\n"
        "    (work / 'half.pb').write_bytes(b'half'); print(work, flush=True); time.sleep(60)\n"
    )
    arguments = [sys.executable, "-c", program, str(cache.directory)]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2] / "components")}
    process = subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True, env=environment)
    try:
        assert process.stdout is not None
        left = Path(process.stdout.readline().strip())
        with cache.work_directory():
            assert (left / "half.pb").exists()
    finally:
        process.kill()
        process.communicate()
    assert left.exists()
    with cache.work_directory():
        assert not left.exists()
    assert list((cache.directory / "work").iterdir()) == []


def test_a_folder_whose_removal_was_cut_short_is_swept(cache: ReleaseCache) -> None:
    left = cache.directory / "work" / "left"
    left.mkdir(parents=True)
    (left / "half.pb").write_bytes(b"half")
    with cache.work_directory() as work:
        assert [path for path in work.parent.iterdir() if path.is_dir()] == [work]


def test_a_cache_that_may_only_be_read_gives_its_releases(cache: ReleaseCache, monkeypatch: pytest.MonkeyPatch) -> None:
    published = _fill(cache)

    def refused(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "utime", refused)
    assert cache.get(KEY) == published


def test_only_one_holds_the_lock_of_a_key(cache: ReleaseCache) -> None:
    with cache.lock(KEY), ThreadPoolExecutor(1) as pool:

        def try_lock() -> bool:
            try:
                with cache.lock(KEY).acquire(blocking=False):
                    return True
            except Timeout:
                return False

        assert pool.submit(try_lock).result() is False
        with cache.lock("ef" * 32):
            pass
    assert isinstance(cache.lock(KEY), FileLock)


def test_many_threads_publish_one_entry(cache: ReleaseCache) -> None:
    with ThreadPoolExecutor(8) as pool:
        releases = list(pool.map(lambda index: _fill(cache, f"key{index}"), range(16)))
    assert len({release.directory for release in releases}) == 1
    assert len(list((cache.directory / "entries").iterdir())) == 1
    assert all(cache.get(f"key{index}") is not None for index in range(16))


def test_the_folder_is_the_users_own_unless_a_variable_moves_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(CACHE_VARIABLE, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_cache_directory() == tmp_path / "isthmus" / "releases"
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "shared"))
    assert default_cache_directory() == tmp_path / "shared" / "releases"


@pytest.mark.slow
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
@given(sizes=st.lists(st.sampled_from([0, 1, 1000, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1]), min_size=1, max_size=3))
def test_a_tree_hash_is_the_hash_of_the_hashes_of_chunks(tmp_path: Path, sizes: list[int]) -> None:
    contents = [bytes([index + 1]) * size for index, size in enumerate(sizes)]
    files = []
    for index, content in enumerate(contents):
        (tmp_path / str(index)).write_bytes(content)
        files.append(FileRange.whole(tmp_path / str(index)))
        assert file_sha256(tmp_path / str(index)) == hashlib.sha256(content).hexdigest()
    expected = [
        hashlib.sha256(
            b"".join(hashlib.sha256(content[start : start + CHUNK_BYTES]).digest() for start in range(0, max(len(content), 1), CHUNK_BYTES))
        ).hexdigest()
        for content in contents
    ]
    assert tree_hashes(files) == expected


def test_a_range_of_a_file_is_hashed_as_if_it_were_a_file(tmp_path: Path) -> None:
    (tmp_path / "whole").write_bytes(b"head" + b"x" * 5000 + b"tail")
    (tmp_path / "part").write_bytes(b"x" * 5000)
    assert tree_hashes([FileRange(tmp_path / "whole", 4, 5000)]) == tree_hashes([FileRange.whole(tmp_path / "part")])
    with pytest.raises(OSError, match="ended"):
        tree_hashes([FileRange(tmp_path / "part", 0, 6000)])
