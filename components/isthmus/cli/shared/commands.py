"""Commands from a table: imported when they are used, their options a value.

A command is a module with a frozen dataclass `Options`, whose fields are annotated as Typer wants them, and `run(options)`. The
table has its one line of help, so that a list of all commands imports none of them.
"""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, fields
from importlib import import_module
from typing import Any, get_type_hints

import typer
from typer.core import TyperCommand, TyperGroup


@dataclass(frozen=True)
class Command:
    """One command. module: what has its `Options` and `run`. summary: one line of help."""

    module: str
    summary: str


@dataclass(frozen=True)
class Group:
    """Commands under a common word."""

    summary: str
    commands: Mapping[str, Command]


Table = Mapping[str, Command | Group]


def app_of(table: Table, summary: str) -> typer.Typer:
    """The program that has these commands."""

    class Commands(TyperGroup):
        def __init__(self, **attributes: Any) -> None:
            super().__init__(**attributes)
            # What a list shows, and what a misspelt name is compared with: nothing is imported for it.
            self.commands = {name: TyperCommand(name, help=it.summary) for name, it in table.items()}

        def resolve_command(self, ctx: Any, args: list[str]) -> Any:
            name, shown, rest = super().resolve_command(ctx, args)
            return name, shown if name is None else _made(name, table[name]), rest

    def root() -> None:
        pass

    app = typer.Typer(cls=Commands, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=summary)
    app.callback(help=summary)(root)
    return app


def _made(name: str, entry: Command | Group) -> Any:
    if isinstance(entry, Group):
        group = typer.main.get_command(app_of(entry.commands, entry.summary))
        group.name = name
        return group
    module = import_module(entry.module)
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command(name, help=entry.summary)(function_of(module.Options, module.run))
    return typer.main.get_command(app)


def function_of(options: type[Any], run: Callable[[Any], None]) -> Callable[..., None]:
    """A function with a keyword for each field of a dataclass, which makes the value and runs with it: what Typer reads options from."""
    hints = get_type_hints(options, include_extras=True)
    parameters = [
        inspect.Parameter(
            field.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=inspect.Parameter.empty if field.default is MISSING else field.default,
            annotation=hints[field.name],
        )
        for field in fields(options)
    ]

    def command(**given: Any) -> None:
        run(options(**given))

    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # Typer reads signature and annotations
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return command
