"""Commands come from a table: a list of them imports none, help of one imports that one alone, options are values."""

import dataclasses
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Annotated

import pytest
import typer
from typer.testing import CliRunner

from isthmus.cli import commands, main
from isthmus.cli.shared.commands import Command, Group, Table, app_of

HEAVY = {"numpy", "requests", "yaml", "filelock", "pulumi", "kubernetes", "docker", "boto3", "tensorflow", "tuf", "cryptography"}
IMPORTED = """
import sys
from isthmus.cli.main import main
sys.argv[0] = "isthmus"
try:
    main()
finally:
    print(*sys.modules, file=sys.stderr)
"""


def _all(table: Table = main.COMMANDS, before: tuple[str, ...] = ()) -> dict[tuple[str, ...], Command]:
    """Every command by the words that call it."""
    found: dict[tuple[str, ...], Command] = {}
    for name, entry in table.items():
        found |= {(*before, name): entry} if isinstance(entry, Command) else _all(entry.commands, (*before, name))
    return found


def _imports(*words: str) -> set[str]:
    done = subprocess.run([sys.executable, "-c", IMPORTED, *words], capture_output=True, text=True, timeout=120, check=True)
    return set(done.stderr.split())


def test_a_list_of_all_commands_imports_none_of_them() -> None:
    found = _imports("--help")
    assert not [name for name in found if name.startswith(f"{commands.__name__}.")]
    assert not {name.partition(".")[0] for name in found} & HEAVY


_ONE_OF_EACH = {("fleet", "status"), ("fleet", "pause"), ("keys", "init"), ("keys", "status")}


@pytest.mark.parametrize("words", [it for it in _all() if it[0] in ("plan", "batch", "compile", "cache") or it in _ONE_OF_EACH])
def test_help_of_a_command_imports_that_one_and_nothing_heavy(words: tuple[str, ...]) -> None:
    found = _imports(*words, "--help")
    own = {name for name in found if name.startswith(f"{commands.__name__}.") and name.count(".") > 3}
    module = _all()[words].module
    assert own - {f"{module.rpartition('.')[0]}.options"} == {module}  # some have their options in a module of their own
    assert not {name.partition(".")[0] for name in found} & HEAVY


@pytest.mark.parametrize("command", _all().values(), ids=[" ".join(words) for words in _all()])
def test_every_command_has_options_that_are_a_frozen_value_and_a_line_of_help(command: Command) -> None:
    module = import_module(command.module)
    assert dataclasses.is_dataclass(module.Options)
    assert module.Options.__dataclass_params__.frozen
    assert callable(module.run)
    assert command.summary.endswith(".")


def test_every_folder_of_commands_is_in_the_table() -> None:
    folders = {path.parent.name for path in Path(commands.__file__).parent.glob("*/__init__.py")}
    assert folders == {command.module.split(".")[3] for command in _all().values()}


def test_a_misspelt_command_is_told_what_was_meant() -> None:
    done = CliRunner().invoke(main.app, ["statsu"])
    assert done.exit_code == 2
    assert "Did you mean 'status'?" in done.output


@dataclasses.dataclass(frozen=True)
class Options:
    place: Annotated[str, typer.Argument(help="Where.")]
    count: Annotated[int, typer.Option(min=1, help="How many.")] = 2


def run(options: Options) -> None:
    print(options)  # noqa: T201  what a command does


@pytest.mark.parametrize("words", [("show",), ("more", "show")])
def test_what_is_given_becomes_the_value_and_what_is_not_its_default(words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "shown_command", sys.modules[__name__])
    show = Command("shown_command", "Show it.")
    app = app_of({"show": show, "more": Group("More.", {"show": show})}, "A program.")
    assert CliRunner().invoke(app, [*words, "here"]).output.strip() == str(Options("here"))
    assert CliRunner().invoke(app, [*words, "here", "--count", "3"]).output.strip() == str(Options("here", 3))
    assert "greater than or equal to 1" in CliRunner().invoke(app, [*words, "here", "--count", "0"]).output
