"""Each test that docs/fleet.md names is there."""

import re
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]
NAMED = re.compile(r"`([\w/.]+\.py)::(test_\w+)`")
TEXT = (PROJECT / "docs" / "fleet.md").read_text(encoding="utf-8")
CASES = ("03", "04", "05", "06", "07", "08", "09", "10", "14", "17", "18", "19", "20", "22", "23")


@pytest.mark.parametrize(("file", "name"), sorted(set(NAMED.findall(TEXT))))
def test_a_test_that_is_named_is_there(file: str, name: str) -> None:
    path = (PROJECT / "tests" / "isthmus_agent" / file).resolve()
    assert re.search(rf"^(async )?def {name}\(", path.read_text(encoding="utf-8"), re.MULTILINE)


def test_every_case_and_attack_names_its_test() -> None:
    rows = [line for line in TEXT.splitlines() if line.startswith("| ") and not line.startswith(("| attack", "| case", "| --"))]
    assert [row for row in rows if not NAMED.search(row) and "not applicable" not in row] == []
    cases = {case for row in rows for case in row.split("|")[1].strip().split(", ")}
    assert set(CASES) <= cases
