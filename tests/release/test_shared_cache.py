"""What one machine compiled another one gets, whole and right, or not at all."""

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from isthmus.errors import InputError, IntegrityError, StoreError
from isthmus.release.cache import ReleaseCache
from isthmus.release.manifest import GOLDEN_NAME, MANIFEST_NAME, RECORD_NAME, Record, Release
from isthmus.release.shared_cache import Pointer, SharedCache
from isthmus.release.store import Store, StoreAddress, UnreachableStoreError

KEY = "ab" * 32
VARIABLES = {"ISTHMUS_SHARED_CACHE": "http://127.0.0.1:8333/builds/team-a", "AWS_ACCESS_KEY_ID": "me", "AWS_SECRET_ACCESS_KEY": "hidden"}


@pytest.fixture
def release(make_release: Callable[..., Release]) -> Release:
    return _written(make_release())


def _written(release: Release) -> Release:
    (release.directory / MANIFEST_NAME).write_bytes(release.manifest.to_bytes())
    (release.directory / RECORD_NAME).write_bytes(release.record.to_bytes())
    return release


@pytest.fixture
def shared(store: Store) -> SharedCache:
    return SharedCache(store)


@pytest.fixture
def empty(tmp_path: Path) -> Path:
    (tmp_path / "empty").mkdir()
    return tmp_path / "empty"


