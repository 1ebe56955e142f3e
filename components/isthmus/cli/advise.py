"""`isthmus advise`: cloud, edge or hybrid, with the arithmetic and with what would change the answer.

The options are made from the advisor's own table of inputs, so that each has one place for its unit, limits and default.
"""

import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from isthmus.errors import InputError, Problem
from isthmus.sizing.advisor.inputs import INPUTS

# Spelled as a person may look for it.
_ALIASES = {"p95_ms": ("--latency-ms",)}


def command() -> Callable[..., None]:
    """The function behind `isthmus advise`, with one option for each input of the advisor."""

    def advise_command(preset: str | None, file: Path | None, as_json: bool, all_changes: bool, presets: bool, **given: Any) -> None:
        from isthmus.cli import advising

        if presets:
            advising.list_presets()
        else:
            advising.run(preset, file, _given(given), as_json=as_json, all_changes=all_changes)

    parameters = [
        _option("preset", str | None, None, "--preset", "-p", help="A scenario to begin with; --presets lists them."),
        _option("file", Path | None, None, "--file", "-f", help="YAML: inputs by name, and `preset` if you like."),
        _option("as_json", bool, False, "--json", help="Print JSON."),
        _option("all_changes", bool, False, "--all", help="Show every change that would change the answer."),
        _option("presets", bool, False, "--presets", help="List the presets."),
        *(_input_option(name) for name in INPUTS),
        _option("data_may_leave", bool, False, "--data-may-leave", help="The opposite of --data-must-stay.", rich_help_panel="Inputs"),
    ]
    # Typer reads signature and annotations.
    advise_command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    advise_command.__annotations__ = {each.name: each.annotation for each in parameters}
    advise_command.__doc__ = "Say which deployment mode fits (cloud, edge or hybrid), why, and what would change the answer."
    return advise_command


def _option(name: str, kind: Any, default: Any, *flags: str, **more: Any) -> inspect.Parameter:
    annotation = Annotated[kind, typer.Option(*flags, **more)]
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def _input_option(name: str) -> inspect.Parameter:
    flag, about = "--" + name.replace("_", "-"), INPUTS[name].metadata
    text = about["help"][:1].upper() + about["help"][1:]
    if name == "data_must_stay":
        return _option(name, bool, False, flag, help=f"{text}.", rich_help_panel="Inputs")
    # Text, so that a word in place of a number is one of all the problems and not the first one only.
    return _option(
        name,
        str | None,
        None,
        flag,
        *_ALIASES.get(name, ()),
        metavar="N",
        help=f"{text}.",
        rich_help_panel="Inputs",
    )


def _given(options: Mapping[str, Any]) -> dict[str, Any]:
    """The inputs among the options that a person wrote."""
    if options["data_must_stay"] and options["data_may_leave"]:
        raise InputError([Problem("--data-must-stay", "contradicts --data-may-leave", "one of the two")])
    given = {name: value for name, value in options.items() if name in INPUTS and value not in (None, False)}
    return {**given, "data_must_stay": False} if options["data_may_leave"] else given
