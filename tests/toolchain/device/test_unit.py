"""The systemd unit, as systemd's own tools see it."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from toolchain.device.packages import PACKAGING

MOST_EXPOSURE_TENTHS = 15
"""Of 100. Most units have 96; what is left of it are sockets, the network, and limits that the server sets on itself."""

pytestmark = pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="needs systemd-analyze")


@pytest.fixture
def unit(project: Path) -> Path:
    return project / PACKAGING / "isthmus-agent.service"


def analyze(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["systemd-analyze", *arguments, "--no-pager"], capture_output=True, text=True, check=False)


def test_systemd_understands_every_line(unit: Path, tmp_path: Path) -> None:
    said = analyze("verify", "--man=no", unit).stderr
    assert [line for line in said.splitlines() if "isthmus-agent" in line and "is not executable" not in line] == []
    wrong = tmp_path / unit.name
    wrong.write_text(unit.read_text().replace("OOMPolicy=", "OomPolicy="))
    assert "OomPolicy" in analyze("verify", "--man=no", wrong).stderr


def test_little_of_the_machine_is_exposed(unit: Path, tmp_path: Path) -> None:
    strict = ("security", "--offline=true", f"--threshold={MOST_EXPOSURE_TENTHS}")
    found = analyze(*strict, unit)
    assert found.returncode == 0, found.stdout
    loose = tmp_path / unit.name
    loose.write_text(unit.read_text().replace("PrivateDevices=yes", "").replace("CapabilityBoundingSet=\n", ""))
    assert analyze(*strict, loose).returncode != 0


def test_a_server_that_is_ended_for_want_of_memory_does_not_take_the_manager_with_it(unit: Path) -> None:
    settings = dict(re.findall(r"^(\w+)=(.*)$", unit.read_text(), re.MULTILINE))
    assert settings["OOMPolicy"] == "continue"
    assert settings["KillMode"] == "mixed"
    assert (settings["Restart"], settings["StartLimitIntervalSec"]) == ("always", "0")
    assert settings["MemoryMax"]
