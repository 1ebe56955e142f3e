"""The Debian package: what is in it, and what its scripts do to a system in a folder."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from toolchain.device import debian_package
from toolchain.device.target import Target
from toolchain.prepare.layout import Layout

pytestmark = pytest.mark.slow
Dpkg = Callable[..., str]


def output(*command: str | Path, status: int = 0, **more: object) -> str:
    found = subprocess.run(command, capture_output=True, text=True, check=False, **more)  # type: ignore[call-overload]
    assert found.returncode == status, found.stdout + found.stderr
    return str(found.stdout + found.stderr)


def borrow_python(root: Path) -> Path:
    """The program in an unpacked package, with this test's Python in place of Debian's, which may be another one."""
    program, real = root / debian_package.PROGRAM, Path(sys.executable).resolve()
    (program / "bin" / "python3").unlink()
    (program / "bin" / "python3").symlink_to(real)
    settings = program / "pyvenv.cfg"
    settings.write_text(settings.read_text().replace("/usr/bin", str(real.parent)))
    return program / "bin" / "isthmus-agent"


@pytest.fixture
def dpkg(tmp_path: Path) -> Dpkg:
    """dpkg for a system in a folder, whose maintainer scripts run outside of it."""
    root = tmp_path / "system"
    for name in ("info", "updates", "triggers"):
        (root / "var/lib/dpkg" / name).mkdir(parents=True)
    (root / "var/lib/dpkg/status").touch()

    def run(*arguments: str | Path) -> str:
        options = ("--force-script-chrootless", "--force-depends", "--force-not-root", f"--log={tmp_path / 'log'}")
        return output("dpkg", f"--root={root}", *options, *arguments)

    return run


def test_what_is_in_it_is_roots_and_nothing_may_write_to_it(package: Path) -> None:
    info = output("dpkg-deb", "--info", package)
    version = f"{sys.version_info[0]}.{sys.version_info[1]}"
    assert f"python3 (>= {version}), python3 (<< {sys.version_info[0]}.{sys.version_info[1] + 1})" in info
    assert all(name in info for name in ("postinst", "prerm", "postrm"))
    entries = [line.split() for line in output("dpkg-deb", "--contents", package).splitlines()]
    assert {entry[1] for entry in entries} == {"root/root"}
    assert all(entry[0].startswith("l") or (entry[0][5], entry[0][8]) == ("-", "-") for entry in entries)
    paths = {entry[5] for entry in entries}
    assert {"./usr/bin/isthmus-agent", "./usr/lib/systemd/system/isthmus-agent.service", "./opt/isthmus-agent/bin/isthmus-agent"} <= paths
    assert not [path for path in paths if "__pycache__" in path or "/tests/" in path]


def test_the_program_runs_from_where_it_is_unpacked(package: Path, tmp_path: Path) -> None:
    output("dpkg-deb", "--extract", package, tmp_path / "unpacked")
    program = borrow_python(tmp_path / "unpacked")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "isthmus_agent.py").write_text("raise SystemExit('the folder that one stands in')")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "elsewhere")}
    for name in ("run", "enrol", "status", "explain", "rollback", "update"):
        assert name in output(program, "--help", cwd=tmp_path / "elsewhere", env=environment)
    said = output(program, "status", "--config", tmp_path / "missing.json", status=2)
    assert "missing.json" in said
    modules = output(
        tmp_path / "unpacked/opt/isthmus-agent/bin/python3", "-I", "-c", "import isthmus_agent, tuf; print(isthmus_agent.__file__)"
    )
    assert modules.startswith(str(tmp_path / "unpacked"))


def test_removing_keeps_what_the_device_is_and_purging_does_not(package: Path, dpkg: Dpkg, tmp_path: Path) -> None:
    root = tmp_path / "system"
    dpkg("--install", package)
    state, configuration = root / "var/lib/isthmus-agent", root / "etc/isthmus-agent"
    assert state.stat().st_mode & 0o777 == 0o700
    (state / "enrolment").write_text("kept")
    (configuration / "config.json").write_text("kept")
    dpkg("--install", package)  # an upgrade
    dpkg("--remove", "isthmus-agent")
    assert not (root / "opt/isthmus-agent").exists()
    assert (state / "enrolment").read_text() == (configuration / "config.json").read_text() == "kept"
    dpkg("--purge", "isthmus-agent")
    assert not state.exists()
    assert not configuration.exists()


def test_the_same_files_make_the_same_package(here: Layout, client: Target, package: Path, tmp_path: Path) -> None:
    again = debian_package.build(here, client, tmp_path)
    assert again.read_bytes() == package.read_bytes()
