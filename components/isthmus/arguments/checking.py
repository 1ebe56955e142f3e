"""How arguments are checked: the types that the checked models share, and pydantic's findings in our words."""

import difflib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, GetCoreSchemaHandler, ValidationError
from pydantic_core import CoreSchema, core_schema

from isthmus.compile.recipes import parse as parse_recipe
from isthmus.errors import InputError, Problem, property_path
from isthmus.limits import ANY_PORT, PORT, SHARE, Limit

NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9_-]{0,62}$"


def one_of(values: tuple[str, ...], what: str, expected: str = "") -> BeforeValidator:
    """One of these words; the message suggests the nearest one. expected: what the message says instead of all of them."""

    def check(value: object) -> object:
        if value not in values:
            raise ValueError(f"unknown {what} {value!r}; expected {expected or ' or '.join(values)}{_suggestion(str(value), values)}")
        return value

    return BeforeValidator(check)


def _suggestion(value: str, known: tuple[str, ...]) -> str:
    close = difflib.get_close_matches(value, known, n=1)
    return f". Fix: did you mean {close[0]!r}?" if close else ""


class _FoundError(ValueError):
    """More than one thing that is wrong with one value, or with a place inside it. The problems' paths begin at the value."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = problems
        super().__init__(str(problems[0]))


def _recipe_text(value: object) -> str:
    recipe, problems = parse_recipe(value, "")
    if recipe is None:
        raise _FoundError(problems)
    return recipe.text


RecipeText = Annotated[str, BeforeValidator(_recipe_text)]
"""A recipe, given as a text or as a list of steps; checked, it is the canonical text."""
Name = Annotated[str, Field(pattern=NAME_PATTERN)]


@dataclass(frozen=True)
class Limited:
    """The bounds of a limit, for a field's annotation: `Annotated[int, Limited(PORT)]`."""

    limit: Limit

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self._check, handler(source))

    def _check(self, value: float) -> float:
        if not math.isfinite(value):
            raise ValueError(f"found {value:.15g}; expected a finite number")
        if not self.limit.allows(value):
            raise ValueError(f"found {value:.15g}; expected {self.limit.range}")
        return value


@dataclass(frozen=True)
class LimitedOr(Limited):
    """The same, or a word in place of the number: `Annotated[float | str | None, LimitedOr(SHARE, "auto")]`."""

    word: str

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(self._number_or_word)

    def _number_or_word(self, value: object) -> float | str | None:
        if value is None or value == self.word:
            return None if value is None else self.word
        number = None if isinstance(value, bool) or not isinstance(value, int | float | str) else value
        try:
            return self._check(float("" if number is None else number))
        except (ValueError, OverflowError):
            shown = repr(value) if isinstance(value, str | bool | float) else type(value).__name__
            raise ValueError(f"found {shown}; expected {self.limit.range}, or {self.word}") from None


Port = Annotated[int, Limited(PORT)]
AnyPort = Annotated[int, Limited(ANY_PORT)]
Share = Annotated[float, Limited(SHARE)]


class Checked(BaseModel):
    """A mapping of arguments, with every limit and default. gone: arguments that there were once, each with what to do instead."""

    gone: ClassVar[Mapping[str, str]] = {}
    # protected_namespaces: `model_name` is TensorFlow Serving's word, and pydantic would keep `model_` for itself.
    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=(), arbitrary_types_allowed=True)

    def problems(self, path: str) -> Sequence[Problem]:
        """What is wrong with the arguments taken together. path: property path of the mapping."""
        return ()


M = TypeVar("M", bound=Checked)


def problems_of(model: type[M], raw: object, path: str) -> tuple[M | None, list[Problem]]:
    """The checked arguments, or None and everything that is wrong with them.

    Args:
        path: property path of `raw`, such as `services.digits`.
    """
    if not isinstance(raw, Mapping):
        return None, [Problem(path, f"found {type(raw).__name__}", "a mapping of arguments")]
    try:
        checked = model.model_validate(dict(raw))
    except ValidationError as error:
        return None, [problem for item in error.errors(include_url=False) for problem in _problems(item, model, path)]
    return checked, list(_together(checked, path))


