"""The unit in force: what it forbids is nothing that the program needs, by a systemd of the test's own."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.isthmus_agent.living import DEVICE, FLEET
from toolchain.device.packages import PACKAGING
from toolchain.testing import patience

from isthmus.repository import ceremony

pytestmark = pytest.mark.slow
PYTHON = Path(f"/usr/bin/python{sys.version_info[0]}.{sys.version_info[1]}")
ACCOUNT = 950
# What of the program's own tests asks most of the machine: the interpreter, its limits, its end with the manager, memory, sockets.
SERVING = "tested_itself or interpreter_costs or never_ends or unix_socket or needs_more_memory or ends_with_its_manager or fault_in_memory"
ENDS = """[Unit]
SuccessAction=exit-force
FailureAction=exit-force
[Service]
Restart=no
StandardOutput=append:/mnt/given/out
StandardError=append:/mnt/given/out
"""
Run = Callable[[str], str]


def _why_not() -> str:
    if os.geteuid() != 0:
        return "needs root"
    if not all(map(shutil.which, ("unshare", "systemd-analyze"))) or not Path("/lib/systemd/systemd").exists():
        return "needs systemd and unshare"
    if not PYTHON.exists():
        return f"needs {PYTHON}: the unit hides Pythons in homes"
    if subprocess.run(["unshare", "-mpCiu", "--fork", "true"], capture_output=True, check=False).returncode:
        return "this machine lets nobody have namespaces"
    return "" if _cgroups() else "needs cgroups of version 2"


def _cgroups() -> Path | None:
    """Where they are mounted."""
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        before, _, after = line.partition(" - ")
        if after.split()[0] == "cgroup2":
            return Path(before.split()[4])
    return None


@pytest.fixture
def run(package: Path, project: Path, tmp_path: Path) -> Iterator[Run]:
    """Runs the unit with a drop-in until it ends; what systemd and the program wrote."""
    if why := _why_not():
        pytest.skip(why)
    given, group = tmp_path / "given", (_cgroups() or Path()) / f"isthmus-test-{os.getpid()}"
    (given / "units" / "isthmus-agent.service.d").mkdir(parents=True)
    subprocess.run(["dpkg-deb", "--extract", package, given], check=True)
    shutil.copy(project / PACKAGING / "isthmus-agent.service", given / "units")
    for name, line in (
        ("passwd", f"isthmus-agent:x:{ACCOUNT}:{ACCOUNT}::/var/lib/isthmus-agent:/usr/sbin/nologin"),
        ("group", f"isthmus-agent:x:{ACCOUNT}:"),
    ):
        (given / name).write_text(f"{Path('/etc', name).read_text()}{line}\n")
    (given / "config.json").write_text(json.dumps(_config(tmp_path)))
    (given / "config.json").chmod(0o600)
    (given / "out").touch()
    group.mkdir()

    def ran(drop_in: str) -> str:
        (given / "units" / "isthmus-agent.service.d" / "test.conf").write_text(ENDS + drop_in)
        site = Path(pytest.__file__).parents[1]
        inside = [
            "unshare",
            "-mpCiu",
            "--fork",
            "--kill-child",
            "--mount-proc",
            "sh",
            Path(__file__).with_name("sandbox.sh"),
            given,
            project,
            site,
        ]
        command = ["sh", "-c", f'echo $$ > {group}/cgroup.procs; exec "$@"', "sh", *map(str, inside)]
        found = subprocess.run(command, capture_output=True, text=True, check=False, timeout=patience.scaled(120))
        return found.stdout + found.stderr + (given / "out").read_text()

    yield ran
    patience.wait_until(lambda: _removed(group), 10)


def _removed(group: Path) -> bool:
    """With what systemd made in it; it is busy until its last process is gone."""
    for folder in sorted((it for it in group.rglob("*") if it.is_dir()), reverse=True):
        folder.rmdir()
    group.rmdir()
    return True


def _config(folder: Path) -> dict[str, object]:
    """Of a device whose store is away."""
    root = json.loads(ceremony.init(folder / "keys", [FLEET]).anchor())
    store = {"endpoint": "http://127.0.0.1:9", "bucket": "models", "prefix": "edge/"}
    listen = {"socket": "/run/isthmus-agent/predict.sock"}
    return {"device": DEVICE, "fleet": FLEET, "store": store, "root": root, "report_key": "00" * 32, "listen": listen}


def test_the_program_says_that_it_is_ready_and_that_it_is_awake(run: Run):
    program = "/opt/isthmus-agent/bin/isthmus-agent"
    config = "--config /var/lib/isthmus-agent/config.json"
    commands = f"ExecStart=\nExecStart={program} run {config}\nExecStartPost={program} status {config}\n"
    commands += "ExecStopPost=/bin/sh -c 'echo it ended by $SERVICE_RESULT'\n"
    said = run(f"{commands}WatchdogSec=2\nRuntimeMaxSec=6\nTimeoutStopSec=20\n")
    assert "program      runs, boot 1" in said
    assert "it ended by timeout" in said  # and not by the watchdog


def test_a_server_crashes_hangs_and_takes_too_much_as_it_does_without_the_sandbox(run: Run):
    path = "/mnt/project:/mnt/project/components:/mnt/project/agent:/mnt/site"
    said = run(
        "Type=exec\nWatchdogSec=0\nWorkingDirectory=/mnt/project\n"
        f"Environment=PYTHONPATH={path} PYTHONDONTWRITEBYTECODE=1 HOME=/var/lib/isthmus-agent\n"
        f"ExecStart=\nExecStart={PYTHON} -m pytest -q -p no:cacheprovider -p no:xdist --basetemp=/var/lib/isthmus-agent/tmp "
        f'tests/isthmus_agent/manager/test_serving.py -k "{SERVING}"\n'
    )
    assert re.search(r"\b[1-9]\d* passed", said), said
    assert "failed" not in said.rpartition("passed")[2]
    assert " failed" not in said, said
