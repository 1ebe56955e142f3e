"""Create, change, read and delete objects through the started plugin, against a real API server."""

import base64
from typing import Any

import grpc
import pytest
from pulumi.runtime.proto import provider_pb2

from isthmus.plugin.values import UNKNOWN

CONFIG_MAP = "kubernetes:core/v1:ConfigMap"
SECRET = "kubernetes:core/v1:Secret"
NAMESPACE = "kubernetes:core/v1:Namespace"
SERVICE = "kubernetes:core/v1:Service"
ROLE_BINDING = "kubernetes:rbac.authorization.k8s.io/v1:RoleBinding"
DEFINITION = "kubernetes:apiextensions.k8s.io/v1:CustomResourceDefinition"


def in_(namespace: str, **values: Any) -> dict[str, Any]:
    return {**values, "metadata": {**values.get("metadata", {}), "namespace": namespace}}


def path(made: Any, plural: str) -> str:
    namespace, _, name = made.id.partition("/")
    return f"/api/v1/namespaces/{namespace}/{plural}/{name}"


def test_an_object_goes_through_its_life(plugin: Any, kubernetes: Any, namespace: str) -> None:
    inputs = in_(namespace, data={"a": "1"}, metadata={"name": "settings", "labels": {"x": "y"}})
    preview = plugin.preview(CONFIG_MAP, inputs)
    assert preview["data"] == {"a": "1"}
    assert preview["metadata"]["uid"] is UNKNOWN
    assert kubernetes.get(f"/api/v1/namespaces/{namespace}/configmaps/settings") is None
    made = plugin.create(CONFIG_MAP, inputs)
    assert made.id == f"{namespace}/settings"
    live = kubernetes.get(path(made, "configmaps"))
    assert live["data"] == {"a": "1"}
    [owner] = live["metadata"]["managedFields"]
    assert owner["operation"] == "Apply"
    assert owner["manager"] == made.outputs["__fieldManager"]
    assert owner["manager"].startswith("pulumi-kubernetes-")
    assert made.outputs["__inputs"]["metadata"] == {"name": "settings", "namespace": namespace, "labels": {"x": "y"}}
    assert made.outputs["__initialApiVersion"] == "v1"
    assert made.outputs["metadata"]["uid"] == live["metadata"]["uid"]
    assert plugin.diff(made, inputs).changes == provider_pb2.DiffResponse.DIFF_NONE

    relabelled = in_(namespace, data={"a": "1"}, metadata={"name": "settings"})
    found = plugin.diff(made, relabelled)
    assert {name: diff.kind for name, diff in found.detailedDiff.items()} == {"metadata.labels": provider_pb2.PropertyDiff.DELETE}
    assert not found.replaces
    changed = plugin.update(made, relabelled)
    assert "labels" not in kubernetes.get(path(made, "configmaps"))["metadata"]

    read = plugin.read(changed)
    assert read.input_values == changed.input_values
    plugin.delete(changed)
    assert kubernetes.get(path(made, "configmaps")) is None
    assert plugin.read(changed) is None
    plugin.delete(changed)  # gone already is fine


def test_a_name_is_made_up_once_and_kept(plugin: Any, namespace: str) -> None:
    inputs = in_(namespace, data={"a": "1"})
    made = plugin.create(CONFIG_MAP, inputs, name="settings")
    name = made.outputs["metadata"]["name"]
    assert name.startswith("settings-")
    assert made.outputs["metadata"]["annotations"] == {"pulumi.com/autonamed": "true"}
    assert plugin.diff(made, inputs).changes == provider_pb2.DiffResponse.DIFF_NONE
    replaced = plugin.diff(made, in_(namespace, data={"a": "2"}))
    assert list(replaced.replaces) == ["data.a"]
    assert not replaced.deleteBeforeReplace
    plugin.delete(made)


