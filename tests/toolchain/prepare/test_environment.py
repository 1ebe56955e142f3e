"""The Python environment's steps, with stand-ins for the commands that need a network; and a real, empty environment."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from toolchain.prepare import environment
from toolchain.prepare.layout import Layout, load, make_cache
from toolchain.prepare.steps import PrepareError


class Commands:
    """Notes the commands that steps run; makes what they would make."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.run: list[str] = []
        self.fail_at = ""

    def __call__(self, command: list[object], **_: object) -> None:
        text = " ".join(Path(str(part)).name if os.path.isabs(str(part)) else str(part) for part in command)
        self.run.append(text)
        if self.fail_at and self.fail_at in text:
            raise PrepareError(f"{text} failed")
        if " -m venv " in text:
            folder = Path(str(command[-1]))
            (folder / "bin").mkdir(parents=True, exist_ok=True)
            (folder / "bin" / "python").touch()
            (folder / "bin" / "supervisord").touch()
            environment._site_packages(folder).mkdir(parents=True, exist_ok=True)


@pytest.fixture
def commands(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> Commands:
    (layout.project / "components" / "isthmus").mkdir(parents=True)
    for name in ("requirements.txt", "requirements-dev.txt"):
        (layout.project / name).write_text(f"# {name}\n")
    commands = Commands(layout)
    monkeypatch.setattr(environment, "run", commands)
    return commands


def synced(commands: Commands) -> list[str]:
    return [line for line in commands.run if "pip sync" in line]


def test_everything_is_done_once(commands: Commands) -> None:
    environment.prepare(commands.layout)
    assert len(commands.run) == 4
    assert "--require-hashes" in synced(commands)[0]
    assert "requirements-dev.txt" not in synced(commands)[0]
    commands.run.clear()
    environment.prepare(commands.layout)
    assert commands.run == []


@pytest.mark.parametrize("failing", ["-m venv --clear .venv", "pip install", "pip sync", "--without-pip"])
def test_a_step_that_failed_is_done_again(commands: Commands, failing: str) -> None:
    commands.fail_at = failing
    with pytest.raises(PrepareError):
        environment.prepare(commands.layout)
    commands.fail_at = ""
    commands.run.clear()
    environment.prepare(commands.layout)
    assert failing in commands.run[0]
    commands.run.clear()
    environment.prepare(commands.layout)
    assert commands.run == []


def test_a_changed_lock_is_installed(commands: Commands) -> None:
    environment.prepare(commands.layout)
    commands.run.clear()
    (commands.layout.project / "requirements.txt").write_text("# changed\n")
    environment.prepare(commands.layout)
    assert commands.run == synced(commands) != []


def test_the_developers_tools_stay_once_they_are_there(commands: Commands) -> None:
    environment.prepare(commands.layout)
    environment.prepare(commands.layout, developer=True)
    assert synced(commands)[-1].endswith("requirements.txt requirements-dev.txt")
    commands.run.clear()
    environment.prepare(commands.layout)
    assert commands.run == []
    (commands.layout.project / "requirements.txt").write_text("# changed\n")
    environment.prepare(commands.layout)
    assert synced(commands)[-1].endswith("requirements-dev.txt")


def test_a_project_that_was_moved_gets_a_new_environment(commands: Commands, tmp_path: Path) -> None:
    environment.prepare(commands.layout)
    commands.run.clear()
    moved = commands.layout.project.rename(tmp_path / "moved")
    environment.prepare(Layout(moved, commands.layout.cache))
    assert "-m venv --clear .venv" in commands.run[0]


@pytest.mark.parametrize("version", [(3, 9), (3, 14), (2, 7)])
def test_a_python_that_cannot_run_the_project_is_refused(version: tuple[int, int]) -> None:
    environment.check_python((3, 11))
    environment.check_python((3, 13))
    with pytest.raises(PrepareError, match="make up PYTHON="):
        environment.check_python(version)


def test_the_cache_is_the_users_unless_a_variable_moves_it(layout: Layout, tmp_path: Path) -> None:
    assert load(layout.project, {"HOME": "/h"}).cache == Path("/h/.cache/isthmus")
    assert load(layout.project, {"ISTHMUS_CACHE_DIR": str(tmp_path / "shared")}).cache == tmp_path / "shared"
    assert load(layout.project, {"ISTHMUS_CACHE_DIR": "near"}).cache == layout.project / "near"


def test_a_cache_that_cannot_be_written_to_is_one_line_that_says_what_to_set(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    make_cache(layout)
    assert layout.cache.is_dir()
    (layout.project / "file").touch()
    with pytest.raises(PrepareError, match=r"file/cache cannot be written to: Not a directory. Fix: export ISTHMUS_CACHE_DIR=") as caught:
        make_cache(Layout(layout.project, layout.project / "file" / "cache"))
    assert "\n" not in str(caught.value)
    monkeypatch.setattr(os, "access", lambda *_: False)  # as on a disk that is mounted for reading; root may write to all others
    with pytest.raises(PrepareError, match="Fix: export ISTHMUS_CACHE_DIR="):
        make_cache(layout)


def test_uv_keeps_its_cache_there_unless_the_user_chose_one(layout: Layout, tmp_path: Path) -> None:
    layout.venv.mkdir()
    assert environment.uv_variables(layout, {})["UV_CACHE_DIR"] == str(layout.cache / "uv")
    own = str(tmp_path / "own")
    assert environment.uv_variables(layout, {"UV_CACHE_DIR": own})["UV_CACHE_DIR"] == own


def test_the_plugins_environment_borrows_the_packages_and_commands(layout: Layout) -> None:
    """With real virtual environments: what is installed into the main one can be imported and run in the plugin's."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(layout.venv)], check=True)
    site = environment._site_packages(layout.venv)
    (site / "borrowed_module.py").write_text("VALUE = 42\n")
    (layout.project / "elsewhere").mkdir()
    (layout.project / "elsewhere" / "pth_module.py").touch()
    (site / "project.pth").write_text(f"{layout.project / 'elsewhere'}\n")
    tool = layout.venv / "bin" / "tool"
    tool.write_text("#!/bin/sh\necho tool\n")
    tool.chmod(0o755)
    environment._make_plugin_environment(layout)
    environment._make_plugin_environment(layout)
    python = layout.plugin_venv / "bin" / "python"
    code = "import borrowed_module, pth_module, sys; print(borrowed_module.VALUE, sys.prefix)"
    result = subprocess.run([str(python), "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.split() == ["42", str(layout.plugin_venv)]
    assert subprocess.run([str(layout.plugin_venv / "bin" / "tool")], capture_output=True, text=True, check=True).stdout == "tool\n"


def test_the_command_and_the_paths_of_the_packages_are_put_in_place(commands: Commands) -> None:
    environment.prepare(commands.layout)
    command = commands.layout.venv / "bin" / "isthmus"
    assert os.access(command, os.X_OK)
    path_file = environment._site_packages(commands.layout.venv) / environment.PATH_FILE
    assert path_file.read_text().split() == [str(commands.layout.project / name) for name in ("components", "agent")]


def test_preparing_what_is_there_needs_few_modules_and_little_time(project: Path) -> None:
    """The part that a second `make up` adds must stay small: no third-party module."""
    code = (
        "import sys; import toolchain.prepare.__main__; "
        "print([name for name in ('pulumi', 'grpc', 'numpy', 'yaml', 'asyncio') if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], cwd=project, capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
