import dataclasses
import os
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from toolchain.testing import patience

from isthmus.errors import InputError, IntegrityError, ResourceFullError, StoreError
from isthmus.release import s3_client
from isthmus.release import store as stores
from isthmus.release.store import (
    MissingBucketError,
    MissingObjectError,
    RefusedCredentialsError,
    Store,
    StoreAddress,
    UnreachableStoreError,
    normal_endpoint,
)


def test_an_object_is_written_read_listed_and_deleted(store: Store) -> None:
    assert store.put("folder/é 1", b"content")
    assert store.get("folder/é 1", max_bytes=7) == b"content"
    assert store.size_bytes("folder/é 1") == 7
    store.put("other", b"")
    assert store.list("") == ["folder/é 1", "other"]
    assert store.list("folder/") == ["folder/é 1"]
    store.delete(["folder/é 1", "never was there"])
    assert store.list("") == ["other"]
    assert store.size_bytes("folder/é 1") is None


def test_only_new_leaves_what_is_there(store: Store) -> None:
    assert store.put("key", b"first", only_new=True)
    assert not store.put("key", b"second", only_new=True)
    assert store.get("key", max_bytes=10) == b"first"


def test_of_many_writers_of_a_new_key_one_wins(store: Store) -> None:
    wins: list[int] = []
    threads = [
        threading.Thread(target=lambda n=n: wins.append(n) if store.put("key", b"%d" % n, only_new=True) else None) for n in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(wins) == 1
    assert store.get("key", max_bytes=10) == b"%d" % wins[0]


def test_an_object_that_is_too_large_is_refused(store: Store) -> None:
    store.put("key", b"12345678")
    with pytest.raises(IntegrityError, match="larger than 7 bytes"):
        store.get("key", max_bytes=7)


def test_a_file_goes_up_and_comes_down(store: Store, tmp_path: Path) -> None:
    content = os.urandom(5_000_000)
    (tmp_path / "up").write_bytes(content)
    store.put("key", tmp_path / "up")
    store.download("key", tmp_path / "down", size_bytes=len(content))
    assert (tmp_path / "down").read_bytes() == content


@pytest.mark.parametrize("size_bytes", [9, 11])
def test_a_download_of_another_size_is_refused_and_leaves_nothing(store: Store, tmp_path: Path, size_bytes: int) -> None:
    store.put("key", b"0123456789")
    with pytest.raises(IntegrityError, match="has 10 bytes"):
        store.download("key", tmp_path / "down", size_bytes=size_bytes)
    assert not (tmp_path / "down").exists()


def test_a_full_disk_is_told_as_such(store: Store, tmp_path: Path) -> None:
    store.put("key", b"0" * 100_000)
    (tmp_path / "down").symlink_to("/dev/full")
    with pytest.raises(ResourceFullError, match="no space left"):
        store.download("key", tmp_path / "down", size_bytes=100_000)
    assert not (tmp_path / "down").is_symlink()


def test_the_age_of_an_object_is_told_by_the_store_s_clock(store: Store) -> None:
    store.put("key", b"")
    deadline = patience.Deadline(20)
    while (age := store.read("key", max_bytes=1).age_seconds) < 2:
        assert not deadline.over()
        time.sleep(0.1)
    assert age < 20


def test_a_missing_key_and_a_missing_bucket_are_named(store: Store) -> None:
    with pytest.raises(MissingObjectError, match="has no 'nothing'"):
        store.get("nothing", max_bytes=1)
    elsewhere = Store(store.address, "no-such-bucket")
    assert not elsewhere.check()
    for use in (lambda: elsewhere.put("key", b""), lambda: elsewhere.get("key", max_bytes=1), lambda: elsewhere.list("")):
        with pytest.raises(MissingBucketError, match="has no bucket 'no-such-bucket'"):
            use()


@pytest.mark.parametrize("wrong", [{"secret_key": "a wrong secret"}, {"access_key": "a-wrong-name"}])
def test_wrong_credentials_are_refused_and_never_shown(store: Store, wrong: dict[str, str]) -> None:
    refused = Store(dataclasses.replace(store.address, **wrong), store.bucket)
    uses = (
        refused.check,
        refused.ensure_bucket,
        lambda: refused.put("key", b""),
        lambda: refused.size_bytes("key"),
        lambda: refused.list(""),
    )
    for use in uses:
        with pytest.raises(RefusedCredentialsError, match="refuses the credentials") as caught:
            use()
        assert store.address.endpoint in str(caught.value)
        for secret in (refused.address.access_key, refused.address.secret_key):
            assert secret not in str(caught.value)


def test_a_store_that_is_away_is_named_within_seconds() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        endpoint = f"http://127.0.0.1:{probe.getsockname()[1]}"
    began = time.monotonic()
    with pytest.raises(UnreachableStoreError, match=f"cannot reach the store at {endpoint}"):
        Store(StoreAddress(endpoint, "us-east-1", "a", "b"), "bucket").check()
    assert time.monotonic() - began < patience.scaled(15)


def test_what_is_only_shown_does_not_wait_for_a_store_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(s3_client, "BRIEF_READ_TIMEOUT_SECONDS", 0.2)  # whoever waits as long as others is ended by the test's own deadline
    monkeypatch.setattr(s3_client, "READ_TIMEOUT_SECONDS", 3600)
    with socket.create_server(("127.0.0.1", 0)) as hanging:
        address = StoreAddress(f"http://127.0.0.1:{hanging.getsockname()[1]}", "us-east-1", "a", "b")
        with pytest.raises(UnreachableStoreError, match="ReadTimeout"):
            Store(address, "bucket", is_brief=True).get("key", max_bytes=1)


def test_what_is_no_store_is_told_apart(http_404: str) -> None:
    with pytest.raises(StoreError, match="no S3 store"):
        Store(StoreAddress(http_404, "us-east-1", "a", "b"), "bucket").check()


def test_a_name_that_no_bucket_can_have_is_told(store: Store) -> None:
    with pytest.raises(StoreError, match="not a name for a bucket"):
        Store(store.address, "no bucket").check()


def test_a_download_that_breaks_off_is_taken_up_where_it_ended(tmp_path: Path, breaking_server: Any) -> None:
    content = os.urandom(3 * stores.CHUNK_BYTES)
    breaking_server.content = content
    store = Store(StoreAddress(breaking_server.endpoint, "us-east-1", "a", "b"), "bucket")
    store.download("key", tmp_path / "down", size_bytes=len(content))
    assert (tmp_path / "down").read_bytes() == content
    assert len(breaking_server.ranges) > 1
    assert breaking_server.ranges[0] is None
    assert breaking_server.ranges[-1] is not None


def test_a_store_that_trickles_is_given_up_at_the_deadline(tmp_path: Path, trickling_server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(StoreAddress(trickling_server, "us-east-1", "a", "b"), "bucket")
    # Every byte comes well within the timeout of a read, so that alone would go on for ever.
    monkeypatch.setattr(stores, "DOWNLOAD_GRACE_SECONDS", 0.5)
    monkeypatch.setattr(stores, "MINIMUM_BYTES_PER_SECOND", 1e9)
    for use in (lambda: store.get("key", max_bytes=1 << 20), lambda: store.download("key", tmp_path / "down", size_bytes=1 << 20)):
        began = time.monotonic()
        with pytest.raises(StoreError, match="too slowly"):
            use()
        assert time.monotonic() - began < patience.scaled(15)
    assert not (tmp_path / "down").exists()


def test_a_bucket_is_made_once_and_removed_with_its_content(store_server: Any) -> None:
    store = Store(store_server.address, "short-lived")
    assert store.ensure_bucket()
    assert not store.ensure_bucket()
    for number in range(20):
        store.put(f"folder/{number}", b"x")
    store.delete_bucket()
    assert not store.check()
    store.delete_bucket()


def test_a_bucket_with_old_versions_is_removed(store_server: Any) -> None:
    store = Store(store_server.address, "versioned")
    store.ensure_bucket()
    store._client.put_bucket_versioning(Bucket="versioned", VersioningConfiguration={"Status": "Enabled"})
    for content in (b"1", b"2"):
        store.put("key", content)
    store.delete(["key"])
    store.delete_bucket()
    assert not store.check()


def test_all_that_is_wrong_with_an_address_is_said_at_once() -> None:
    with pytest.raises(InputError) as caught:
        StoreAddress.from_inputs({"endpoint": "somewhere", "access_key": "", "region": "eu"})
    assert [problem.path for problem in caught.value.problems] == ["store.access_key", "store.secret_key", "store.endpoint"]


@pytest.mark.parametrize("name", ["endpoint", "region", "access_key", "secret_key"])
@pytest.mark.parametrize("change", [lambda it: f"{it}\n", lambda it: f" {it}", lambda it: f"{it}\0{it}"])
def test_what_no_request_could_carry_is_refused_and_not_shown(name: str, change: Callable[[str], str]) -> None:
    good = {"endpoint": "http://127.0.0.1:1", "region": "eu", "access_key": "my-name", "secret_key": "hunter2"}
    with pytest.raises(InputError, match=rf"store\.{name}: has blanks around it, or line ends") as caught:
        StoreAddress.from_inputs({**good, name: change(good[name])})
    assert "hunter2" not in str(caught.value)


def test_credentials_in_the_endpoint_are_refused_and_not_repeated() -> None:
    with pytest.raises(InputError, match="holds credentials") as caught:
        StoreAddress.from_inputs({"endpoint": "http://me:hunter2@host", "access_key": "a", "secret_key": "b"})
    assert "hunter2" not in str(caught.value)


def test_an_address_shows_no_secret() -> None:
    address = StoreAddress.from_inputs({"endpoint": "http://127.0.0.1:1/", "access_key": "my-name", "secret_key": "my-secret"})
    assert (address.endpoint, address.region) == ("http://127.0.0.1:1", "us-east-1")
    for text in (repr(address), repr(Store(address, "b"))):
        assert "my-" not in text


@pytest.mark.parametrize(
    ("endpoint", "normal"),
    [
        ("http://127.0.0.1:9000", "http://127.0.0.1:9000"),
        ("http://localhost:9000/", "http://127.0.0.1:9000"),
        ("HTTPS://S3.Example.com:443//", "https://s3.example.com"),
        ("http://example.com:80", "http://example.com"),
        ("https://example.com:80/path/", "https://example.com:80/path"),
        ("http://[0:0::1]:9000/", "http://[::1]:9000"),
        ("no url", "no url"),
        ("http://x:port", "http://x:port"),
    ],
)
def test_an_endpoint_has_one_spelling(endpoint: str, normal: str) -> None:
    assert normal_endpoint(endpoint) == normal
    assert normal_endpoint(normal) == normal
