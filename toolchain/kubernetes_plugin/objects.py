"""Kubernetes objects as plain values: names, annotations, secrets, and what the state keeps of them. Pure."""

import base64
import binascii
from collections.abc import Iterable, Mapping
from typing import Any, Final

from isthmus.plugin.bags.bag import Bag
from isthmus.plugin.values import UNKNOWN, Path, Properties

AUTONAMED: Final = "pulumi.com/autonamed"
SKIP_AWAIT: Final = "pulumi.com/skipAwait"
TIMEOUT: Final = "pulumi.com/timeoutSeconds"
PATCH_FORCE: Final = "pulumi.com/patchForce"
FIELD_MANAGER: Final = "pulumi.com/patchFieldManager"
DELETION: Final = "pulumi.com/deletionPropagationPolicy"
# Of the metadata: what the server alone sets.
READ_ONLY: Final = ("creationTimestamp", "deletionTimestamp", "generation", "managedFields", "resourceVersion", "selfLink", "uid")

# The SDKs spell these properties of a CustomResourceDefinition with underscores, because a dash is no identifier.
_DASHED: Final = {
    f"x_kubernetes_{name}": f"x-kubernetes-{name.replace('_', '-')}"
    for name in (
        "embedded_resource",
        "int_or_string",
        "list_map_keys",
        "list_type",
        "map_type",
        "preserve_unknown_fields",
        "validations",
    )
}
_UNDERSCORED: Final = {dashed: name for name, dashed in _DASHED.items()}


def _renamed(value: Any, names: Mapping[str, str]) -> Any:
    if isinstance(value, dict):
        return {names.get(key, key): _renamed(item, names) for key, item in value.items()}
    return [_renamed(item, names) for item in value] if isinstance(value, list) else value


def to_object(inputs: Properties) -> Properties:
    """What is sent to the API server: the inputs without what an SDK needs for itself, and without what the server alone sets."""
    plain = _renamed(_without_none({key: value for key, value in inputs.items() if not key.startswith("__")}), _DASHED)
    kept = {key: value for key, value in plain.get("metadata", {}).items() if key not in READ_ONLY}
    return {**plain, "metadata": kept}


def _without_none(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_none(item) for key, item in value.items() if item is not None}
    return [_without_none(item) for item in value] if isinstance(value, list) else value


def from_object(live: Properties) -> Properties:
    """An object as a program sees it."""
    renamed: Properties = _renamed(live, _UNDERSCORED)
    return renamed


def metadata(values: Mapping[str, Any]) -> Mapping[str, Any]:
    """The object's metadata; empty where it is missing or not known yet."""
    found = values.get("metadata")
    return found if isinstance(found, dict) else {}


def annotation(values: Mapping[str, Any], name: str) -> str:
    """Empty where it is not set."""
    found = metadata(values).get("annotations")
    value = found.get(name) if isinstance(found, dict) else None
    return value if isinstance(value, str) else ""


def name_of(values: Mapping[str, Any]) -> str:
    """Empty where there is none, or none is known."""
    name = metadata(values).get("name")
    return name if isinstance(name, str) else ""


def namespace_of(values: Mapping[str, Any]) -> str:
    """Empty where there is none, or none is known."""
    namespace = metadata(values).get("namespace")
    return namespace if isinstance(namespace, str) else ""


def id_of(values: Mapping[str, Any]) -> str:
    """`namespace/name`, or the name of an object that has no namespace."""
    return "/".join(part for part in (namespace_of(values), name_of(values)) if part)


def parse_id(id: str) -> tuple[str, str]:
    """Namespace (may be empty) and name."""
    namespace, _, name = id.rpartition("/")
    return namespace, name


def with_metadata(values: Properties, **changes: Any) -> Properties:
    """The object with some of its metadata set."""
    return {**values, "metadata": {**metadata(values), **changes}}


def secret_paths(values: Mapping[str, Any], inherited: Iterable[Path]) -> frozenset[Path]:
    """Which values are secret: those at the paths of secret inputs, and a Secret's data."""
    if values.get("kind") != "Secret":
        return frozenset(inherited)
    return frozenset({path for path in inherited if path[0] not in ("data", "stringData")} | {("data",), ("stringData",)})


