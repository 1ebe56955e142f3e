"""KubernetesMonitors against a real API server: objects of kinds that it is taught, and of kinds that it does not know."""

import time
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

OURS, THEIRS = "acme/shop/dev", "acme/shop/prod"
KIND = "KubernetesMonitors"


class Place:
    """A namespace, and a group of kinds of its own that the API server may be taught."""

    def __init__(self, api: Any) -> None:
        mark = uuid.uuid4().hex[:8]
        self.api, self.namespace, self.group = api, f"monitors-{mark}", f"{mark}.example.org"
        api.call("POST", "/api/v1/namespaces", {"metadata": {"name": self.namespace}})

    def inputs(self, **changes: Any) -> dict[str, Any]:
        place = {"kubeconfig": self.api.kubeconfig, "namespace": self.namespace, "service": "digits", "owner": OURS}
        return {**place, "objects": [self.object("one"), self.object("two")], **changes}

    def object(self, name: str, colour: str = "red", owner: str = OURS) -> dict[str, Any]:
        metadata = {"name": name, "namespace": self.namespace, "annotations": {"isthmus.dev/owner": owner}}
        return {"apiVersion": f"{self.group}/v1", "kind": "Ball", "metadata": metadata, "spec": {"colour": colour}}

    def path(self, name: str = "") -> str:
        return f"/apis/{self.group}/v1/namespaces/{self.namespace}/balls" + (f"/{name}" if name else "")

    def get(self, name: str) -> Any:
        return self.api.call("GET", self.path(name))

    def teach(self) -> None:
        """Waits until the kind can be used, as `kubectl wait --for condition=established` does."""
        anything = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
        version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": anything}}
        names = {"plural": "balls", "singular": "ball", "kind": "Ball"}
        spec = {"group": self.group, "scope": "Namespaced", "names": names, "versions": [version]}
        root, name = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", f"balls.{self.group}"
        self.api.call("POST", root, {"metadata": {"name": name}, "spec": spec})
        deadline = time.monotonic() + 120
        while {self.api.send("GET", path)[0] for path in (self.path(), f"/apis/{self.group}")} != {200}:  # 429: not yet
            assert time.monotonic() < deadline, "the kind is not there"
            time.sleep(0.2)

    def forget(self) -> None:
        self.api.call("DELETE", f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/balls.{self.group}")


@pytest.fixture
def place(api: Any) -> Iterator[Place]:
    found = Place(api)
    yield found
    found.forget()


def colour_of(place: Place, name: str = "one") -> Any:
    found = place.get(name)
    return found and found["spec"]["colour"]


def test_kinds_that_a_cluster_is_taught_later_are_drift_and_the_next_update_makes_them(plugin: Any, place: Place) -> None:
    made = plugin.create(KIND, place.inputs())
    assert (made.outputs["made"], made.outputs["intact"]) == (False, True)
    read = plugin.read(made)
    assert read.outputs["intact"] is True
    place.teach()
    read = plugin.read(made)
    assert (read.outputs["made"], read.outputs["intact"]) == (True, False)
    assert list(plugin.diff(read, place.inputs()).diffs) == ["intact"]
    updated = plugin.update(read, place.inputs())
    assert updated.outputs["made"] is True
    assert (colour_of(place, "one"), colour_of(place, "two")) == ("red", "red")
    assert plugin.read(updated).outputs["intact"] is True
    plugin.delete(updated)
    assert place.get("one") is place.get("two") is None


def test_what_is_changed_by_hand_is_mended_and_what_is_not_named_any_more_goes(plugin: Any, place: Place) -> None:
    place.teach()
    made = plugin.create(KIND, place.inputs())
    place.api.call("PATCH", place.path("one"), {"spec": {"colour": "blue"}}, "application/merge-patch+json")
    read = plugin.read(made)
    assert read.outputs["intact"] is False
    updated = plugin.update(read, place.inputs(objects=[place.object("one")]))
    assert colour_of(place) == "red"
    assert place.get("two") is None
    assert plugin.read(updated).outputs["intact"] is True


def test_what_is_replaced_in_place_survives_the_deletion_of_the_old_one(plugin: Any, place: Place) -> None:
    place.teach()
    old = plugin.create(KIND, place.inputs())
    plugin.create(KIND, place.inputs())
    plugin.delete(old)
    assert colour_of(place) == "red"


def test_a_foreign_object_is_refused_by_its_owners_name_and_stays(plugin: Any, place: Place) -> None:
    place.teach()
    theirs = place.object("two", "green", THEIRS)
    place.api.call("POST", place.path(), theirs)
    with pytest.raises(Exception, match=f"Ball {place.namespace}/two is there, and its owner is {THEIRS}. Fix: "):
        plugin.create(KIND, place.inputs())
    assert place.get("one") is None
    assert colour_of(place, "two") == "green"
