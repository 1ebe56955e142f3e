"""Bucket against a real store."""

import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from toolchain.testing import patience

from isthmus.errors import StoreError
from isthmus.plugin.handler import Context, PartlyMadeError
from isthmus.plugin.values import decode, encode
from isthmus.provider.handlers.bucket import BucketHandler
from isthmus.release import owners
from isthmus.release.manifest import Release
from isthmus.release.store import Store, StoreAddress

pytestmark = pytest.mark.slow

SECRETS = frozenset({("store", "access_key"), ("store", "secret_key")})


@pytest.fixture
def bucket() -> str:
    return f"models-{uuid.uuid4().hex[:8]}"


@pytest.fixture
def made(plugin: Any, store: dict[str, str], bucket: str) -> Any:
    return plugin.create("Bucket", {"store": store, "bucket": bucket}, secrets=SECRETS)


@pytest.fixture
def inputs(made: Any, store: dict[str, str], bucket: str, make_release: Callable[..., Release], cache_directory: Path) -> dict[str, Any]:
    return {
        "store": store,
        "bucket": bucket,
        "prefix": "cameras/",
        "digest": make_release().digest,
        "cache_directory": str(cache_directory),
    }


def opened(store: dict[str, str], bucket: str) -> Store:
    return Store(StoreAddress.from_inputs(store), bucket)


def test_a_bucket_is_made_found_and_deleted_with_what_is_the_stacks_in_it(
    plugin: Any, made: Any, inputs: dict[str, Any], store: dict[str, str], bucket: str
) -> None:
    assert made.secrets == SECRETS
    assert made.outputs["made"]
    assert plugin.read(made).outputs == made.outputs
    plugin.create("PublishedRelease", inputs)
    plugin.delete(made)
    assert not opened(store, bucket).check()
    assert plugin.read(made) is None
    plugin.delete(made)


def test_a_stores_keys_are_secret_also_where_no_program_says_so(plugin: Any, store: dict[str, str], bucket: str) -> None:
    properties = {"store": store, "bucket": bucket}
    assert decode(plugin.check("Bucket", properties).inputs)[1] == SECRETS
    made = plugin.create("Bucket", properties)
    try:
        assert made.secrets == SECRETS
        assert plugin.read(made).secrets == SECRETS
        assert plugin.update(made, properties).secrets == SECRETS
        whole = plugin.update(made, properties, secrets=frozenset({("store",)}))
        assert whole.secrets == {("store",)}  # one mark, not one in another
    finally:
        plugin.delete(made)


def test_a_bucket_of_a_stack_that_was_renamed_stays_its_own_over_updates(
    plugin: Any, made: Any, store: dict[str, str], bucket: str
) -> None:
    renamed = plugin.update(made, {"store": store, "bucket": bucket, "owner": "acme/shop/new"})
    assert renamed.outputs["made"]
    plugin.delete(renamed)
    assert not opened(store, bucket).check()


def test_a_bucket_that_was_made_and_not_claimed_stays_known_and_is_claimed_next(
    monkeypatch: pytest.MonkeyPatch, store: dict[str, str], bucket: str
) -> None:
    handler, context = BucketHandler(), Context("urn:pulumi:test::project::isthmus:index:Bucket::it")
    inputs = {"store": store, "bucket": bucket, "owner": "acme/shop/dev"}

    def fail(*_: Any, **__: Any) -> bool:
        raise StoreError("the disk is full")

    with monkeypatch.context() as full:
        full.setattr(Store, "put", fail)
        with pytest.raises(PartlyMadeError, match="made, and cannot be claimed: the disk is full") as caught:
            handler.create(inputs, context)
    state = {**inputs, **caught.value.outputs}
    assert handler.update(caught.value.id, state, inputs, context) == {"made": True}
    assert owners.owner_in(opened(store, bucket), "") == "acme/shop/dev"
    handler.delete(caught.value.id, state, context)
    assert not opened(store, bucket).check()


def test_a_bucket_that_was_there_is_used_and_stays_with_all_that_is_in_it(plugin: Any, store: dict[str, str], bucket: str) -> None:
    there = opened(store, bucket)
    there.ensure_bucket()
    there.put("payroll.csv", b"data")
    used = plugin.create("Bucket", {"store": store, "bucket": bucket})
    assert not used.outputs["made"]
    plugin.delete(plugin.update(used, {"store": store, "bucket": bucket}))
    assert there.list("") == ["payroll.csv"]


@pytest.mark.parametrize("key", ["payroll.csv", "other/owner.json", "cameras/inner/owner.json", "cameras.json"])
def test_a_bucket_of_the_stacks_own_that_holds_something_foreign_stays_and_says_so(
    plugin: Any, made: Any, inputs: dict[str, Any], key: str
) -> None:
    bundle = plugin.create("PublishedRelease", inputs)
    there = opened(inputs["store"], inputs["bucket"])
    there.put(key, b'{"format": 1, "owner": "acme/shop/prod"}')
    before = there.list("")
    plugin.delete(made)
    assert there.list("") == before
    assert f"holds what is not this stack's ({key}" in plugin.engine.texts(ephemeral=False)[-1]
    plugin.delete(bundle)


def test_what_a_dead_store_of_this_machine_held_is_gone_at_once(
    plugin: Any, dead_store: dict[str, str], inputs: dict[str, Any], bucket: str
) -> None:
    start = time.monotonic()
    for kind, properties in (("Bucket", {"store": dead_store, "bucket": bucket}), ("PublishedRelease", {**inputs, "store": dead_store})):
        checked = plugin.check(kind, properties).inputs
        resource = type(plugin.create("StoreCredentials", {}))(kind, "it", "some-id", checked, checked)
        assert plugin.read(resource) is None
        plugin.delete(resource)
    assert time.monotonic() - start < patience.scaled(20)


def test_a_store_elsewhere_that_does_not_answer_is_an_error(plugin: Any, dead_store: dict[str, str], bucket: str) -> None:
    elsewhere = {**dead_store, "endpoint": "http://store.invalid:8333"}
    checked = plugin.check("Bucket", {"store": elsewhere, "bucket": bucket}).inputs
    state = encode({**decode(checked)[0], "made": True})
    resource = type(plugin.create("StoreCredentials", {}))("Bucket", "it", bucket, checked, state)
    for call in (plugin.read, plugin.delete):
        with pytest.raises(Exception, match=r"cannot reach the store at http://store.invalid:8333"):
            call(resource)
