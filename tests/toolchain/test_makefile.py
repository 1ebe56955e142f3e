"""The Makefile's commands on stacks, with programs that note how they were called in place of the real ones."""

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from toolchain.prepare import stack
from toolchain.prepare.layout import load

ODD = """$(shell touch made)$(error no)`touch made`$$(touch made)"; touch made; ' touch made #%\\"""
NOTE = """#!/bin/sh
{ printf '%s' "${0##*/}"; for word in "$@"; do printf '\\t%s' "$word"; done; printf '\\n'; } >> "$NOTES"
"""

Make = Callable[..., list[list[str]]]


@pytest.fixture
def make(project: Path, tmp_path: Path) -> Make:
    """Runs `make` in a folder of its own; returns the command lines of what it has called."""
    for name in ("Makefile", "activate"):
        shutil.copy(project / name, tmp_path)
    programs = tmp_path / ".venv" / "bin"
    programs.mkdir(parents=True)
    for name in ("python3", "pulumi", "isthmus"):
        (programs / name).write_text(NOTE)
        (programs / name).chmod(0o755)
    notes = tmp_path.with_name(f"{tmp_path.name}-notes")

    def run(*words: str, **environment: str) -> list[list[str]]:
        notes.unlink(missing_ok=True)
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("PULUMI_", "MAKE", "MFLAGS", "STACK"))}
        subprocess.run(
            ["make", *words, f"PYTHON={programs / 'python3'}"],
            cwd=tmp_path,
            env={**kept, **environment, "NOTES": str(notes)},
            check=True,
            capture_output=True,
        )
        return [line.split("\t") for line in notes.read_text().splitlines()]

    return run


def expected(project: Path, name: str, *words: str) -> list[str]:
    copy = stack.config_copy(load(project, {}), name).relative_to(project)
    return ["pulumi", *words, "--stack", name, "--config-file", str(copy)]


@pytest.mark.parametrize("name", [stack.STACK, "smart-security", ODD])
def test_each_command_is_about_the_stack_that_is_named(make: Make, project: Path, tmp_path: Path, name: str) -> None:
    before = sorted(tmp_path.iterdir())
    named = () if name == stack.STACK else (f"STACK={name}",)
    prepared = ["python3", "-m", "toolchain.prepare", "stack", name]
    shown = ["isthmus", "status", name]
    assert make("up", *named, "ARGS=--diff") == [prepared, [*expected(project, name, "up", "--yes"), "--diff"], shown]
    for command, words in (("preview", ()), ("refresh", ("--yes",)), ("destroy", ("--yes",))):
        assert make(command, *named) == [prepared, expected(project, name, command, *words)]
    assert make("status", *named) == [prepared, shown]
    assert [file.name for file in sorted(tmp_path.iterdir()) if file not in before] == [".pulumi-state"]


def test_a_variable_of_the_users_environment_names_no_stack(make: Make, project: Path) -> None:
    calls = make("preview", STACK="smart-security", ISTHMUS_STACK="smart-security")
    assert calls[1] == expected(project, stack.STACK, "preview")