def _content(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_what_was_offered_is_fetched_by_key_and_by_digest(shared: SharedCache, release: Release, tmp_path: Path) -> None:
    offered = shared.offer(KEY, release.directory)
    assert offered.first
    assert offered.record == release.record.to_bytes()
    for name, fetch in {
        "key": lambda into: shared.fetch(KEY, into),
        "digest": lambda into: shared.fetch_digest(release.digest, into),
    }.items():
        (tmp_path / name).mkdir()
        assert fetch(tmp_path / name)
        assert _content(tmp_path / name) == _content(release.directory)
    cache = ReleaseCache(tmp_path / "cache")
    with cache.work_directory() as work:
        shutil.move(tmp_path / "key", work / "release")
        assert cache.publish(work / "release", KEY).manifest == release.manifest


def test_what_nobody_offered_is_not_there(shared: SharedCache, release: Release, empty: Path) -> None:
    assert shared.fetch(KEY, empty) is False
    assert shared.fetch_digest(release.digest, empty) is False
    assert _content(empty) == {}


def test_prefixes_keep_two_teams_apart(store: Store, release: Release, empty: Path) -> None:
    SharedCache(store, "a/").offer(KEY, release.directory)
    assert SharedCache(store, "b/").fetch(KEY, empty) is False
    assert all(key.startswith("a/cache/") for key in store.list(""))


class _Interrupted(BaseException):
    pass


def _puts(store: Store, monkeypatch: pytest.MonkeyPatch, stop_before: int) -> list[str]:
    """Lets the first puts through and breaks the process off before the next."""
    done: list[str] = []
    put = Store.put

    def interrupted(self: Store, key: str, data: bytes | Path, *, only_new: bool = False) -> bool:
        if len(done) == stop_before:
            raise _Interrupted
        done.append(key)
        return put(self, key, data, only_new=only_new)

    monkeypatch.setattr(Store, "put", interrupted)
    return done


def test_an_upload_that_is_interrupted_anywhere_leaves_nothing_that_can_be_read(
    shared: SharedCache, store: Store, release: Release, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = 0
    while True:
        with monkeypatch.context() as patch:
            done = _puts(store, patch, steps)
            try:
                shared.offer(KEY, release.directory)
                break
            except _Interrupted:
                pass
        into = tmp_path / f"after-{steps}"
        into.mkdir()
        assert shared.fetch(KEY, into) is False, done
        assert _content(into) == {}
        store.delete(store.list(""))
        steps += 1
    assert steps == len(done) == len(release.manifest.files) + 4
    assert [key.split("/")[1] for key in done[-2:]] == ["digests", "keys"]


def test_were_the_key_written_first_an_interrupted_upload_could_be_read(
    shared: SharedCache, store: Store, release: Release, empty: Path
) -> None:
    """The control to the test above: then there is something, and only the check of each file saves the reader."""
    pointer = Pointer(release.digest, "0" * 64)
    store.put(f"cache/keys/{KEY}", pointer.to_bytes())
    with pytest.raises(IntegrityError, match="is not whole"):
        shared.fetch(KEY, empty)


def _flipped(data: bytes) -> bytes:
    return data[: len(data) // 2] + bytes([data[len(data) // 2] ^ 1]) + data[len(data) // 2 + 1 :]


DAMAGES: Mapping[str, Callable[[bytes], bytes | None]] = {
    "a flipped bit": _flipped,
    "half of it": lambda data: data[: len(data) // 2],
    "missing": lambda data: None,
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", ["edge/model.tflite", "serving/1/saved_model.pb", GOLDEN_NAME, MANIFEST_NAME, RECORD_NAME])
def test_damage_is_noticed_and_mended_by_the_next_upload(  # noqa: PLR0917
    shared: SharedCache, store: Store, release: Release, tmp_path: Path, name: str, damage: str
) -> None:
    shared.offer(KEY, release.directory)
    key = f"cache/releases/{release.digest.removeprefix('sha256:')}/{name}"
    damaged = DAMAGES[damage](store.get(key, max_bytes=1 << 20))
    store.delete([key]) if damaged is None else store.put(key, damaged)
    (tmp_path / "bad").mkdir()
    with pytest.raises(IntegrityError):
        shared.fetch(KEY, tmp_path / "bad")
    shared.offer(KEY, release.directory, repair=True)
    (tmp_path / "good").mkdir()
    assert shared.fetch(KEY, tmp_path / "good")
    assert _content(tmp_path / "good") == _content(release.directory)


def test_without_the_check_damage_would_be_given_back(
    shared: SharedCache, store: Store, release: Release, empty: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared.offer(KEY, release.directory)
    key = f"cache/releases/{release.digest.removeprefix('sha256:')}/edge/model.tflite"
    store.put(key, _flipped(store.get(key, max_bytes=1 << 20)))
    hashes = {release.path(file).name: file.sha256 for file in release.manifest.files}
    monkeypatch.setattr("isthmus.release.shared_cache.file_sha256", lambda path: hashes[path.name])
    assert shared.fetch(KEY, empty)
    assert (empty / "edge/model.tflite").read_bytes() != (release.directory / "edge/model.tflite").read_bytes()


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"{}", b'{"digest": "sha256:../..", "record_sha256": "0"}', b'{"digest": 1, "record_sha256": 2}']
)
def test_a_pointer_that_is_none_is_an_error_of_integrity(shared: SharedCache, store: Store, empty: Path, content: bytes) -> None:
    store.put(f"cache/keys/{KEY}", content)
    with pytest.raises(IntegrityError, match="not a pointer"):
        shared.fetch(KEY, empty)


def test_of_two_that_compile_the_same_the_first_ones_times_count(
    shared: SharedCache, release: Release, tmp_path: Path, empty: Path
) -> None:
    slower = tmp_path / "slower"
    shutil.copytree(release.directory, slower)
    record = replace(release.record, measured_at="2026-02-02T00:00:00+00:00")
    (slower / RECORD_NAME).write_bytes(record.to_bytes())
    shared.offer(KEY, release.directory)
    again = shared.offer(KEY, slower)
    assert not again.first
    assert Record.from_bytes(again.record) == release.record
    assert shared.fetch(KEY, empty)
    assert (empty / RECORD_NAME).read_bytes() == release.record.to_bytes()


def test_a_second_key_of_the_same_release_uploads_no_file_again(
    shared: SharedCache, store: Store, release: Release, empty: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared.offer(KEY, release.directory)
    with monkeypatch.context() as patch:
        done = _puts(store, patch, 1000)
        shared.offer("cd" * 32, release.directory)
    assert [key for key in done if key.endswith((".pb", ".tflite"))] == []
    assert shared.fetch("cd" * 32, empty)


def test_a_release_that_is_not_what_its_manifest_says_is_not_offered(shared: SharedCache, store: Store, release: Release) -> None:
    (release.directory / "edge/model.tflite").write_bytes(b"something else")
    with pytest.raises(IntegrityError, match=r"edge/model\.tflite"):
        shared.offer(KEY, release.directory)
    assert [key for key in store.list("") if "/keys/" in key or "/digests/" in key] == []


def test_who_is_told_to_stop_stops_before_the_next_file(shared: SharedCache, release: Release, empty: Path) -> None:
    with pytest.raises(IntegrityError, match="given up"):
        shared.offer(KEY, release.directory, stopped=lambda: True)
    shared.offer(KEY, release.directory)
    with pytest.raises(IntegrityError, match="given up"):
        shared.fetch(KEY, empty, stopped=lambda: True)
    assert _content(empty) == {}


def test_a_store_that_does_not_answer_is_an_error_of_the_store(empty: Path) -> None:
    shared = SharedCache(Store(StoreAddress("http://127.0.0.1:1", "us-east-1", "me", "hidden"), "builds"))
    with pytest.raises(UnreachableStoreError) as raised:
        shared.fetch(KEY, empty)
    assert "hidden" not in str(raised.value) + repr(shared)


def test_a_missing_bucket_is_an_error_of_the_store(store_server, empty: Path) -> None:
    with pytest.raises(StoreError, match="has no bucket"):
        SharedCache(Store(store_server.address, "no-such-bucket")).fetch(KEY, empty)


@pytest.mark.parametrize("key", ["", "../x", "a/b"])
def test_a_key_cannot_lead_out_of_its_place(shared: SharedCache, empty: Path, key: str) -> None:
    with pytest.raises(ValueError, match="not a key"):
        shared.fetch(key, empty)


def test_the_environment_names_the_store_and_its_credentials() -> None:
    shared = SharedCache.from_environment(VARIABLES)
    assert shared.name == "http://127.0.0.1:8333/builds/team-a/cache/"
    assert (shared.store.bucket, shared.store.address.endpoint, shared.store.address.region) == (
        "builds",
        "http://127.0.0.1:8333",
        "us-east-1",
    )
    own = {
        **VARIABLES,
        "ISTHMUS_SHARED_CACHE_ACCESS_KEY": "own",
        "ISTHMUS_SHARED_CACHE_SECRET_KEY": "own-secret",
        "AWS_REGION": "eu-north-1",
    }
    address = SharedCache.from_environment(own).store.address
    assert (address.access_key, address.secret_key, address.region) == ("own", "own-secret", "eu-north-1")
    assert "hidden" not in repr(shared)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"ISTHMUS_SHARED_CACHE": "builds"}, "ISTHMUS_SHARED_CACHE: not a URL"),
        ({"ISTHMUS_SHARED_CACHE": "http://me:hidden@127.0.0.1/builds"}, "ISTHMUS_SHARED_CACHE: holds credentials"),
        ({"ISTHMUS_SHARED_CACHE": "http://127.0.0.1:8333/"}, "ISTHMUS_SHARED_CACHE: it names no bucket"),
        ({"ISTHMUS_SHARED_CACHE": "http://127.0.0.1:8333/b?x=1"}, "ISTHMUS_SHARED_CACHE: it names no bucket, or more"),
        ({"AWS_SECRET_ACCESS_KEY": ""}, "ISTHMUS_SHARED_CACHE_SECRET_KEY: missing"),
    ],
)
def test_what_is_wrong_with_the_setting_is_said_without_a_secret(change: dict[str, str], message: str) -> None:
    with pytest.raises(InputError) as raised:
        SharedCache.from_environment({**VARIABLES, **change})
    assert message in str(raised.value)
    assert "hidden" not in str(raised.value)


def test_a_cache_has_the_shared_one_that_it_was_given_or_that_the_environment_names(
    shared: SharedCache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in VARIABLES.items():
        monkeypatch.setenv(name, value)
    assert ReleaseCache(tmp_path, shared=shared).shared is shared
    named = ReleaseCache(tmp_path).shared
    assert named is not None
    assert named.store.bucket == "builds"
    monkeypatch.delenv("ISTHMUS_SHARED_CACHE")
    assert ReleaseCache(tmp_path).shared is None


def test_a_pointer_survives_its_bytes() -> None:
    pointer = Pointer("sha256:" + "ab" * 32, "cd" * 32)
    assert Pointer.from_bytes(pointer.to_bytes()) == pointer
    assert json.loads(pointer.to_bytes()).keys() == {"digest", "record_sha256"}
