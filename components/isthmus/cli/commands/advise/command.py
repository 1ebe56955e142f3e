"""`isthmus advise`: what may be asked.

The options are made from the advisor's own table of inputs, so that each has one place for its unit, limits and default.
"""

from dataclasses import field, make_dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from isthmus.cli.shared.options import Json
from isthmus.errors import InputError, Problem
from isthmus.sizing.advisor.inputs import INPUTS

# Spelled as a person may look for it.
_ALIASES = {"p95_ms": ("--latency-ms",)}
_MUST_STAY = "data_must_stay"
Field = tuple[str, Any, Any]


def _input(name: str) -> Field:
    flag, about = "--" + name.replace("_", "-"), INPUTS[name].metadata
    text = about["help"][:1].upper() + about["help"][1:]
    if name == _MUST_STAY:
        return name, Annotated[bool, typer.Option(flag, help=f"{text}.", rich_help_panel="Inputs")], field(default=False)
    # Text, so that a word in place of a number is one of all the problems and not the first one only.
    option = typer.Option(flag, *_ALIASES.get(name, ()), metavar="N", help=f"{text}.", rich_help_panel="Inputs")
    return name, Annotated[str | None, option], field(default=None)


_OWN: list[Field] = [
    ("preset", Annotated[str | None, typer.Option("--preset", "-p", help="A scenario to begin with; --presets lists them.")], None),
    ("file", Annotated[Path | None, typer.Option("--file", "-f", help="YAML: inputs by name, and `preset` if you like.")], None),
    ("as_json", Json, False),
    ("all_changes", Annotated[bool, typer.Option("--all", help="Show every change that would change the answer.")], False),
    ("presets", Annotated[bool, typer.Option("--presets", help="List the presets.")], False),
]
_OPPOSITE = Annotated[bool, typer.Option("--data-may-leave", help="The opposite of --data-must-stay.", rich_help_panel="Inputs")]
Options: Any = make_dataclass("Options", [*_OWN, *map(_input, INPUTS), ("data_may_leave", _OPPOSITE, False)], frozen=True)


def run(options: Any) -> None:
    """Gives the advice. Raises InputError, typer.Exit where no mode fits."""
    from isthmus.cli.commands.advise import answer

    if options.presets:
        answer.list_presets()
    else:
        answer.show(options.preset, options.file, _given(options), as_json=options.as_json, all_changes=options.all_changes)


def _given(options: Any) -> dict[str, Any]:
    """The inputs among the options that a person wrote."""
    if options.data_must_stay and options.data_may_leave:
        raise InputError([Problem("--data-must-stay", "contradicts --data-may-leave", "one of the two")])
    given = {name: value for name in INPUTS if (value := getattr(options, name)) not in (None, False)}
    return {**given, _MUST_STAY: False} if options.data_may_leave else given
