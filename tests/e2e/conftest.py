"""Fixtures that run the real engine. Everything that a project started is ended when its fixture ends, by its own pid."""

import importlib.util
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from toolchain.testing import patience


def _beside(name: str) -> ModuleType:
    """A module beside this file."""
    spec = importlib.util.spec_from_file_location(f"isthmus_e2e_{name}", Path(__file__).with_name(f"{name}.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


project_module = _beside("project")


@pytest.fixture(scope="module")
def make_project(tmp_path_factory: pytest.TempPathFactory, releases: Path) -> Iterator[Callable[..., "project_module.Project"]]:
    """Makes projects; each is destroyed at the end of the module, and whatever is left of it is killed."""
    if shutil.which("pulumi") is None and not (project_module.REPOSITORY / ".toolchain/bin/pulumi").exists():
        pytest.fail("no `pulumi`: run `make test`, which prepares one")
    made = []

    def make(cache: Path | None = None) -> "project_module.Project":
        project = project_module.Project(tmp_path_factory.mktemp("p"), cache or releases)
        project.init()
        made.append(project)
        return project

    yield make
    for project in made:
        done = project.destroy()
        left = project_module.processes_of(project.root)
        for pid in left:
            os.kill(pid, signal.SIGKILL)
        assert done.code == 0, done
        assert not left, left


@pytest.fixture
def project(make_project: Callable[..., "project_module.Project"]) -> "project_module.Project":
    return make_project()


@pytest.fixture(scope="session")
def digits() -> Callable[..., dict]:
    return project_module.digits


@pytest.fixture(scope="session")
def processes_of() -> Callable[[Path], dict[int, str]]:
    return project_module.processes_of


@pytest.fixture
def neighbour() -> ModuleType:
    """What another user of the machine can do. Only root can be another user."""
    if os.getuid() != 0:
        pytest.skip("NOT TESTED: what other users of this machine get from a stack; it takes root to be one of them")
    return _beside("neighbour")


@pytest.fixture(scope="session")
def eventually() -> Callable[..., Any]:
    return patience.wait_until


@pytest.fixture(scope="session")
def unsigned_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SavedModel that has no signature."""
    folder = tmp_path_factory.mktemp("unsigned") / "model"
    program = "import sys, tensorflow as tf; m = tf.Module(); m.v = tf.Variable(1.0); tf.saved_model.save(m, sys.argv[1])"
    done = subprocess.run(
        [sys.executable, "-c", program, str(folder)], capture_output=True, text=True, timeout=patience.scaled(120), check=False
    )
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="session")
def supervisorctl() -> Callable[..., str]:
    """The supervisor's own command, as a person would type it."""

    def run(directory: Path, *words: str) -> str:
        command = [str(Path(sys.prefix) / "bin/supervisorctl"), "-c", str(directory / "supervisord.conf"), *words]
        done = subprocess.run(command, capture_output=True, text=True, timeout=patience.scaled(60), check=False)
        return done.stdout

    return run
