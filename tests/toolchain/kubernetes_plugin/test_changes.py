from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from toolchain.kubernetes_plugin.changes import changes, deletes_before_replace
from toolchain.kubernetes_plugin.objects import from_object, overlay, secrets_of, to_object, with_whole_lists
from toolchain.kubernetes_plugin.settings import Settings

from isthmus.plugin.bags.bag import Bag
from isthmus.plugin.values import UNKNOWN

SETTINGS = Settings()
KEYS = st.sampled_from(["spec", "data", "replicas", "limits", "cpu", "x"])
LEAVES = st.booleans() | st.integers(0, 3) | st.sampled_from(["1", "1000m", "a", ""])
VALUES = st.recursive(LEAVES, lambda some: st.lists(some, max_size=3) | st.dictionaries(KEYS, some, max_size=3), max_leaves=12)
OBJECTS = st.dictionaries(KEYS, VALUES, max_size=4)


def differ(old: Any, new: Any, **kind: Any) -> dict[str, tuple[str, bool]]:
    found = changes({**old, **kind}, {**new, **kind}, SETTINGS)
    return {".".join(map(str, change.path)): (change.kind, change.replaces) for change in found}


@given(OBJECTS)
def test_nothing_changes_where_nothing_is_changed(values: dict[str, Any]) -> None:
    assert differ(values, values) == {}


@given(OBJECTS, OBJECTS)
def test_what_was_added_one_way_is_deleted_the_other_way(old: dict[str, Any], new: dict[str, Any]) -> None:
    reverse = {"add": "delete", "delete": "add", "update": "update"}
    there, back = differ(old, new), differ(new, old)
    assert {path: reverse[kind] for path, (kind, _) in there.items()} == {path: kind for path, (kind, _) in back.items()}


@given(OBJECTS)
def test_the_live_object_in_the_shape_of_its_own_inputs_is_the_inputs(values: dict[str, Any]) -> None:
    assert overlay(values, values) == values


@given(OBJECTS, OBJECTS)
def test_what_only_the_server_says_is_no_input(values: dict[str, Any], defaults: dict[str, Any]) -> None:
    live = {**values, "status": defaults, "defaulted": defaults}
    assert overlay(live, values) == values


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ({"spec": {"replicas": 1}}, {"spec": {}}, {"spec.replicas": ("delete", False)}),
        ({"spec": {"paused": True}}, {"spec": {"paused": 1}}, {"spec.paused": ("update", False)}),
        ({"spec": {"a": [1, 2]}}, {"spec": {"a": [1]}}, {"spec.a.1": ("delete", False)}),
        ({"spec": {"a": "b"}}, {"spec": {"a": UNKNOWN}}, {"spec.a": ("update", False)}),
        ({"spec": {"selector": {"matchLabels": {"a": "b"}}}}, {"spec": {"selector": {}}}, {"spec.selector.matchLabels": ("delete", True)}),
        ({"metadata": {"name": "a"}}, {"metadata": {"name": "b"}}, {"metadata.name": ("update", True)}),
        ({"__defaults": []}, {"__defaults": ["a"]}, {}),
    ],
)
def test_changes_are_told_leaf_by_leaf(old: Any, new: Any, expected: Any) -> None:
    assert differ(old, new, apiVersion="apps/v1", kind="Deployment") == expected


def test_quantities_are_compared_by_what_they_mean_and_only_where_they_are_quantities() -> None:
    def pod(cpu: str, memory: str, label: str) -> dict[str, Any]:
        return {"metadata": {"labels": {"cpu": label}}, "spec": {"containers": [{"resources": {"limits": {"cpu": cpu, "memory": memory}}}]}}

    assert differ(pod("1", "1Gi", "1"), pod("1000m", "1024Mi", "1")) == {}
    assert differ(pod("1", "1Gi", "1"), pod("1", "1Gi", "1000m")) == {"metadata.labels.cpu": ("update", False)}
    assert differ(pod("1", "1Gi", "1"), pod("1001m", "1Gi", "1")) == {"spec.containers.0.resources.limits.cpu": ("update", False)}


def test_text_of_a_secret_is_the_data_that_the_server_makes_of_it() -> None:
    kind = {"apiVersion": "v1", "kind": "Secret"}
    assert differ({"data": {"a": "eA=="}}, {"stringData": {"a": "x"}}, **kind) == {}
    assert differ({"data": {"a": "eA=="}}, {"stringData": {"a": "y"}}, **kind) == {"data.a": ("update", True)}


def test_what_is_immutable_needs_a_new_object_even_where_the_provider_allows_changes() -> None:
    allowing = Settings(secret_mutable=True, config_map_mutable=True)
    for kind in ("Secret", "ConfigMap"):
        old, new = ({"apiVersion": "v1", "kind": kind, "data": {"a": text}} for text in ("eA==", "eQ=="))
        assert [change.replaces for change in changes(old, new, allowing)] == [False]
        frozen = {**new, "immutable": True}
        assert {change.path: change.replaces for change in changes(old, frozen, allowing)} == {("data", "a"): True, ("immutable",): False}


def test_only_a_name_that_the_program_chose_and_keeps_has_to_be_freed_first() -> None:
    old, moved = {"metadata": {"name": "a", "namespace": "x"}}, {"metadata": {"name": "a", "namespace": "y"}}
    assert deletes_before_replace(old, old, autonamed=False)
    assert not deletes_before_replace(old, old, autonamed=True)
    assert not deletes_before_replace(old, moved, autonamed=False)


def test_dashes_that_an_sdk_cannot_spell_come_back() -> None:
    inputs = {"metadata": {"uid": "x"}, "spec": [{"x_kubernetes_int_or_string": True, "x_other": None}], "__defaults": []}
    sent = to_object(inputs)
    assert sent == {"metadata": {}, "spec": [{"x-kubernetes-int-or-string": True}]}
    assert from_object(sent)["spec"] == [{"x_kubernetes_int_or_string": True}]


def test_secrets_are_known_in_both_spellings_and_lists_are_marked_whole() -> None:
    bag = Bag({"kind": "Secret", "data": {"a": "b3BlbiBzZXNhbWU="}})
    assert secrets_of(bag) >= {"open sesame", "b3BlbiBzZXNhbWU="}
    assert with_whole_lists([("spec", "env", 0, "value"), ("a",)]) == {("spec", "env"), ("a",)}
