"""The drawn house is the one that stands."""

import ast
import sys
import tomllib
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[1]
PAGE = (PROJECT / "docs" / "architecture.md").read_text(encoding="utf-8")


def _layers(package: str) -> list[str]:
    contracts = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]["contracts"]
    (layers,) = [contract["layers"] for contract in contracts if contract["type"] == "layers" and contract["containers"] == [package]]
    return layers


@pytest.mark.parametrize("room", [room.strip() for layer in _layers("isthmus") for room in layer.split("|")])
def test_every_room_has_a_row(room):
    rows = [line for line in PAGE.splitlines() if line.startswith("| `")]
    assert any(f"`{room}/`" in row or f"`{room}.py`" in row for row in rows)


@pytest.mark.parametrize("room", [room.strip() for layer in _layers("isthmus_agent") for room in layer.split("|") if "(" not in room])
def test_every_room_of_the_device_program_has_a_row(room):
    assert any(f"`isthmus_agent.{room}`" in line for line in PAGE.splitlines() if line.startswith("| `"))


def test_formats_core_and_groups_of_the_device_program_know_the_standard_library_alone():
    package = PROJECT / "agent" / "isthmus_agent"
    for file in [file for room in ("formats", "core", "group") for file in (package / room).rglob("*.py")]:
        nodes = list(ast.walk(ast.parse(file.read_text(encoding="utf-8"))))
        named = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
        named |= {node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)}
        assert {name.partition(".")[0] for name in named} <= {*sys.stdlib_module_names, "isthmus_agent"}, file
