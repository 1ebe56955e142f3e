"""The table of numbers says what the arguments say."""

import typing
from collections.abc import Callable, Iterator, Mapping
from types import ModuleType
from typing import Any

import pytest
from pydantic import BaseModel

from isthmus.arguments.checking import LimitedOr


@pytest.fixture(scope="module")
def limits(script: Callable[[str], ModuleType]) -> ModuleType:
    return script("limits")


def numbers_of(model: type[BaseModel], within: str = "") -> Iterator[str]:
    """The paths of the arguments that are numbers, of mappings and lists in it as well."""
    for name, field in model.model_fields.items():
        parts = list(parts_of(field.annotation))
        has_word = any(isinstance(it, LimitedOr) for it in field.metadata)  # in place of the number
        if {int, float} & set(parts) and (has_word or not {str, bool} & set(parts)):
            yield within + name
        origins = {typing.get_origin(part) for part in parts}
        listed = "[]" if tuple in origins else ".NAME" if Mapping in origins else ""
        for part in parts:
            if isinstance(part, type) and issubclass(part, BaseModel):
                yield from numbers_of(part, f"{within}{name}{listed}.")


def parts_of(annotation: Any) -> Iterator[Any]:
    yield annotation
    for part in typing.get_args(annotation):
        yield from parts_of(part)


def test_the_page_is_that_of_today(limits: ModuleType) -> None:
    assert limits.PAGE.read_text(encoding="utf-8") == limits.page(), "write it again: python docs/limits.py"


def test_every_number_has_a_limit(limits: ModuleType) -> None:
    for _, model in limits.SECTIONS:
        numbers = list(numbers_of(model))
        assert numbers
        assert numbers == [path for path, _, _ in limits.limits_of(model)]
