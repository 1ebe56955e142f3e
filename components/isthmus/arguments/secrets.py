"""Which arguments are secrets, and which of them a stack file holds in plain. Pure."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final

from pydantic import BaseModel

Path = tuple[str | int, ...]


@dataclass(frozen=True)
class Mark:
    """Says that an argument is a secret; of a mapping, each of its values. holds: whether a text is one, where not all are."""

    holds: Callable[[str], bool] = bool


SECRET: Final = Mark()
Secret = Annotated[Any, SECRET]
"""A secret, or an Output of one: no message ever shows it."""


def in_plain(model: type[BaseModel], raw: object, path: Path = ()) -> Iterator[tuple[Path, str]]:
    """The secrets among arguments that are written as plain texts, each with its path.

    raw: as in a stack file, where an encrypted value is `{secure: …}`. What does not fit the model is left to the checks.
    """
    for name, field in model.model_fields.items() if isinstance(raw, Mapping) else ():
        value = raw.get(name) if isinstance(raw, Mapping) else None
        mark = next((it for it in field.metadata if isinstance(it, Mark)), None)
        if mark is not None:
            values = value.items() if isinstance(value, Mapping) and set(value) != {"secure"} else [(None, value)]
            for key, text in values:
                if isinstance(text, str) and mark.holds(text):
                    yield (*path, name, *(() if key is None else (str(key),))), text
        for inner in _models(field.annotation):
            items = enumerate(value) if isinstance(value, list) else [(None, value)]
            for index, item in items:
                yield from in_plain(inner, item, (*path, name, *(() if index is None else (index,))))


def _models(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in getattr(annotation, "__args__", ()) for model in _models(part)]


def at(raw: object, path: Path) -> object:
    """What stands at a path; None where nothing does."""
    for step in path:
        if isinstance(raw, Mapping):
            raw = raw.get(step)
        elif isinstance(raw, list) and isinstance(step, int) and step < len(raw):
            raw = raw[step]
        else:
            return None
    return raw
