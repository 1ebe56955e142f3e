import hashlib
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from isthmus.errors import IntegrityError
from isthmus.release import bundle, deflate, signing
from isthmus.release.manifest import SERVING, Release
from isthmus.release.signing import KeyPair
from isthmus.release.store import Store

PREFIX = "fleets/cameras/"


def key_of(release: Release, path: str) -> str:
    return f"{PREFIX}bundles/{release.digest.removeprefix('sha256:')}/{path}"


@pytest.fixture
def published(store: Store, make_release: Callable[..., Release], keys: KeyPair) -> Release:
    release = make_release()
    bundle.publish(store, PREFIX, release, keys.private_pem)
    return release


def test_a_published_bundle_is_fetched_and_verified(store: Store, published: Release, keys: KeyPair, tmp_path: Path) -> None:
    assert bundle.fetch(store, PREFIX, published.digest, keys.public_pem, tmp_path / "slot") == published.manifest
    assert (tmp_path / "slot/edge/model.tflite").read_bytes() == b"an edge model"
    assert bundle.verify(tmp_path / "slot", published.digest, keys.public_pem) == published.manifest


def test_only_what_a_device_needs_goes_up(store: Store, published: Release) -> None:
    assert store.list("") == [key_of(published, path) for path in ("edge/model.tflite.zlib", "golden.json.zlib", "manifest.dsse.json")]


def test_missing_and_truncated_objects_are_published_again(store: Store, published: Release, keys: KeyPair, tmp_path: Path) -> None:
    store.put(key_of(published, "edge/model.tflite.zlib"), b"short")
    store.delete([key_of(published, "manifest.dsse.json")])
    with pytest.raises(IntegrityError, match="not whole"):
        bundle.fetch(store, PREFIX, published.digest, keys.public_pem, tmp_path / "before")
    bundle.publish(store, PREFIX, published, keys.private_pem)
    bundle.fetch(store, PREFIX, published.digest, keys.public_pem, tmp_path / "after")


def test_content_that_was_changed_with_its_size_kept_is_published_again(
    store: Store, published: Release, keys: KeyPair, tmp_path: Path
) -> None:
    store.put(key_of(published, "edge/model.tflite.zlib"), zlib.compress(bytes(len(b"an edge model"))))
    with pytest.raises(IntegrityError, match="wrong content"):
        bundle.fetch(store, PREFIX, published.digest, keys.public_pem, tmp_path / "before")
    bundle.publish(store, PREFIX, published, keys.private_pem)
    bundle.fetch(store, PREFIX, published.digest, keys.public_pem, tmp_path / "after")


def test_removing_a_bundle_leaves_its_neighbours(
    store: Store, published: Release, make_release: Callable[..., Release], keys: KeyPair, tmp_path: Path
) -> None:
    other = make_release(b"another model")
    bundle.publish(store, PREFIX, other, keys.private_pem)
    bundle.remove(store, PREFIX, published.digest)
    assert len(store.list("")) == 3
    bundle.fetch(store, PREFIX, other.digest, keys.public_pem, tmp_path / "slot")


def test_changed_content_of_the_same_size_passes_without_verification_and_is_refused_by_fetch(
    store: Store, published: Release, keys: KeyPair, tmp_path: Path
) -> None:
    forged = b"an EVIL model"
    key = key_of(published, "edge/model.tflite.zlib")
    store.put(key, zlib.compress(forged))
    entry = next(file for file in bundle.edge_files(published.manifest) if file.path == "edge/model.tflite")
    store.download(key, tmp_path / "packed", size_bytes=len(zlib.compress(forged)))
    deflate.unpack(tmp_path / "packed", tmp_path / "unverified", size_bytes=entry.size_bytes, name=entry.path)
    assert (tmp_path / "unverified").read_bytes() == forged
    with pytest.raises(IntegrityError, match=r"wrong content: edge/model\.tflite"):
        bundle.fetch(store, PREFIX, published.digest, keys.public_pem, tmp_path / "slot")


