"""The drawn house is the one that stands."""

import tomllib
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[1]
PAGE = (PROJECT / "docs" / "architecture.md").read_text(encoding="utf-8")


def _layers() -> list[str]:
    contracts = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]["contracts"]
    (layers,) = [contract["layers"] for contract in contracts if contract["type"] == "layers"]
    return layers


@pytest.mark.parametrize("room", [room.strip() for layer in _layers() for room in layer.split("|")])
def test_every_room_has_a_row(room):
    rows = [line for line in PAGE.splitlines() if line.startswith("| `")]
    assert any(f"`{room}/`" in row or f"`{room}.py`" in row for row in rows)