def test_a_chosen_name_is_freed_before_it_is_used_again(plugin: Any, namespace: str) -> None:
    made = plugin.create(CONFIG_MAP, in_(namespace, data={"a": "1"}, metadata={"name": "settings"}))
    assert plugin.diff(made, in_(namespace, data={"a": "2"}, metadata={"name": "settings"})).deleteBeforeReplace
    renamed = plugin.diff(made, in_(namespace, data={"a": "1"}, metadata={"name": "other"}))
    assert list(renamed.replaces) == ["metadata.name"]
    assert not renamed.deleteBeforeReplace


def test_config_maps_and_secrets_change_in_place_where_the_provider_says_so(new_plugin: Any, namespace: str) -> None:
    with new_plugin({"enableConfigMapMutable": "true", "enableSecretMutable": True}) as plugin:
        for token in (CONFIG_MAP, SECRET):
            made = plugin.create(token, in_(namespace, data={"a": "MQ=="}, metadata={"name": "it"}))
            changed = in_(namespace, data={"a": "Mg=="}, metadata={"name": "it"})
            assert not plugin.diff(made, changed).replaces
            assert plugin.update(made, changed).outputs["data"] == {"a": "Mg=="}


def test_the_namespace_is_the_providers_the_kubeconfigs_or_default(plugin: Any, new_plugin: Any, namespace: str) -> None:
    checked = plugin.checked(CONFIG_MAP, {})
    assert checked["metadata"]["namespace"] == "default"
    assert "namespace" not in plugin.checked(NAMESPACE, {})["metadata"]
    with new_plugin({"namespace": namespace}) as other:
        made = other.create(CONFIG_MAP, {"data": {"a": "1"}})
        assert made.id.startswith(f"{namespace}/")


def test_secrets_are_marked_and_never_shown(plugin: Any, wire: Any, namespace: str) -> None:
    inputs = in_(namespace, stringData={"password": "open sesame"}, metadata={"name": "it"})
    made = plugin.create(SECRET, inputs)
    assert made.outputs["data"] == {"password": base64.b64encode(b"open sesame").decode()}
    assert {("data",), ("__inputs", "stringData")} <= made.secrets
    assert plugin.diff(made, inputs).changes == provider_pb2.DiffResponse.DIFF_NONE
    assert plugin.diff(made, in_(namespace, stringData={"password": "other"}, metadata={"name": "it"})).replaces
    read = plugin.read(made)
    assert {("data",), ("__inputs", "stringData")} <= read.secrets
    assert read.input_values == made.input_values
    wrong = in_(namespace, data={"password": "open-sesame-not-base64"}, metadata={"name": "wrong"})
    with pytest.raises(wire.CallError) as caught:
        plugin.create(SECRET, wrong)
    assert "open" not in str(caught.value)
    assert "sesame" not in plugin.engine.text


def test_what_exists_already_is_not_taken_over(plugin: Any, new_plugin: Any, wire: Any, kubernetes: Any, namespace: str) -> None:
    body = {"metadata": {"name": "there"}, "data": {"a": "0", "b": "theirs"}}
    kubernetes.post(f"/api/v1/namespaces/{namespace}/configmaps", body)
    inputs = in_(namespace, data={"a": "0"}, metadata={"name": "there"})
    with pytest.raises(wire.CallError, match="already exists"):
        plugin.create(CONFIG_MAP, inputs)
    with new_plugin({"upsertExistingObjects": True}) as other:
        made = other.create(CONFIG_MAP, inputs)
        assert made.outputs["data"] == body["data"]
        other.delete(made)  # as the engine would in a replacement of the object by itself
        assert kubernetes.get(path(made, "configmaps"))


def test_a_second_try_after_an_interrupted_create_owns_what_the_first_made(new_plugin: Any, kubernetes: Any, namespace: str) -> None:
    inputs = in_(namespace, data={"a": "1", "b": "2"}, metadata={"name": "it"})
    with new_plugin({"upsertExistingObjects": True}) as plugin:
        plugin.create(CONFIG_MAP, inputs)  # and the engine is killed before it writes that down
    with new_plugin({"upsertExistingObjects": True, "enableConfigMapMutable": True}) as plugin:
        made = plugin.create(CONFIG_MAP, inputs)
        changed = plugin.update(made, in_(namespace, data={"a": "3"}, metadata={"name": "it"}))
        assert kubernetes.get(path(changed, "configmaps"))["data"] == {"a": "3"}


