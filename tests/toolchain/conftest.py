"""The project's own toolchain, importable, and throw-away projects for the real engine."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pulumi  # noqa: F401  first, so that the language host's light-weight imports find the whole SDK already there
import pytest

PROJECT = Path(__file__).resolve().parents[2]
if str(PROJECT) not in sys.path:
    sys.path.insert(0, str(PROJECT))

from toolchain.prepare.layout import Layout, load  # noqa: E402
from toolchain.prepare.stack import variables  # noqa: E402
from toolchain.testing import patience  # noqa: E402


@pytest.fixture(scope="session")
def project() -> Path:
    """The project's root folder."""
    return PROJECT


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """The layout of an empty project with an empty cache, and the real module files of the engine."""
    root = tmp_path / "project"
    shutil.copytree(PROJECT / "toolchain", root / "toolchain", ignore=shutil.ignore_patterns("__pycache__"))
    return Layout(root, tmp_path / "cache")


@pytest.fixture
def eventually() -> Callable[..., None]:
    """Polls a condition until it holds; fails when the deadline is over."""

    def wait(condition: Callable[[], object], what: str, deadline_seconds: float = 30) -> None:
        deadline = patience.Deadline(deadline_seconds)
        while not condition():
            assert not deadline.over(), f"{what} did not happen within {deadline.passed_seconds:.0f} s"
            time.sleep(0.02)

    return wait


class Engine:
    """Runs `pulumi` in one throw-away project with a state of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        state = folder.with_name(f"{folder.name}-state")
        home = folder.with_name(f"{folder.name}-home")
        state.mkdir()
        self.environ = variables(load(PROJECT), {**os.environ, "PULUMI_BACKEND_URL": state.as_uri(), "PULUMI_HOME": str(home)})
        self.environ |= {"PULUMI_CONFIG_PASSPHRASE": "test", "PULUMI_SKIP_UPDATE_CHECK": "true", "NO_COLOR": "1"}
        self.environ.pop("PULUMI_CONFIG_PASSPHRASE_FILE", None)
        self.started: list[subprocess.Popen[str]] = []

    def command(self, *arguments: str) -> list[str]:
        """The command line of `pulumi` with `arguments`, never asking."""
        found = shutil.which("pulumi", path=self.environ["PATH"])
        assert found, "no pulumi: run `make test`, which prepares one"
        return [found, *arguments, "--non-interactive"]

    def run(self, *arguments: str, check: bool = True) -> "subprocess.CompletedProcess[str]":
        """Runs it to its end."""
        result = subprocess.run(
            self.command(*arguments),
            cwd=self.folder,
            env=self.environ,
            capture_output=True,
            text=True,
            timeout=patience.scaled(120),
            check=False,
        )
        assert not check or result.returncode == 0, result.stdout + result.stderr
        return result

    def start(self, *arguments: str) -> "subprocess.Popen[str]":
        """Starts it in a process group of its own, as a terminal does."""
        process = subprocess.Popen(
            self.command(*arguments),
            cwd=self.folder,
            env=self.environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self.started.append(process)
        return process

    def close(self) -> None:
        """Ends what still runs."""
        for process in self.started:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Callable[[dict[str, str]], Engine]]:
    """Makes a throw-away project of the files given and its stack `dev`."""
    made: list[Engine] = []

    def make(files: dict[str, str]) -> Engine:
        folder = tmp_path / f"program{len(made)}"
        for name, content in files.items():
            file = folder / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(content, encoding="utf-8")
        run = Engine(folder)
        made.append(run)
        run.run("stack", "init", "dev")
        return run

    yield make
    for run in made:
        run.close()
