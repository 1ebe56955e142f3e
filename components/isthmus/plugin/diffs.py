"""What changed between the old inputs of a resource and the new ones, and which of it needs a new resource."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from isthmus.plugin.schema import Property, ResourceSpec
from isthmus.plugin.values import UNKNOWN, Path

Kind = Literal["add", "delete", "update"]


@dataclass(frozen=True)
class Change:
    """One changed property. replaces: it cannot be changed in place. is_input: False for drift of an output."""

    path: Path
    kind: Kind
    replaces: bool = False
    is_input: bool = True


def compare(spec: ResourceSpec, old: Mapping[str, Any], new: Mapping[str, Any]) -> list[Change]:
    """The changes from old inputs to new ones, leaf by leaf, each with what its property says about replacing.

    A value that is unknown yet counts as changed: promising less than will happen would be worse than promising more.
    """
    changes: list[Change] = []
    for name, prop in spec.inputs.items():
        if prop.compared:
            changes += _compare(prop, old.get(name), new.get(name), (name,), inherited=False)
    return changes


def _compare(prop: Property | None, old: Any, new: Any, path: Path, *, inherited: bool) -> Iterator[Change]:
    replaces = inherited or (prop is not None and prop.replaces)
    if prop is not None and not prop.compared:
        return
    if isinstance(old, dict) and isinstance(new, dict):
        for key in sorted({*old, *new}):
            yield from _compare(_child(prop, key), old.get(key), new.get(key), (*path, key), inherited=replaces)
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for index, (before, after) in enumerate(zip(old, new, strict=True)):
            yield from _compare(_child(prop, index), before, after, (*path, index), inherited=replaces)
    elif new is UNKNOWN or _spelt(prop, old) != _spelt(prop, new) or isinstance(old, bool) != isinstance(new, bool):
        kind: Kind = "add" if old is None else "delete" if new is None else "update"
        yield Change(path, kind, replaces)


def _spelt(prop: Property | None, value: Any) -> Any:
    return value if prop is None or prop.spelling is None or value is None else prop.spelling(value)


def _child(prop: Property | None, key: str | int) -> Property | None:
    if prop is None:
        return None
    if prop.fields is not None and isinstance(key, str):
        return prop.fields.get(key)
    return prop.items
