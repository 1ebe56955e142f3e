"""Where the minutes of a run went."""

import sys
from pathlib import Path

import pytest
from toolchain.prepare.steps import PHASES, PrepareError, phase
from toolchain.testing import phases
from toolchain.testing.phases import Phase


def test_each_phase_is_told_with_its_beginning_and_its_time() -> None:
    found = [Phase("engine", 110, 345), Phase("Python packages", 100, 162.4), Phase("images", 345, 345)]
    assert phases.table(found) == [
        "phase              began     took",
        "Python packages     0:00     1:02",
        "engine              0:10     3:55",
        "images              4:05     0:00",
        "all                          4:05",
    ]
    assert phases.table([]) == []


def test_what_happens_in_several_processes_is_noted_in_one_file_also_when_it_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(PHASES, str(tmp_path / "phases"))
    with phase("one"):
        assert phases.main(["two", sys.executable, "-c", "raise SystemExit(3)"]) == 3
    with pytest.raises(PrepareError), phase("three"):
        raise PrepareError("no")
    assert [it.name for it in phases.read(tmp_path / "phases")] == ["one", "two", "three"]
    phases.show()
    assert [line.split()[1] for line in capsys.readouterr().out.splitlines()] == ["phase", "one", "two", "three", "all"]


def test_without_a_file_nothing_is_noted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.delenv(PHASES, raising=False)
    monkeypatch.chdir(tmp_path)
    with phase("one"):
        pass
    phases.show()
    assert phases.read(tmp_path / "none") == []
    assert capsys.readouterr().out == ""
    assert list(tmp_path.iterdir()) == []
