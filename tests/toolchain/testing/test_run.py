"""Whole runs of small projects."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from toolchain.prepare.steps import PHASES
from toolchain.testing import lanes

PROJECT = Path(__file__).parents[3]
CONFTEST = 'pytest_plugins = ("toolchain.testing.plugin",)\n'
# A test that fails once in its life.
FLAKY = """
from pathlib import Path


def test_chance():
    file = Path("been-here")
    been, _ = file.exists(), file.touch()
    assert been
"""
# The second test needs what the first one made in the same process, and the first try of it fails.
CHAIN = """
from pathlib import Path

import pytest

pytestmark = [pytest.mark.alone, pytest.mark.lane("first cluster"), pytest.mark.in_order]
made = []


def test_makes():
    made.append(1)


def test_goes_on():
    file = Path("chain-was-here")
    been, _ = file.exists(), file.touch()
    assert made
    assert been
"""
QUIET = """
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.alone


def test_nothing_runs_beside():
    assert Path("side-by-side-ended").exists()


@pytest.mark.skip(reason="there is no moon")
def test_skipped():
    raise AssertionError
"""
# It runs while the tests side by side do, when the first cluster's have ended.
NEXT = """
import json
from pathlib import Path

import pytest

pytestmark = [pytest.mark.alone, pytest.mark.lane("second cluster")]


def test_comes_after_the_first_cluster():
    assert json.loads(Path("build/tests/first-cluster.json").read_text())
"""
PLAIN = """
import time
from pathlib import Path


def test_slow():
    time.sleep(1)
    Path("side-by-side-ended").touch()
"""
# Two files of a folder whose files stay together.
BEGINS = """
import os
from pathlib import Path


def test_begins():
    Path("pid").write_text(str(os.getpid()))
"""
STAYS = """
import os
from pathlib import Path


def test_stays_in_that_process():
    assert Path("pid").read_text() == str(os.getpid())
"""
BROKEN = """
def test_right():
    pass


def test_wrong():
    assert 1 == 2
"""


@pytest.fixture
def run(tmp_path: Path) -> Any:
    def start(files: dict[str, str], *arguments: str) -> tuple["subprocess.CompletedProcess[str]", dict[str, Any]]:
        (tmp_path / "conftest.py").write_text(CONFTEST)
        (tmp_path / "pytest.ini").write_text("[pytest]\naddopts = --strict-markers -ra\n")
        for name, text in files.items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(text)
        environ = {**os.environ, "PYTHONPATH": str(PROJECT), PHASES: ""}  # its phases are not those of the run that this is part of
        done = subprocess.run(
            [sys.executable, "-m", "toolchain.testing", *arguments],
            cwd=tmp_path,
            env=environ,
            capture_output=True,
            text=True,
            timeout=200,
            check=False,
        )
        file = tmp_path / "build" / "tests" / "report.json"
        return done, json.loads(file.read_text()) if file.exists() else {}

    return start


def closing_lines(text: str) -> list[str]:
    return [line for line in text.splitlines() if re.fullmatch(r"=+ .* in [\d.]+s.*=+", line)]


def test_every_part_is_in_one_wave_and_the_quiet_one_in_the_last_alone() -> None:
    parts = sorted(name for wave in lanes.WAVES for row in wave for name in row)
    assert parts == sorted([lanes.SIDE_BY_SIDE, *lanes.LANES, lanes.QUIET])
    assert lanes.WAVES[-1] == ((lanes.QUIET,),)


def test_what_failed_by_chance_is_run_again_alone_told_and_counted_and_the_run_is_green(run: Any) -> None:
    together = {f"{lanes.TOGETHER[0]}/test_a.py": BEGINS, f"{lanes.TOGETHER[0]}/test_b.py": STAYS}
    done, report = run(
        {"test_flaky.py": FLAKY, "test_chain.py": CHAIN, "test_quiet.py": QUIET, "test_plain.py": PLAIN, "test_next.py": NEXT, **together}
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert sorted(report["flaky"]) == ["test_chain.py::test_goes_on", "test_flaky.py::test_chance"]
    assert report["counts"] == {"passed": 8, "skipped": 1, "flaky": 2}
    assert report["failed"] == []
    for name in report["flaky"]:
        assert f"FLAKY {name}" in done.stdout
    assert "skipped 1: there is no moon" in done.stdout
    # One closing line, the last of all, for whoever reads runs by it.
    assert closing_lines(done.stdout) == done.stdout.splitlines()[-1:]
    assert "= 8 passed, 1 skipped, 2 flaky in " in done.stdout.splitlines()[-1]


def test_what_fails_twice_is_a_failure(run: Any) -> None:
    done, report = run({"test_broken.py": BROKEN, "test_chain.py": CHAIN}, "test_broken.py")
    assert done.returncode == 1, done.stdout + done.stderr
    assert report["failed"] == ["test_broken.py::test_wrong"]
    assert report["counts"] == {"failed": 1, "passed": 1}
    assert "isthmus: FAILED test_broken.py::test_wrong" in done.stdout
    assert closing_lines(done.stdout) == done.stdout.splitlines()[-1:]