def with_whole_lists(paths: Iterable[Path]) -> frozenset[Path]:
    """For values that others may have put into another order: a list with a secret element is secret as a whole."""
    return frozenset(_before_list(path) for path in paths)


def _before_list(path: Path) -> Path:
    for index, step in enumerate(path):
        if isinstance(step, int):
            return path[:index]
    return path


def secrets_of(*bags: Bag) -> frozenset[str]:
    """What must not show up in a message about these inputs: secret strings, and the same in base64 and decoded from it."""
    found = {text for bag in bags for text in Bag(bag.values, secret_paths(bag.values, bag.secrets)).secret_strings}
    for secret in list(found):
        found |= {base64.b64encode(secret.encode()).decode(), _decoded(secret) or ""}
    return frozenset(found)


def state_of(inputs: Bag, live: Properties, before: Mapping[str, Any]) -> Bag:
    """The state as the official plugin writes it: the live object, and beside it the inputs and who applied them.

    before: the state so far, with `__fieldManager`, and `__initialApiVersion` unless the object is new.
    """
    values = from_object(live)
    marked = Bag(inputs.values, secret_paths(inputs.values, inputs.secrets))
    initial = before.get("__initialApiVersion") or inputs.values["apiVersion"]
    kept = {**values, "__fieldManager": before["__fieldManager"], "__initialApiVersion": initial}
    return Bag(kept, with_whole_lists(secret_paths(values, inputs.secrets))).containing("__inputs", marked)


def overlay(live: Any, inputs: Any) -> Any:
    """The live object in the shape of the inputs: what a program would have to say to get what is there.

    Values that only the server or another controller set are left out. An input that is empty stays: the server drops empty values.
    """
    if isinstance(inputs, dict) and isinstance(live, dict):
        found = {key: overlay(live[key], value) for key, value in inputs.items() if key in live}
        return {**{key: value for key, value in inputs.items() if key not in live and value in ({}, [], None)}, **found}
    if isinstance(inputs, list) and isinstance(live, list):
        paired = [overlay(item, inputs[index]) if index < len(inputs) else item for index, item in enumerate(live)]
        return paired if all(isinstance(item, dict) for item in live) else live
    return live


def as_inputs(live: Properties, inputs: Properties) -> Properties:
    """The live object in the shape of the inputs, as a program sees it; a Secret's text stays text."""
    shaped: Properties = overlay(live, to_object(inputs))
    texts = inputs.get("stringData")
    if live.get("kind") == "Secret" and isinstance(texts, dict):
        data = live.get("data") or {}
        found = {key: _decoded(data[key]) for key in texts if key in data}
        shaped = {**shaped, "stringData": {key: text for key, text in found.items() if text is not None}}
    return from_object(shaped)


def _decoded(text: str) -> str | None:
    """None: it is not text in base64."""
    try:
        return base64.b64decode(text, validate=True).decode()
    except (binascii.Error, ValueError):
        return None


# What a dry run makes up: it is different when the object is made.
_MADE_UP: Final[tuple[Path, ...]] = (
    ("metadata", "uid"),
    ("metadata", "resourceVersion"),
    ("metadata", "creationTimestamp"),
    ("status",),
)
_MADE_UP_OF_SERVICE: Final[tuple[Path, ...]] = (("spec", "clusterIP"), ("spec", "clusterIPs"), ("spec", "healthCheckNodePort"))


def foreseen(live: Properties, inputs: Properties) -> Properties:
    """The answer of a dry run of a create, with UNKNOWN where the server only made a value up."""
    result = live
    for path in _MADE_UP + (_MADE_UP_OF_SERVICE if live.get("kind") == "Service" else ()):
        result = _with_unknown(result, inputs, path)
    return result


def _with_unknown(live: Properties, inputs: Any, path: Path) -> Properties:
    key = str(path[0])
    given = inputs.get(key) if isinstance(inputs, dict) else None
    if key not in live or (len(path) == 1 and given is not None):
        return live
    return {**live, key: UNKNOWN if len(path) == 1 else _with_unknown(live[key], given, path[1:])}