@pytest.mark.parametrize(
    ("packed", "reason"),
    [
        (zlib.compress(bytes(1 << 24)), "the manifest names at most"),  # of 16 MB, larger than 13 bytes may become
        (zlib.compress(bytes(64)), "longer than 13 bytes"),
        (zlib.compress(b"an edge mode"), "1 of 13 bytes are missing"),
        (zlib.compress(b"an edge model")[:-6], "ends early"),
        (b"no deflated data", "cannot be unpacked"),
        (b"", "ends early"),
    ],
)
def test_what_unpacks_to_something_else_is_refused_and_leaves_no_more_than_was_promised(  # noqa: PLR0917
    store: Store, published: Release, keys: KeyPair, tmp_path: Path, packed: bytes, reason: str
) -> None:
    store.put(key_of(published, "edge/model.tflite.zlib"), packed)
    with pytest.raises(IntegrityError, match=reason) as caught:
        bundle.fetch(store, PREFIX, published.digest, keys.public_pem, tmp_path / "slot")
    assert "edge/model.tflite" in str(caught.value)
    left = tmp_path / "slot/edge/model.tflite"
    assert not left.exists() or left.stat().st_size <= len(b"an edge model")


def test_a_bundle_signed_by_another_key_is_refused(store: Store, published: Release, keys: KeyPair, tmp_path: Path) -> None:
    stranger = signing.generate_key()
    bundle.publish(store, PREFIX, published, stranger.private_pem)
    assert bundle.fetch(store, PREFIX, published.digest, stranger.public_pem, tmp_path / "theirs") == published.manifest
    with pytest.raises(IntegrityError, match="wrong signature"):
        bundle.fetch(store, PREFIX, published.digest, keys.public_pem, tmp_path / "ours")


def test_an_honestly_signed_bundle_under_another_digest_is_refused(
    store: Store, published: Release, make_release: Callable[..., Release], keys: KeyPair, tmp_path: Path
) -> None:
    other = make_release(b"an older model")
    store.put(key_of(published, "manifest.dsse.json"), signing.sign(bundle.MANIFEST_TYPE, other.manifest.to_bytes(), keys.private_pem))
    with pytest.raises(IntegrityError, match="wrong digest"):
        bundle.fetch(store, PREFIX, published.digest, keys.public_pem, tmp_path / "slot")


@pytest.mark.parametrize("path", ["edge/model.tflite.zlib", "manifest.dsse.json"])
def test_a_bundle_that_is_not_whole_is_refused(store: Store, published: Release, keys: KeyPair, tmp_path: Path, path: str) -> None:
    store.delete([key_of(published, path)])
    with pytest.raises(IntegrityError, match="not whole"):
        bundle.fetch(store, PREFIX, published.digest, keys.public_pem, tmp_path / "slot")


@pytest.mark.parametrize("path", ["edge/model.tflite", "golden.json", "manifest.dsse.json"])
def test_a_bundle_on_disk_that_lost_a_byte_is_refused(store: Store, published: Release, keys: KeyPair, tmp_path: Path, path: str) -> None:
    bundle.fetch(store, PREFIX, published.digest, keys.public_pem, tmp_path)
    (tmp_path / path).write_bytes((tmp_path / path).read_bytes()[:-1])
    with pytest.raises(IntegrityError):
        bundle.verify(tmp_path, published.digest, keys.public_pem)


def test_a_release_without_an_edge_variant_is_refused_before_anything_goes_up(
    store: Store, make_release: Callable[..., Release], keys: KeyPair
) -> None:
    release = make_release()
    manifest = replace(release.manifest, variants=tuple(v for v in release.manifest.variants if v.kind == SERVING))
    with pytest.raises(IntegrityError, match="no edge variant"):
        bundle.publish(store, PREFIX, replace(release, manifest=manifest), keys.private_pem)
    assert store.list("") == []


def test_a_release_whose_file_was_changed_is_not_published(store: Store, make_release: Callable[..., Release], keys: KeyPair) -> None:
    release = make_release()
    (release.directory / "edge/model.tflite").write_bytes(b"an EVIL model")
    with pytest.raises(IntegrityError, match="wrong content"):
        bundle.publish(store, PREFIX, release, keys.private_pem)
    assert key_of(release, "manifest.dsse.json") not in store.list("")


@pytest.mark.parametrize("digest", ["", "sha256:", "sha256:" + "g" * 64, "sha256:../../x", "md5:" + hashlib.md5(b"").hexdigest()])  # noqa: S324
def test_what_is_no_digest_is_refused(store: Store, keys: KeyPair, tmp_path: Path, digest: str) -> None:
    with pytest.raises(IntegrityError, match="not a release digest"):
        bundle.fetch(store, PREFIX, digest, keys.public_pem, tmp_path)
