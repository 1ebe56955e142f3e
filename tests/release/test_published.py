import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from isthmus.errors import IntegrityError
from isthmus.release import published
from isthmus.release.manifest import EDGE, Release
from isthmus.release.store import Store

PREFIX = "services/digits/"
NAMES = ("golden.json", "manifest.json", "record.json", "serving/1/saved_model.pb")


def key_of(release: Release, path: str) -> str:
    return f"{PREFIX}releases/{release.digest.removeprefix('sha256:')}/{path}"


@pytest.fixture
def release(store: Store, make_release: Callable[..., Release]) -> Release:
    """A release that is in the store."""
    release = make_release()
    published.publish(store, PREFIX, release)
    return release


def test_a_published_release_is_fetched_and_verified(store: Store, release: Release, tmp_path: Path) -> None:
    found = published.fetch(store, PREFIX, release.digest, tmp_path / "copy")
    assert (found.manifest, found.record, found.digest) == (release.manifest, release.record, release.digest)
    assert (tmp_path / "copy/serving/1/saved_model.pb").read_bytes() == b"for the cloud only"
    assert (tmp_path / "copy/manifest.json").read_bytes() == release.manifest.to_bytes()
    assert published.is_sound(store, PREFIX, release.digest)


def test_only_what_a_server_needs_goes_up_and_the_manifest_goes_last(store: Store, make_release: Callable[..., Release]) -> None:
    release = make_release()
    written = published.publish(store, PREFIX, release)
    assert store.list("") == sorted(written) == [key_of(release, name) for name in NAMES]
    assert written[-1] == key_of(release, "manifest.json")


def test_what_is_there_already_is_not_uploaded_again(store: Store, release: Release) -> None:
    assert published.publish(store, PREFIX, release) == ()


@pytest.mark.parametrize("name", NAMES)
def test_a_missing_or_changed_object_is_found_and_is_the_only_one_uploaded_again(store: Store, release: Release, name: str) -> None:
    size_bytes = store.size_bytes(key_of(release, name)) or 0
    for damage in (lambda key: store.delete([key]), lambda key: store.put(key, b"x" * size_bytes)):
        damage(key_of(release, name))
        assert not published.is_sound(store, PREFIX, release.digest)
        assert published.publish(store, PREFIX, release) == (key_of(release, name),)
        assert published.is_sound(store, PREFIX, release.digest)


def test_another_machines_times_stay(store: Store, release: Release, tmp_path: Path) -> None:
    slower = replace(release, record=replace(release.record, machine_class="slow"))
    assert published.publish(store, PREFIX, slower) == ()
    assert published.fetch(store, PREFIX, release.digest, tmp_path / "copy").record == release.record


def test_removing_a_release_leaves_its_neighbours(store: Store, release: Release, make_release: Callable[..., Release]) -> None:
    other = make_release(golden=b"[]")
    published.publish(store, PREFIX, other)
    published.remove(store, PREFIX, release.digest)
    assert not published.is_sound(store, PREFIX, release.digest)
    assert published.is_sound(store, PREFIX, other.digest)
    published.remove(store, PREFIX, other.digest)
    published.remove(store, PREFIX, other.digest)
    assert store.list("") == []


def test_changed_content_of_the_same_size_passes_without_verification_and_is_refused_by_fetch(
    store: Store, release: Release, tmp_path: Path
) -> None:
    key, forged = key_of(release, "serving/1/saved_model.pb"), b"for the EVIL cloud"
    store.put(key, forged)
    store.download(key, tmp_path / "unverified", size_bytes=len(forged))
    assert (tmp_path / "unverified").read_bytes() == forged
    with pytest.raises(IntegrityError, match=r"wrong content: .*saved_model"):
        published.fetch(store, PREFIX, release.digest, tmp_path / "copy")
    assert not (tmp_path / "copy/manifest.json").exists()


def test_a_manifest_of_another_release_is_refused(
    store: Store, release: Release, make_release: Callable[..., Release], tmp_path: Path
) -> None:
    store.put(key_of(release, "manifest.json"), make_release(golden=b"[]").manifest.to_bytes())
    with pytest.raises(IntegrityError, match="wrong digest"):
        published.fetch(store, PREFIX, release.digest, tmp_path)


@pytest.mark.parametrize("name", NAMES)
def test_a_release_that_is_not_whole_is_refused(store: Store, release: Release, tmp_path: Path, name: str) -> None:
    store.delete([key_of(release, name)])
    with pytest.raises(IntegrityError, match="not whole"):
        published.fetch(store, PREFIX, release.digest, tmp_path)


def test_a_release_whose_file_was_changed_is_not_published(store: Store, make_release: Callable[..., Release]) -> None:
    release = make_release()
    (release.directory / "serving/1/saved_model.pb").write_bytes(b"for the EVIL cloud")
    with pytest.raises(IntegrityError, match="wrong content"):
        published.publish(store, PREFIX, release)
    assert key_of(release, "manifest.json") not in store.list("")


def test_a_release_without_a_serving_variant_is_refused_before_anything_goes_up(store: Store, make_release: Callable[..., Release]) -> None:
    release = make_release()
    manifest = replace(release.manifest, variants=tuple(v for v in release.manifest.variants if v.kind == EDGE))
    with pytest.raises(IntegrityError, match="no serving variant"):
        published.publish(store, PREFIX, replace(release, manifest=manifest))
    assert store.list("") == []


@pytest.mark.parametrize("digest", ["", "sha256:", "sha256:" + "g" * 64, "sha256:../../x", "md5:" + hashlib.md5(b"").hexdigest()])  # noqa: S324
def test_what_is_no_digest_is_refused(store: Store, tmp_path: Path, digest: str) -> None:
    with pytest.raises(IntegrityError, match="not a release digest"):
        published.fetch(store, PREFIX, digest, tmp_path)
