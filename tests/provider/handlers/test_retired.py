"""What a state has of resources that are made no more, against a real store."""

import uuid
from typing import Any

import pytest
from pulumi.runtime.proto import provider_pb2

from isthmus.plugin.schema import MAKING
from isthmus.plugin.values import encode
from isthmus.provider.registry import HANDLERS
from isthmus.release import owners
from isthmus.release.store import Store, StoreAddress

pytestmark = pytest.mark.slow

DIGEST = "a" * 64
OWNER = "acme/shop/dev"
BUNDLE = [f"cameras/bundles/{DIGEST}/{name}" for name in ("making", "manifest.dsse.json", "model.tflite.zlib")]
TARGET = ["cameras/reports/camera-1.json", "cameras/target.dsse.json", "cameras/target.making"]


@pytest.fixture
def there(store: dict[str, str]) -> Store:
    """A bucket with a fleet as a former version left it."""
    found = Store(StoreAddress.from_inputs(store), f"models-{uuid.uuid4().hex[:8]}")
    found.ensure_bucket()
    owners.claim(found, "cameras/", OWNER)
    for key in (*BUNDLE, *TARGET):
        found.put(key, b"m1")
    return found


@pytest.fixture
def deleted(plugin: Any, store: dict[str, str], there: Store) -> Any:
    def delete(kind: str) -> None:
        state = {
            "store": store,
            "bucket": there.bucket,
            "prefix": "cameras/",
            "digest": f"sha256:{DIGEST}",
            "fleet": "cameras",
            MAKING: "m1",
        }
        urn = plugin.urn(kind, "it")
        plugin.stub.Delete(provider_pb2.DeleteRequest(id="it", urn=urn, properties=encode({**state, "owner": OWNER, "private_key": "PEM"})))

    return delete


def test_a_former_fleet_is_deleted_with_all_that_was_below_its_prefix(there: Store, deleted: Any) -> None:
    deleted("Rollout")
    assert there.list("") == [*BUNDLE, "cameras/owner.json"]
    deleted("SignedBundle")
    assert there.list("") == []
    deleted("SigningKey")
    deleted("Rollout")  # what is gone is no error


def test_a_repository_that_has_taken_the_place_of_a_former_fleet_keeps_its_owner(there: Store, deleted: Any) -> None:
    there.put("cameras/metadata/timestamp.json", b"{}")
    deleted("Rollout")
    deleted("SignedBundle")
    assert there.list("") == ["cameras/metadata/timestamp.json", "cameras/owner.json"]


def test_a_former_fleet_that_is_somebody_elses_is_not_touched(there: Store, deleted: Any) -> None:
    there.put("cameras/owner.json", b'{"format": 1, "owner": "acme/shop/prod"}')
    before = there.list("")
    with pytest.raises(Exception, match="belongs to acme/shop/prod"):
        deleted("Rollout")
    assert there.list("") == before


@pytest.mark.parametrize("kind", ["Rollout", "SignedBundle", "SigningKey"])
def test_none_of_them_is_made_any_more_and_one_that_is_there_can_be_refreshed(plugin: Any, store: dict[str, str], kind: str) -> None:
    inputs = {"store": store, "bucket": "b", "prefix": "p/", "digest": "d", "fleet": "f"}
    known = {name: it for name, it in inputs.items() if name in HANDLERS[f"isthmus:index:{kind}"].spec.inputs}
    (problem,) = plugin.problems(kind, known)
    assert "FleetRepository and FleetWave" in problem
    state = encode({**known, "private_key": "PEM", "public_key": "PEM"})
    found = plugin.stub.Read(provider_pb2.ReadRequest(id="it", urn=plugin.urn(kind, "it"), properties=state, inputs=encode(known)))
    assert found.id == "it"
