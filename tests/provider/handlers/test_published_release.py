"""PublishedRelease against a real store."""

import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from isthmus.release.manifest import Release
from isthmus.release.store import Store, StoreAddress

pytestmark = pytest.mark.slow

SECRETS = frozenset({("store", "access_key"), ("store", "secret_key")})


@pytest.fixture
def bucket(plugin: Any, store: dict[str, str]) -> str:
    name = f"models-{uuid.uuid4().hex[:8]}"
    plugin.create("Bucket", {"store": store, "bucket": name}, secrets=SECRETS)
    return name


@pytest.fixture
def inputs(store: dict[str, str], bucket: str, make_release: Callable[..., Release], cache_directory: Path) -> dict[str, Any]:
    release = {"digest": make_release().digest, "cache_directory": str(cache_directory)}
    return {"store": store, "bucket": bucket, "prefix": "digits/", **release}


@pytest.fixture
def opened(store: dict[str, str], bucket: str) -> Store:
    return Store(StoreAddress.from_inputs(store), bucket)


def test_a_release_is_uploaded_found_and_removed(plugin: Any, inputs: dict[str, Any], opened: Store) -> None:
    plugin.preview("PublishedRelease", inputs)
    assert opened.list("digits/") == []
    release = plugin.create("PublishedRelease", inputs, secrets=SECRETS)
    assert release.secrets == SECRETS
    folder = f"digits/releases/{inputs['digest'].removeprefix('sha256:')}/"
    names = ("golden.json", "making", "manifest.json", "record.json", "serving/1/saved_model.pb", "serving/1/variables/data")
    assert opened.list("digits/") == ["digits/owner.json", *(folder + name for name in names)]
    assert plugin.read(release) is not None
    plugin.delete(release)
    assert opened.list("digits/") == []
    assert plugin.read(release) is None
    plugin.delete(release)


def test_a_missing_or_changed_object_is_drift_that_creating_again_mends(plugin: Any, inputs: dict[str, Any], opened: Store) -> None:
    release = plugin.create("PublishedRelease", inputs)
    for key in (key for key in opened.list("digits/releases/") if not key.endswith("making")):
        size_bytes = opened.size_bytes(key) or 0
        for damage in (lambda key=key: opened.delete([key]), lambda key=key, size=size_bytes: opened.put(key, b"x" * size)):
            damage()
            assert plugin.read(release) is None
            release = plugin.create("PublishedRelease", inputs)
            assert plugin.read(release) is not None


def test_another_digest_is_another_release_and_another_cache_is_no_change(
    plugin: Any, inputs: dict[str, Any], make_release: Callable[..., Release]
) -> None:
    release = plugin.create("PublishedRelease", inputs)
    assert list(plugin.diff(release, {**inputs, "digest": make_release(b"other weights").digest}).replaces) == ["digest"]
    assert not plugin.diff(release, {**inputs, "cache_directory": "/elsewhere", "check_at_preview": True}).diffs


def test_a_prefix_of_another_stack_is_refused_at_preview_and_nothing_in_it_is_touched(
    plugin: Any, inputs: dict[str, Any], opened: Store
) -> None:
    theirs = {**inputs, "owner": "acme/shop/prod"}
    release = plugin.create("PublishedRelease", theirs)
    before = opened.list("")
    (problem,) = plugin.problems("PublishedRelease", {**inputs, "check_at_preview": True})
    assert problem.startswith("prefix: the prefix 'digits/' of bucket ")
    assert "belongs to acme/shop/prod" in problem
    with pytest.raises(Exception, match="belongs to acme/shop/prod"):
        plugin.create("PublishedRelease", inputs)
    checked = plugin.check("PublishedRelease", inputs).inputs
    plugin.delete(type(release)("PublishedRelease", "it", release.id, checked, checked))  # of a stack that was refused
    assert opened.list("") == before
    opened.put("digits/owner.json", b'{"format": 1, "owner": "acme/shop/staging"}')
    with pytest.raises(Exception, match="belongs to acme/shop/staging"):
        plugin.delete(release)
    assert opened.list("") == before
    opened.put("digits/owner.json", b'{"format": 1, "owner": "acme/shop/prod"}')
    assert plugin.problems("PublishedRelease", {**theirs, "check_at_preview": True}) == []
    plugin.delete(release)
    assert opened.list("digits/") == []


def test_a_release_of_a_time_without_owners_is_claimed_in_place(plugin: Any, inputs: dict[str, Any], opened: Store) -> None:
    release = plugin.create("PublishedRelease", inputs)
    opened.delete(["digits/owner.json"])
    claimed = {**inputs, "owner": "acme/shop/dev"}
    assert list(plugin.diff(release, claimed).replaces) == []
    plugin.update(release, claimed)
    assert b"acme/shop/dev" in opened.get("digits/owner.json", max_bytes=1000)


def test_a_release_that_is_not_in_the_cache_is_refused_at_preview(plugin: Any, inputs: dict[str, Any]) -> None:
    with pytest.raises(Exception, match=r"is not in .* or is damaged there"):
        plugin.preview("PublishedRelease", {**inputs, "digest": f"sha256:{'0' * 64}"})


def test_what_a_dead_store_of_this_machine_held_is_gone_and_one_elsewhere_must_answer(
    plugin: Any, inputs: dict[str, Any], dead_store: dict[str, str]
) -> None:
    kind = type(plugin.create("StoreCredentials", {}))
    for endpoint, gone in ((dead_store["endpoint"], True), ("http://store.invalid:8333", False)):
        checked = plugin.check("PublishedRelease", {**inputs, "store": {**dead_store, "endpoint": endpoint}}).inputs
        resource = kind("PublishedRelease", "it", "some-id", checked, checked)
        if gone:
            assert plugin.read(resource) is None
            plugin.delete(resource)
            continue
        for call in (plugin.read, plugin.delete):
            with pytest.raises(Exception, match=r"cannot reach the store at http://store\.invalid:8333"):
                call(resource)


def test_a_store_that_cannot_be_used_is_refused_at_preview_where_that_is_asked(
    plugin: Any, inputs: dict[str, Any], dead_store: dict[str, str]
) -> None:
    assert plugin.problems("PublishedRelease", {**inputs, "check_at_preview": True}) == []
    assert plugin.problems("PublishedRelease", {**inputs, "store": dead_store}) == []
    (problem,) = plugin.problems("PublishedRelease", {**inputs, "store": dead_store, "check_at_preview": True})
    assert problem.startswith(f"store.endpoint: cannot reach the store at {dead_store['endpoint']}")
    wrong = {**inputs["store"], "secret_key": "wrong-secret"}
    (problem,) = plugin.problems("PublishedRelease", {**inputs, "store": wrong, "check_at_preview": True}, secrets=SECRETS)
    assert problem.startswith("store.access_key: ")
    assert "wrong-secret" not in problem


def test_everything_wrong_with_the_arguments_is_said_at_once(plugin: Any, inputs: dict[str, Any]) -> None:
    wrong = {**inputs, "store": {**inputs["store"], "endpoint": "not a url"}, "prefix": "x", "digest": "latest"}
    found = plugin.problems("PublishedRelease", wrong)
    assert [text.split(": ")[0] for text in found] == ["store.endpoint", "prefix", "digest"]
