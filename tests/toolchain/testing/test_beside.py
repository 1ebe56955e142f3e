"""Commands side by side."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from toolchain.testing import beside
from toolchain.testing.beside import main
from toolchain.testing.patience import communicate, wait_until

PROJECT = Path(__file__).parents[3]


def test_all_run_to_their_ends_at_once_and_the_first_status_that_is_wrong_counts(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    # Each waits for a word of the other one.
    one = f"one: echo a: b; touch {tmp_path}/one; until test -e {tmp_path}/two; do :; done; exit 3"
    two = f"two: touch {tmp_path}/two; until test -e {tmp_path}/one; do :; done; echo out; echo end; exit 4"
    assert main([one, two, "three: true"]) == 3
    said = capfd.readouterr().out
    assert "a: b\nisthmus: one: FAILED with status 3 after 0 s: a: b\n" in said
    assert "out\nend\nisthmus: two: FAILED with status 4 after 0 s: end\n" in said
    assert {line.split(": ")[1] for line in said.splitlines()[-3:]} == {"one", "two", "three"}  # the end says it all again


def test_of_what_went_well_the_last_line_is_shown(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["one: true", "two: echo much; echo '== 7 passed =='"]) == 0
    said = capfd.readouterr().out
    assert sorted(said.splitlines()) == ["isthmus: one: all is well after 0 s", "isthmus: two: all is well after 0 s: 7 passed"]


def test_what_takes_long_is_said_to_run_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = tmp_path / "said"
    monkeypatch.setattr(beside, "PROGRESS_SECONDS", 0.0)
    monkeypatch.setattr(beside, "say", lambda text: said.touch() if text == "still running: one (40%)" else None)
    assert main([f"one: echo '[ 40%]'; until test -e {said}; do :; done"]) == 0


def _running(group: str) -> list[str]:
    """States of the processes of a group; those that only wait to be taken note of do not count."""
    found = subprocess.run(["ps", "-o", "state=", "-g", group], capture_output=True, text=True, check=False).stdout.split()
    return [state for state in found if not state.startswith("Z")]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_all_that_was_started_and_says_so_on_one_line(tmp_path: Path, number: signal.Signals) -> None:
    inside = tmp_path / "inside"
    parts = [f"one: echo $$ > {inside}.new; mv {inside}.new {inside}; sleep 1000; sleep 1000", "two: sleep 1000"]
    command = [sys.executable, "-m", "toolchain.testing.beside", *parts]
    process = subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    wait_until(inside.exists, 20)
    process.send_signal(number)
    out, err = communicate(process, 30)
    assert (process.returncode, out, err) == (128 + number, f"isthmus: stopped by {number.name}: one, two\n", "")
    wait_until(lambda: not _running(inside.read_text().strip()), 20)
