"""`python docs/limits.py`: writes the tables of docs/limits.md, every number that one may set, from the checked arguments themselves."""

import typing
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from isthmus.arguments.checking import Limited
from isthmus.arguments.components import HybridSettings
from isthmus.arguments.fleet_file import FleetSettings
from isthmus.arguments.policy_file import PolicySettings
from isthmus.limits import Limit
from isthmus.platforms.rules import with_platforms

PAGE = Path(__file__).with_name("limits.md")
_PLACES: dict[Any, str] = {tuple: "[]", Mapping: ".NAME"}
HEAD = ("argument", "what it is", "default", "bounds")
SECTIONS: tuple[tuple[str, type[BaseModel]], ...] = (
    ("Arguments of a component", with_platforms(HybridSettings)),
    ("A fleet file", FleetSettings),
    ("A migration policy's figures", PolicySettings),
)


def limits_of(model: type[BaseModel], within: str = "") -> Iterator[tuple[str, Limit, Any]]:
    """The path of each argument that is a number, its limit, and its default; of mappings and lists in it, too."""
    for name, field in model.model_fields.items():
        default = None if field.is_required() else field.default
        for found in (*field.metadata, *_inside(field.annotation)):
            if isinstance(found, Limited):
                yield within + name, found.limit, default
            elif isinstance(found, tuple):
                inner, place = found
                yield from limits_of(inner, f"{within}{name}{place}.")


def _inside(annotation: Any, place: str = "") -> Iterator[Any]:
    """The limits in an annotation, and the mappings, each with its place in a list or under a name."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation, place
    yield from (found for found in getattr(annotation, "__metadata__", ()) if isinstance(found, Limited))
    for part in typing.get_args(annotation):
        yield from _inside(part, place or _PLACES.get(typing.get_origin(annotation), ""))


def table(model: type[BaseModel]) -> str:
    """In Markdown, as mdformat has it."""
    rows = [(f"`{path}`", limit.what, "" if default is None else f"{default:g}", limit.range) for path, limit, default in limits_of(model)]
    return "\n".join("| " + " | ".join(row) + " |" for row in (HEAD, ("--",) * len(HEAD), *rows))


def page() -> str:
    """The whole page."""
    text = (
        "# Numbers that you may set\n\n"
        "Written by `python docs/limits.py` from the checked arguments, whose limits are `isthmus/limits.py`; what the plugin's\n"
        "resources take is made from the same. Units stand in the names. No default: left out, it is what the second column says,\n"
        "or it is required.\n"
    )
    return text + "".join(f"\n## {title}\n\n{table(model)}\n" for title, model in SECTIONS)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