def _together(checked: Checked, path: str) -> Sequence[Problem]:
    """The rules over more than one argument, of the mapping and of those inside it."""
    inside = [((name,), value) for name, value in checked if isinstance(value, Checked)]
    listed = [
        ((name, index), item)
        for name, value in checked
        if isinstance(value, tuple)
        for index, item in enumerate(value)
        if isinstance(item, Checked)
    ]
    return [
        *checked.problems(path),
        *(problem for steps, value in inside + listed for problem in _together(value, property_path(steps, path))),
    ]


def check(model: type[M], raw: object, path: str) -> M:
    """The checked arguments. Raises InputError with all problems at once."""
    checked, problems = problems_of(model, raw, path)
    if checked is None or problems:
        raise InputError(problems)
    return checked


def same_twice(items: Sequence[Any], key: Callable[[Any], object], path: str, what: str) -> list[Problem]:
    """One problem for each value that two items share."""
    values = [key(item) for item in items]
    return [Problem(path, f"two {what} {value!r}", f"different {what}") for value in dict.fromkeys(values) if values.count(value) > 1]


def two_ports(port: int, grpc_port: int, path: str) -> list[Problem]:
    """One problem where both are the same."""
    return [Problem(f"{path}.grpc_port", f"{port} is also `port`", "two different ports")] if port and port == grpc_port else []


def _problems(item: Any, model: type[BaseModel], path: str) -> list[Problem]:
    found = item.get("ctx", {}).get("error")
    if not isinstance(found, _FoundError):
        return [_problem(item, model, path)]
    where = property_path(item["loc"], path)
    return [replace(problem, path=where + problem.path) for problem in found.problems]


def _problem(item: Any, model: type[BaseModel], path: str) -> Problem:
    """One of pydantic's findings in our words. `input` is shown only for plain scalars, so no secret mapping gets out."""
    where = property_path(item["loc"], path)
    kind, message, value = item["type"], item["msg"], item["input"]
    if kind == "missing":
        return Problem(where, "is missing", "a value", "add it")
    if kind == "extra_forbidden":
        name, taker = str(item["loc"][-1]), _model_at(model, item["loc"][:-1])
        close = difflib.get_close_matches(name, _names(taker), n=1)
        instead = getattr(taker, "gone", {}).get(name) or (f"did you mean {close[0]!r}?" if close else "remove it")
        return Problem(where, "no such argument", fix=instead)
    if kind == "value_error":
        what, _, rest = message.removeprefix("Value error, ").partition("; expected ")
        expected, _, fix = rest.partition(". Fix: ")
        return Problem(where, what, expected, fix)
    if kind == "too_long":
        return Problem(where, f"has {item['ctx']['actual_length']}", f"{item['ctx']['max_length']} at most")
    shown = f"found {value!r}" if isinstance(value, (int, float, str, bool)) else f"found {type(value).__name__}"
    return Problem(where, shown, _EXPECTED.get(kind) or message.removeprefix("Input should be "))


def _model_at(model: type[BaseModel], where: Sequence[object]) -> type[BaseModel] | None:
    """Of the mapping at that place."""
    found: type[BaseModel] | None = model
    for part in where:
        if isinstance(part, str) and found is not None:
            field = next((it for name, it in found.model_fields.items() if part in (name, it.alias)), None)
            # What is no argument is the key of a mapping, whose values are of the model that was found.
            found = next(iter(_models_in(field.annotation)), None) if field else found
    return found


def _names(model: type[BaseModel] | None) -> tuple[str, ...]:
    """The arguments that it takes."""
    return tuple(field.alias or name for name, field in model.model_fields.items()) if model else ()


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in getattr(annotation, "__args__", ()) for model in _models_in(part)]


# Where pydantic's own words are for programmers.
_EXPECTED = {
    "string_pattern_mismatch": "letters, digits, `-`, `_` (buckets, namespaces: lower case), beginning with a letter or digit, at most 63",
    "too_short": "at least one",
    "model_type": "a mapping",
}
