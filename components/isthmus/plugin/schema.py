"""What each custom resource accepts and returns, as a value.

One table of properties for each resource drives the generic part of Check (types, required, unknown names), the diff
(what replaces), which outputs are secret, and the package schema that other languages get.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from isthmus.errors import Problem, property_path
from isthmus.limits import Limit
from isthmus.plugin.values import UNKNOWN, Path

Type = Literal["string", "integer", "number", "boolean", "array", "object"]

# How a type is called in a message, and which Python values it has. bool is an int in Python, and is none here.
_EXPECTED: Mapping[Type, tuple[str, tuple[type, ...]]] = {
    "string": ("a string", (str,)),
    "integer": ("a whole number", (int,)),
    "number": ("a number", (int, float)),
    "boolean": ("true or false", (bool,)),
    "array": ("a list", (list,)),
    "object": ("a mapping", (dict,)),
}


@dataclass(frozen=True)
class Property:
    """One property.

    required: of an input; an empty string does not count as given. default: of an input that is left out.
    secret: always marked as secret. Values that the program marked stay secret without it.
    replaces: a change makes a new resource. spelling: makes the one spelling of a value that has several: another is no change.
    compared: False where a change of it alone changes nothing that exists.
    minimum, maximum: of a number, both included. items: of an array, or of an object that maps names to values of one kind.
    fields: of an object with known keys.
    """

    type: Type
    description: str
    required: bool = True
    default: Any = None
    secret: bool = False
    replaces: bool = False
    compared: bool = True
    minimum: float = -math.inf
    maximum: float = math.inf
    spelling: Callable[[Any], Any] | None = None
    items: "Property | None" = None
    fields: Mapping[str, "Property"] | None = None

    @classmethod
    def of(cls, limit: Limit, *, given: bool = False) -> "Property":
        """A number with the bounds and the default of a limit. given: a program must say it; else what is left out is the default."""
        return cls(
            "integer" if limit.whole else "number",
            limit.what,
            required=given or limit.default is not None,
            default=None if given else limit.default,
            compared=limit.affects,
            minimum=limit.least,
            maximum=limit.most,
        )


# A resource that is replaced and keeps its name, folder or key is made first and deleted afterwards: the new one must survive
# that. So each making has a mark of its own, in the state and beside the thing, and a delete takes away its own making alone.
MAKING: Final = "making"
_MAKING_PROPERTY: Final = Property("string", "marks this making of the resource, so that deleting an earlier one leaves it alone")


@dataclass(frozen=True)
class ResourceSpec:
    """One resource: its name in the type token, what it is, inputs, and the outputs beside the inputs.

    deprecated: why it is made no more; empty where it is.
    """

    name: str
    description: str
    inputs: Mapping[str, Property] = field(default_factory=dict)
    outputs: Mapping[str, Property] = field(default_factory=dict)
    deprecated: str = ""

    @property
    def secret_paths(self) -> frozenset[Path]:
        """The paths of what is secret whoever gives it, inside objects with known keys as well."""
        return frozenset(_secret_paths({**self.inputs, **self.outputs}, ()))

    def with_defaults(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """The inputs, with the default of each property that was left out."""
        defaults = {name: prop.default for name, prop in self.inputs.items() if prop.default is not None}
        return {**defaults, **inputs}


def _secret_paths(properties: Mapping[str, Property], path: Path) -> Iterator[Path]:
    for name, prop in properties.items():
        if prop.secret:
            yield (*path, name)
        elif prop.fields is not None:
            yield from _secret_paths(prop.fields, (*path, name))


def problems(spec: ResourceSpec, inputs: Mapping[str, Any]) -> list[Problem]:
    """Everything that is wrong with the inputs by the table alone. What is unknown yet is not judged."""
    return list(_check_fields(spec.inputs, inputs, ()))


def _check_fields(fields: Mapping[str, Property], values: Mapping[str, Any], path: Path) -> Iterator[Problem]:
    for name in values:
        # Names that start with __ are the engine's own.
        if name not in fields and not name.startswith("__"):
            yield Problem(property_path((*path, name)), "is not a property of this resource", f"one of {', '.join(sorted(fields))}")
    for name, prop in fields.items():
        value = values.get(name)
        if value is None or value == "":
            if prop.required and prop.default is None:
                yield Problem(property_path((*path, name)), "is missing", _EXPECTED[prop.type][0], f"give {prop.description}")
        else:
            yield from _check_value(prop, value, (*path, name))


def _check_value(prop: Property, value: Any, path: Path) -> Iterator[Problem]:
    if value is UNKNOWN:
        return
    expected, types = _EXPECTED[prop.type]
    fits: bool = isinstance(value, types) and isinstance(value, bool) == (prop.type == "boolean")
    if not fits:
        # The value itself may be a secret that the program did not mark: name its type alone.
        yield Problem(property_path(path), f"is {_type_name(value)}", expected)
    elif prop.type in {"integer", "number"} and not prop.minimum <= value <= prop.maximum:
        yield Problem(property_path(path), f"is {value}", _range(prop))
    elif prop.fields is not None:
        yield from _check_fields(prop.fields, value, path)
    elif prop.items is not None:
        pairs: Sequence[tuple[str | int, Any]] = list(value.items() if isinstance(value, dict) else enumerate(value))
        for key, item in pairs:
            if item is None:
                yield Problem(property_path((*path, key)), "is null", _EXPECTED[prop.items.type][0])
            else:
                yield from _check_value(prop.items, item, (*path, key))


def _type_name(value: Any) -> str:
    # A boolean is an int too, and an int may stand for a number: the narrower type first.
    for name, types in sorted(_EXPECTED.values(), key=lambda entry: bool not in entry[1]):
        if isinstance(value, types):
            return name
    return type(value).__name__


def _range(prop: Property) -> str:
    if prop.maximum == math.inf:
        return f"{prop.minimum:g} or more"
    return f"{prop.minimum:g} to {prop.maximum:g}"


def package_schema(package: str, version: str, specs: Sequence[ResourceSpec]) -> dict[str, Any]:
    """The Pulumi package schema of these resources, as the value of its JSON."""
    return {
        "name": package,
        "version": version,
        "displayName": "Isthmus",
        "description": "Deploys AI models to the cloud, to edge fleets, or to both.",
        "license": "Apache-2.0",
        "meta": {"supportPack": True},
        "language": {"python": {"respectSchemaVersion": True}, "nodejs": {"respectSchemaVersion": True}},
        "config": {},
        "provider": {"description": "The Isthmus plugin. It has no settings."},
        "types": {
            name: _object_schema(name, prop)
            for spec in specs
            for top, value in {**spec.inputs, **spec.outputs}.items()
            for name, prop in _objects(f"{package}:index:{spec.name}{_title(top)}", value)
        },
        "resources": {f"{package}:index:{spec.name}": _resource_schema(package, spec) for spec in specs},
    }


def _title(name: str) -> str:
    return "".join(word.capitalize() for word in name.split("_"))


def _objects(name: str, prop: Property) -> Iterator[tuple[str, Property]]:
    """The objects with known keys in a property, each with the name of its type."""
    if prop.items is not None:
        yield from _objects(name, prop.items)
    if prop.fields is not None:
        yield name, prop
        for key, value in prop.fields.items():
            yield from _objects(name + _title(key), value)


def _resource_schema(package: str, spec: ResourceSpec) -> dict[str, Any]:
    def described(properties: Mapping[str, Property], *, is_input: bool) -> dict[str, Any]:
        types = {name: f"{package}:index:{spec.name}{_title(name)}" for name in properties}
        return {name: _property_schema(prop, types[name], is_input=is_input) for name, prop in properties.items()}

    outputs = {**spec.inputs, **spec.outputs}
    return {
        "description": spec.description,
        **({"deprecationMessage": spec.deprecated} if spec.deprecated else {}),
        "inputProperties": described(spec.inputs, is_input=True),
        "requiredInputs": [name for name, prop in spec.inputs.items() if prop.required and prop.default is None],
        "properties": described(outputs, is_input=False),
        "required": [name for name, prop in outputs.items() if prop.required],
    }


def _object_schema(type_name: str, prop: Property) -> dict[str, Any]:
    """A type of its own for an object with known keys: there what is secret in it is declared."""
    fields = prop.fields or {}
    return {
        "description": prop.description,
        "type": "object",
        "properties": {name: _property_schema(it, type_name + _title(name), is_input=False) for name, it in fields.items()},
        "required": [name for name, it in fields.items() if it.required and it.default is None],
    }


def _property_schema(prop: Property, type_name: str, *, is_input: bool) -> dict[str, Any]:
    """type_name: of the type that an object with known keys in it has."""
    schema = {"description": prop.description, **_type_schema(prop, type_name)}
    if prop.secret:
        schema["secret"] = True
    if is_input and prop.default is not None and not isinstance(prop.default, dict | list):
        schema["default"] = prop.default
    if is_input and prop.replaces:
        schema["willReplaceOnChanges"] = True
    return schema


def _type_schema(prop: Property, type_name: str) -> dict[str, Any]:
    inner = _type_schema(prop.items, type_name) if prop.items else {"$ref": "pulumi.json#/Any"}
    if prop.type == "array":
        return {"type": "array", "items": inner}
    if prop.type == "object":
        return {"$ref": f"#/types/{type_name}"} if prop.fields is not None else {"type": "object", "additionalProperties": inner}
    return {"type": prop.type}