def test_a_field_that_somebody_else_set_is_a_conflict_that_names_both(
    plugin: Any, new_plugin: Any, wire: Any, kubernetes: Any, namespace: str
) -> None:
    with new_plugin({"enableConfigMapMutable": True}) as mutable:
        made = mutable.create(CONFIG_MAP, in_(namespace, data={"a": "1"}, metadata={"name": "it"}))
        theirs = {"apiVersion": "v1", "kind": "ConfigMap", "data": {"a": "2"}}
        kubernetes.apply(path(made, "configmaps"), theirs, "somebody-else")
        changed = in_(namespace, data={"a": "3"}, metadata={"name": "it"})
        for preview in (True, False):
            with pytest.raises(wire.CallError, match=r"'somebody-else' owns \.data\.a"):
                mutable.update(made, changed, preview=preview)
        forced = in_(namespace, data={"a": "3"}, metadata={"name": "it", "annotations": {"pulumi.com/patchForce": "true"}})
        assert mutable.update(made, forced).outputs["data"] == {"a": "3"}


def test_refresh_finds_what_was_changed_and_leaves_out_what_the_program_did_not_say(plugin: Any, kubernetes: Any, namespace: str) -> None:
    inputs = in_(namespace, data={"a": "1"}, metadata={"name": "it", "labels": {"x": "y"}})
    made = plugin.create(CONFIG_MAP, inputs)
    kubernetes.patch(path(made, "configmaps"), {"metadata": {"labels": {"x": "changed", "added": "by-hand"}}})
    read = plugin.read(made)
    assert read.input_values["metadata"]["labels"] == {"x": "changed"}
    assert list(plugin.diff(read, inputs).detailedDiff) == ["metadata.labels.x"]


def test_an_import_gives_inputs_without_what_only_the_server_sets(plugin: Any, wire: Any, kubernetes: Any, namespace: str) -> None:
    kubernetes.post(f"/api/v1/namespaces/{namespace}/configmaps", {"metadata": {"name": "there"}, "data": {"a": "1"}})
    empty = plugin.checked(CONFIG_MAP, {}).__class__()
    imported = plugin.read(wire.Resource(CONFIG_MAP, "it", f"{namespace}/there", empty, empty))
    expected = {"apiVersion": "v1", "kind": "ConfigMap", "data": {"a": "1"}, "metadata": {"name": "there", "namespace": namespace}}
    assert imported.input_values == expected
    assert plugin.diff(imported, expected).changes == provider_pb2.DiffResponse.DIFF_NONE
    assert plugin.read(wire.Resource(CONFIG_MAP, "it", f"{namespace}/not-there", empty, empty)) is None


def test_immutable_fields_ask_for_a_new_object(plugin: Any, namespace: str) -> None:
    binding = {
        "metadata": {"name": "it", "namespace": namespace},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"},
        "subjects": [{"kind": "ServiceAccount", "name": "default", "namespace": namespace}],
    }
    made = plugin.create(ROLE_BINDING, binding)
    changed = {**binding, "roleRef": {**binding["roleRef"], "name": "edit"}}
    assert list(plugin.diff(made, changed).replaces) == ["roleRef.name"]


def test_values_not_known_yet_are_passed_on_at_preview(plugin: Any, namespace: str) -> None:
    preview = plugin.preview(CONFIG_MAP, in_(namespace, data={"a": UNKNOWN}, metadata={"name": "it"}))
    assert preview["data"] == {"a": UNKNOWN}
    unnamed = plugin.preview(CONFIG_MAP, {"metadata": {"namespace": UNKNOWN}, "data": {"a": "1"}})
    assert unnamed["metadata"]["namespace"] is UNKNOWN


