"""The install script, on a system in a folder; and all scripts looked at by shellcheck."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from toolchain.device.debian_package import PROGRAM

pytestmark = pytest.mark.slow
Install = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def install(wheelhouse: Path, tmp_path: Path) -> Install:
    def run(*arguments: str, script: Path = wheelhouse / "install.sh", system: Path | None = tmp_path) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, **({"DPKG_ROOT": str(system)} if system else {})}
        command = [script, "--python", sys.executable, *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)

    return run


def test_it_is_installed_and_again_and_removed_with_and_without_what_it_keeps(install: Install, tmp_path: Path) -> None:
    program, state = tmp_path / PROGRAM, tmp_path / "var/lib/isthmus-agent"
    for _ in range(2):
        found = install("--without-interpreter")
        assert found.returncode == 0, found.stderr
        (program / "of-an-older-version").touch()
        (state / "enrolment").touch()
    said = subprocess.run([program / "bin" / "isthmus-agent", "--help"], capture_output=True, text=True, check=True).stdout
    assert "enrol" in said
    assert {path.name for path in (program / "bin").iterdir()} - {"isthmus-agent"} == {
        path.name for path in (program / "bin").iterdir() if path.name.startswith("python")
    }
    assert not list(program.rglob("pip"))
    assert sorted(path.name for path in program.parent.iterdir()) == ["isthmus-agent"]
    assert (tmp_path / "etc/systemd/system/isthmus-agent.service").is_file()
    assert os.readlink(tmp_path / "usr/local/bin/isthmus-agent") == f"/{PROGRAM}/bin/isthmus-agent"

    assert "are left" in install("uninstall").stdout
    assert not program.exists()
    assert (state / "enrolment").exists()
    assert install("uninstall", "--purge").returncode == 0
    assert not [path for path in tmp_path.rglob("*") if not path.is_dir()]


def test_what_is_installed_is_exchanged_as_a_whole(install: Install, wheelhouse: Path, tmp_path: Path) -> None:
    """What fails leaves what was there."""
    (tmp_path / PROGRAM).mkdir(parents=True)
    (tmp_path / PROGRAM / "old").touch()
    found = install()  # with the interpreter, which this wheelhouse has not
    assert found.returncode == 1
    assert "requirements-litert.txt could not be installed. Fix: " in found.stderr
    assert [path.name for path in (tmp_path / "opt").iterdir()] == ["isthmus-agent"]
    assert (tmp_path / PROGRAM / "old").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--wheelhouse", "/nowhere"), "has no isthmus_agent-*.whl in it"),
        (("--python", "/no/python"), "there is no /no/python on PATH"),
        (("--python", "false"), "false does not start"),
        (("--purge",), "--purge belongs to uninstall"),
        (("--wheelhouse",), "--wheelhouse needs a value"),
        (("--upgrade",), "unknown option --upgrade"),
    ],
)
def test_what_cannot_be_is_refused_with_what_to_do(install: Install, tmp_path: Path, arguments: tuple[str, ...], said: str) -> None:
    found = install(*arguments)
    assert found.returncode == 1
    assert said in found.stderr
    assert "Fix: " in found.stderr
    assert not (tmp_path / "opt").exists()


def test_two_versions_in_a_wheelhouse_are_refused(install: Install, wheelhouse: Path, tmp_path: Path) -> None:
    other = shutil.copytree(wheelhouse, tmp_path / "other")
    (other / "wheelhouse" / "isthmus_agent-9-py3-none-any.whl").touch()
    assert "has 2 versions of isthmus_agent" in install(script=other / "install.sh").stderr


@pytest.mark.parametrize("script", ["install.sh", "isthmus-agent", "postinst", "prerm", "postrm"])
def test_shellcheck_finds_nothing(script: str, project: Path, wheelhouse: Path, package: Path, tmp_path: Path) -> None:
    subprocess.run(["dpkg-deb", "--control", package, tmp_path / "control"], check=True)
    file = wheelhouse / script if (wheelhouse / script).exists() else tmp_path / "control" / script
    # Of what two of them share each uses a part.
    command = [project / ".venv/bin/shellcheck", "--external-sources", "--exclude=SC2034", "--source-path", project, file]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stdout
