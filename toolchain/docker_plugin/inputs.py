"""Checks, defaults and differences of inputs by the tables, as the official plugin's bridge does them. Pure."""

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

from toolchain.docker_plugin.tables import KEPT, REFUSED, SETS

from isthmus.errors import Problem, property_path
from isthmus.plugin import schema
from isthmus.plugin.bags.bag import Bag
from isthmus.plugin.bags.handler import Call
from isthmus.plugin.bags.names import automatic_name
from isthmus.plugin.diffs import Change, compare
from isthmus.plugin.schema import Property, ResourceSpec
from isthmus.plugin.values import Properties

_DEFAULTS: Final = "__defaults"
_TIMEOUTS_KEY: Final = "e2bfb730-ecaa-11e6-8f88-34363bc7c4c0"  # of the Terraform SDK
_LONGEST_NAME: Final = 255
_OFFICIAL = "install the official plugin (`pulumi plugin install resource docker`), or leave it out"


def problems(spec: ResourceSpec, inputs: Mapping[str, Any]) -> list[Problem]:
    """Everything that is wrong by the table alone; what the official plugin has and this one has not is refused by name."""
    refused = list(_refused(REFUSED[spec.name], inputs, ()))
    rest = _without(inputs, {problem.path for problem in refused})
    return refused + schema.problems(spec, rest)


def _refused(patterns: frozenset[str], value: Any, path: tuple[str | int, ...]) -> Iterator[Problem]:
    pattern = ".".join("*" if isinstance(step, int) else step for step in path)
    if path and pattern in patterns:
        yield Problem(property_path(path), "is not covered by the fall-back docker plugin", fix=_OFFICIAL)
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _refused(patterns, item, (*path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _refused(patterns, item, (*path, index))


def _without(value: Any, paths: set[str], path: tuple[str | int, ...] = ()) -> Any:
    if isinstance(value, Mapping):
        return {key: _without(item, paths, (*path, key)) for key, item in value.items() if property_path((*path, key)) not in paths}
    if isinstance(value, list):
        return [_without(item, paths, (*path, index)) for index, item in enumerate(value)]
    return value


def with_defaults(spec: ResourceSpec, inputs: Bag, old_inputs: Bag, call: Call, *, named: bool) -> Bag:
    """Inputs with all defaults, and `__defaults` that names them. named: an automatic name where none is given, the same as before."""
    values = {key: value for key, value in inputs.values.items() if not key.startswith("__")}
    given = set(values)
    if named and not values.get("name"):
        given.discard("name")
        automatic = "name" in (old_inputs.values.get(_DEFAULTS) or ())
        kept = old_inputs.values.get("name") if automatic else None
        values["name"] = kept or (automatic_name(call, _LONGEST_NAME) if call.names_allowed else None)
    filled = _filled(spec.inputs, {key: value for key, value in values.items() if value is not None})
    filled[_DEFAULTS] = sorted({key for key in filled if key not in given} - {_DEFAULTS})
    return inputs.replaced(filled)


def _filled(fields: Mapping[str, Property], values: Mapping[str, Any]) -> Properties:
    defaults = {key: prop.default for key, prop in fields.items() if prop.default is not None and values.get(key) is None}
    present = {key: _filled_value(fields.get(key), value) for key, value in values.items() if value is not None and key != _DEFAULTS}
    return {**present, **defaults, _DEFAULTS: sorted(defaults)}


def _filled_value(prop: Property | None, value: Any) -> Any:
    if prop is not None and prop.fields is not None and isinstance(value, Mapping):
        return _filled(prop.fields, value)
    if prop is not None and prop.items is not None and isinstance(value, list):
        return [_filled_value(prop.items, item) for item in value]
    return value


def plain(value: Any) -> Any:
    """The value without the bookkeeping of defaults, at every depth."""
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items() if not key.startswith("__")}
    if isinstance(value, list):
        return [plain(item) for item in value]
    return value


def changes(spec: ResourceSpec, old: Mapping[str, Any], new: Mapping[str, Any]) -> list[Change]:
    """What changed; for a list whose order means nothing, the property as a whole."""
    before, after = plain(old), plain(new)
    found = compare(spec, *({key: item for key, item in side.items() if key not in SETS} for side in (before, after)))
    unordered = ({key: _ordered(item) for key, item in side.items() if key in SETS} for side in (before, after))
    # compare() by leaves would name positions in the sorted list, which the program does not know.
    by_name = {change.path[0]: Change(change.path[:1], "update", change.replaces) for change in compare(spec, *unordered)}
    return sorted(found + list(by_name.values()), key=lambda change: property_path(change.path))


def _ordered(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _ordered(item) for key, item in value.items()}
    if isinstance(value, list):
        return sorted((_ordered(item) for item in value), key=lambda item: json.dumps(item, sort_keys=True, default=repr))
    return value


def state_of(spec: ResourceSpec, inputs: Bag, outputs: Mapping[str, Any]) -> Bag:
    """The state: inputs without bookkeeping, outputs, and the `__meta` that the official plugin expects. Secret inputs stay secret."""
    kept = KEPT[spec.name]
    meta: dict[str, Any] = {"schema_version": str(kept.schema_version)} if kept.schema_version else {}
    if kept.timeout_minutes:
        meta[_TIMEOUTS_KEY] = dict.fromkeys(kept.operations, kept.timeout_minutes * 60 * 10**9)
    merged = {**plain(inputs.values), **outputs}
    values = {key: value for key, value in merged.items() if value is not None}
    return inputs.replaced(values | ({"__meta": json.dumps(meta, sort_keys=True, separators=(",", ":"))} if meta else {}))