def test_an_object_in_a_namespace_of_the_same_update_can_be_previewed_and_waits_for_it(
    plugin: Any, kubernetes: Any, in_background: Any, eventually: Any, namespace: str
) -> None:
    coming = f"{namespace}-coming"
    inputs = in_(coming, data={"a": "1"}, metadata={"name": "it"})
    assert plugin.preview(CONFIG_MAP, inputs)["data"] == {"a": "1"}
    creating = in_background(lambda: plugin.create(CONFIG_MAP, inputs))
    eventually(lambda: "trying again" in plugin.engine.text)
    created = plugin.create(NAMESPACE, {"metadata": {"name": coming}})
    assert created.id == coming
    assert creating.result().id == f"{coming}/it"
    plugin.delete(created)
    assert kubernetes.get(f"/api/v1/namespaces/{coming}") is None


def test_a_custom_resource_works_as_soon_as_its_definition_does(plugin: Any, wire: Any, namespace: str) -> None:
    group = f"{namespace}.example.com"
    token, inputs = f"kubernetes:{group}/v1:Box", {"apiVersion": f"{group}/v1", "kind": "Box", "spec": {"size": 3, "any": 1}}
    inputs["metadata"] = {"name": "it", "namespace": namespace}
    assert plugin.preview(token, inputs)["spec"] == {"size": 3, "any": 1}
    spec = {"type": "object", "x_kubernetes_preserve_unknown_fields": True, "properties": {"size": {"type": "integer"}}}
    schema = {"type": "object", "properties": {"spec": spec}}
    definition = plugin.create(
        DEFINITION,
        {
            "metadata": {"name": f"boxes.{group}"},
            "spec": {
                "group": group,
                "scope": "Namespaced",
                "names": {"kind": "Box", "plural": "boxes", "singular": "box"},
                "versions": [{"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}],
            },
        },
    )
    stored = definition.outputs["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    assert stored["x_kubernetes_preserve_unknown_fields"] is True
    assert plugin.read(definition).input_values == definition.input_values
    made = plugin.create(token, inputs)
    assert made.outputs["spec"] == {"size": 3, "any": 1}
    plugin.delete(definition)
    assert plugin.read(made) is None
    plugin.delete(made)


def test_a_service_keeps_its_address_to_itself_at_preview(plugin: Any, namespace: str) -> None:
    spec = {"ports": [{"port": 80}], "clusterIP": None}
    preview = plugin.preview(SERVICE, in_(namespace, spec=spec, metadata={"name": "it"}))
    assert preview["spec"]["clusterIP"] is UNKNOWN
    headless = plugin.preview(SERVICE, in_(namespace, spec={**spec, "clusterIP": "None"}, metadata={"name": "it"}))
    assert headless["spec"]["clusterIP"] == "None"


@pytest.mark.parametrize(
    ("inputs", "reason"),
    [
        ({"kind": "Secret"}, "kind: is 'Secret'"),
        ({"apiVersion": "v2"}, "apiVersion: is 'v2'"),
        ({"metadata": {"generateName": "x-"}}, "metadata.generateName: is not supported"),
        ({"metadata": {"annotations": {"pulumi.com/waitFor": "jsonpath={.x}"}}}, "does not cover it"),
    ],
)
def test_what_cannot_be_done_is_refused_by_name(plugin: Any, inputs: dict[str, Any], reason: str) -> None:
    [problem] = plugin.problems(CONFIG_MAP, inputs)
    assert reason in problem


@pytest.mark.parametrize(
    "token",
    [
        "kubernetes:helm.sh/v3:Release",
        "kubernetes:apps/v1:DeploymentPatch",
        "kubernetes:core/v1:ConfigMapList",
        "kubernetes:yaml:ConfigFile",
    ],
)
def test_types_that_are_no_objects_are_refused(plugin: Any, wire: Any, token: str) -> None:
    with pytest.raises(wire.CallError, match=token) as caught:
        plugin.check(token, {})
    assert caught.value.code == grpc.StatusCode.UNIMPLEMENTED


def test_what_the_server_refuses_fails_at_preview_with_its_reason(plugin: Any, wire: Any, namespace: str) -> None:
    wrong = in_(namespace, spec={"ports": [{"port": 99999}]}, metadata={"name": "it"})
    with pytest.raises(wire.CallError, match="must be between 1 and 65535"):
        plugin.preview(SERVICE, wrong)
