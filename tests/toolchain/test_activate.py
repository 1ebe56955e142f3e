"""The file that a user sources."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

SHELLS = [shell for shell in ("bash", "zsh", "dash") if shutil.which(shell)]
NAMES = (
    *("PATH", "VIRTUAL_ENV", "PULUMI_HOME", "PULUMI_BACKEND_URL", "PULUMI_CONFIG_PASSPHRASE_FILE", "PULUMI_CONFIG_PASSPHRASE"),
    "PULUMI_FALLBACK_TO_STATE_SECRETS_MANAGER",
)


@pytest.fixture
def root(project: Path, tmp_path: Path) -> Path:
    """A project folder, with a space in its name, that was prepared."""
    folder = tmp_path / "my project"
    for file in (".venv/bin/python", ".toolchain/bin/pulumi"):
        (folder / file).parent.mkdir(parents=True)
        (folder / file).write_text("#!/bin/sh\n")
        (folder / file).chmod(0o755)
    (folder / ".isthmus").mkdir()
    (folder / ".isthmus" / "passphrase").write_text("secret")
    shutil.copy(project / "activate", folder)
    return folder


def source(root: Path, shell: str, *, twice: bool = False, **extra: str) -> dict[str, str]:
    """The variables of a shell that sourced the file; it must be silent, also under the strictest options."""
    environ = {name: value for name, value in os.environ.items() if name not in NAMES} | {"PATH": "/usr/bin:/bin", **extra}
    line = '. "./activate"; ' * (2 if twice else 1)
    result = subprocess.run([shell, "-euc", f"{line} env"], cwd=root, env=environ, capture_output=True, text=True, check=True)
    assert result.stderr == ""
    return dict(entry.split("=", 1) for entry in result.stdout.splitlines() if "=" in entry)


@pytest.mark.parametrize("shell", SHELLS)
def test_the_projects_tools_come_first(root: Path, shell: str) -> None:
    found = source(root, shell)
    assert found["PATH"].split(":")[:2] == [str(root / ".venv" / "bin"), str(root / ".toolchain" / "bin")]
    assert found["PULUMI_HOME"] == str(root / ".toolchain" / "pulumi-home")
    assert found["PULUMI_BACKEND_URL"] == f"file://{root / '.pulumi-state'}"
    assert (root / ".pulumi-state").stat().st_mode & 0o777 == 0o700
    assert found["PULUMI_CONFIG_PASSPHRASE_FILE"] == str(root / ".isthmus" / "passphrase")
    assert not [name for name in found if name.startswith("_isthmus")]


@pytest.mark.parametrize("shell", SHELLS)
def test_an_official_engine_keeps_its_own_home(root: Path, shell: str) -> None:
    shutil.rmtree(root / ".toolchain")
    found = source(root, shell)
    assert "PULUMI_HOME" not in found
    assert found["PATH"].split(":") == [str(root / ".venv" / "bin"), "/usr/bin", "/bin"]


@pytest.mark.parametrize(
    "own",
    [
        {"PULUMI_BACKEND_URL": "s3://bucket"},
        {"PULUMI_HOME": "/elsewhere"},
        {"PULUMI_CONFIG_PASSPHRASE": ""},
        {"PULUMI_CONFIG_PASSPHRASE_FILE": "/mine"},
    ],
    ids=lambda own: next(iter(own)),
)
def test_what_the_user_set_stays(root: Path, own: dict[str, str]) -> None:
    found = source(root, "bash", **own)
    assert {name: found[name] for name in own} == own
    if "PULUMI_CONFIG_PASSPHRASE" in own:
        assert "PULUMI_CONFIG_PASSPHRASE_FILE" not in found


def test_sourcing_it_again_changes_nothing(root: Path) -> None:
    once, twice = source(root, "bash"), source(root, "bash", twice=True)
    assert {name: once.get(name) for name in NAMES} == {name: twice.get(name) for name in NAMES}


@pytest.mark.parametrize("shell", [shell for shell in SHELLS if shell != "dash"])
def test_it_can_be_sourced_from_anywhere(root: Path, tmp_path: Path, shell: str) -> None:
    environ = {"PATH": "/usr/bin:/bin"}
    result = subprocess.run(
        [shell, "-c", f'. "{root}/activate"; echo "$VIRTUAL_ENV"'], cwd=tmp_path, env=environ, capture_output=True, text=True, check=True
    )
    assert result.stdout == f"{root}/.venv\n"


def test_commands_run_by_make_get_the_same_variables(root: Path) -> None:
    from toolchain.prepare.layout import load
    from toolchain.prepare.stack import variables

    sourced = source(root, "bash")
    ours = variables(load(root, {}), {"PATH": "/usr/bin:/bin"})
    shared = [name for name in NAMES if not name.startswith("PULUMI_CONFIG")]
    assert {name: ours[name] for name in shared} == {name: sourced[name] for name in shared}


def test_everything_that_tells_a_user_to_source_it_names_the_file_by_its_place(project: Path) -> None:
    """A bare `source activate` is looked for on PATH, and finds that of pyenv."""
    files = [project / "activate", project / "Makefile", *project.glob("*.md"), *project.glob("docs/**/*.md")]
    files += [file for folder in ("components/isthmus", "toolchain", "examples") for file in project.glob(f"{folder}/**/*.py")]
    bare = re.compile(r"(?:source|[`;&] *\.) activate\b")
    assert len(files) > 100
    assert [str(file) for file in files if bare.search(file.read_text(encoding="utf-8"))] == []
