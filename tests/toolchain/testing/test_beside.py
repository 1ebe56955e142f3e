"""Commands side by side."""

from pathlib import Path

import pytest
from toolchain.testing.beside import main


def test_all_run_to_their_ends_at_once_and_the_first_status_that_is_wrong_counts(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    # Each waits for a word of the other one.
    one = f"one: echo a: b; touch {tmp_path}/one; until test -e {tmp_path}/two; do :; done; exit 3"
    two = f"two: touch {tmp_path}/two; until test -e {tmp_path}/one; do :; done; echo out; exit 4"
    assert main([one, two, "three: true"]) == 3
    said = capfd.readouterr().out
    assert "a: b\nisthmus: one: FAILED with status 3\n" in said
    assert "out\nisthmus: two: FAILED with status 4\n" in said
    assert "isthmus: three: all is well\n" in said
    assert {line.split()[1] for line in said.splitlines()[-5:]} == {"phase", "one", "two", "three", "all"}


def test_it_is_well_when_all_is(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["one: true", "two: true"]) == 0
    assert "FAILED" not in capfd.readouterr().out
