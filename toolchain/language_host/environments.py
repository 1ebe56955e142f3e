"""The Python environment that a program or plugin runs in: found, made, filled and listed, by pip or by uv."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from toolchain.language_host.options import OptionError, Options, project_folder

LISTING = Path(__file__).with_name("packages.py")


class UnusableEnvironmentError(Exception):
    """The environment cannot be used as it is; the text is for the user."""


@dataclass(frozen=True)
class Step:
    """One command of an installation, and the folder it runs in."""

    command: tuple[str, ...]
    folder: Path


def system_python() -> str:
    """The ambient interpreter: `PULUMI_PYTHON_CMD` if set, else `python3` or `python` on PATH."""
    wanted = os.environ.get("PULUMI_PYTHON_CMD")
    names = [wanted] if wanted else ["python3", "python"]
    for name in names:
        if found := shutil.which(name):
            return found
    raise UnusableEnvironmentError(f"failed to locate any of {names} on your PATH. Have you installed Python 3.10 or greater?")


def is_virtualenv(folder: Path) -> bool:
    """Whether the folder has an interpreter where a virtual environment has it."""
    return (folder / "bin" / "python").is_file()


def is_buildable(folder: Path) -> bool:
    """Whether the folder's pyproject.toml describes a package with a build system."""
    return {"project", "build-system"} <= _tables(folder / "pyproject.toml")


def project_name(folder: Path) -> str:
    """`project.name` of the folder's pyproject.toml."""
    text = (folder / "pyproject.toml").read_text(encoding="utf-8")
    section = re.search(r"^\[project\]\s*$(.*?)(?=^\[|\Z)", text, re.MULTILINE | re.DOTALL)
    name = re.search(r"^name\s*=\s*[\"']([^\"']+)", section[1], re.MULTILINE) if section else None
    if name is None:
        raise UnusableEnvironmentError(f"{folder / 'pyproject.toml'} has no project.name")
    return name[1]


def _tables(pyproject: Path) -> set[str]:
    if not pyproject.is_file():
        return set()
    return set(re.findall(r"^\[([A-Za-z-]+)\]\s*(?:#.*)?$", pyproject.read_text(encoding="utf-8"), re.MULTILINE))


class Environment:
    """What both toolchains share. `folder` is the virtual environment, or None for the ambient interpreter."""

    folder: Path | None

    def __init__(self, options: Options) -> None:
        self.options = options
        self.folder = self._locate()

    def _locate(self) -> Path | None:
        return self.options.root / self.options.virtualenv if self.options.virtualenv else None

    @property
    def python(self) -> str:
        """Path of the interpreter."""
        return str(self.folder / "bin" / "python") if self.folder else system_python()

    def variables(self) -> dict[str, str]:
        """This process's environment with the virtual environment activated."""
        variables = dict(os.environ)
        if self.folder:
            variables.pop("PYTHONHOME", None)
            variables["PATH"] = f"{self.folder / 'bin'}{os.pathsep}{variables.get('PATH', '')}"
            variables["VIRTUAL_ENV"] = str(self.folder)
        return variables

    def validate(self) -> None:
        """Raises UnusableEnvironmentError if the environment that the options name is not one."""
        if self.folder and not is_virtualenv(self.folder):
            state = "doesn't appear to be a virtual environment" if self.folder.exists() else "doesn't exist"
            raise UnusableEnvironmentError(
                f"the 'virtualenv' option is set to {self.options.virtualenv or str(self.folder)!r}, but {str(self.folder)!r} {state}; "
                "`pulumi install` makes it and installs the dependencies into it"
            )

    def refresh(self) -> None:
        """Brings the environment up to date where the toolchain does so before each use."""

    def missing(self) -> bool:
        """Whether the options name an environment that has to be made first."""
        if not self.folder or is_virtualenv(self.folder):
            return False
        if self.folder.exists() and not self.folder.is_dir():
            raise UnusableEnvironmentError(f"the 'virtualenv' option is set to {str(self.folder)!r} but it is not a directory")
        return not self.folder.exists() or not any(self.folder.iterdir())

    def install(self, folder: Path, *, is_plugin: bool) -> Iterator[Step]:
        """The commands that make the environment and install the dependencies declared in `folder`."""
        raise NotImplementedError

    def version(self) -> str:
        """The version of the toolchain's own program; empty if it does not say."""
        raise NotImplementedError

    def query(self, *arguments: str) -> str:
        """What the interpreter prints when run with `arguments`."""
        result = subprocess.run([self.python, *arguments], env=self.variables(), capture_output=True, text=True, check=False)
        if result.returncode:
            raise UnusableEnvironmentError(f"{self.python} failed: {result.stderr.strip() or f'status {result.returncode}'}")
        return result.stdout.strip()

    def packages(self, *, direct: bool = False) -> list[dict[str, Any]]:
        """The installed packages, as `packages.listing` gives them."""
        listing: list[dict[str, Any]] = json.loads(self.query(str(LISTING), *(["--direct"] if direct else [])))
        return listing


class PipEnvironment(Environment):
    """`toolchain: pip`: a virtual environment made by `venv`, or without the option the ambient interpreter."""

    def install(self, folder: Path, *, is_plugin: bool) -> Iterator[Step]:
        """As the official host: make, bring pip up to date, then the package itself (a plugin that is one) and requirements.txt."""
        if self.folder:
            yield Step((system_python(), "-m", "venv", str(self.folder)), folder)
        pip = (self.python, "-m", "pip", "install")
        yield Step((*pip, "--upgrade", "pip", "setuptools", "wheel"), folder)
        if is_plugin and is_buildable(folder):
            yield Step((*pip, str(folder)), folder)
        if (folder / "requirements.txt").is_file():
            yield Step((*pip, "-r", "requirements.txt"), folder)

    def version(self) -> str:
        """pip's version. `pip --version` says the same after half a second: it imports all of itself."""
        try:
            return self.query("-c", "from importlib.metadata import version; print(version('pip'))")
        except UnusableEnvironmentError:
            return ""


class UvEnvironment(Environment):
    """`toolchain: uv`: the project's environment, kept in step with its lock file by `uv sync`."""

    def _locate(self) -> Path:
        if self.options.virtualenv:
            return self.options.root / self.options.virtualenv
        place = project_folder(self.options.program) or self.options.program
        return place / (os.environ.get("UV_PROJECT_ENVIRONMENT") or ".venv")

    @property
    def uv(self) -> str:
        """Path of `uv`: on PATH, or in the environment of this host."""
        found = shutil.which("uv") or shutil.which("uv", path=str(Path(sys.prefix) / "bin"))
        if not found:
            raise OptionError("could not find the `uv` executable; install uv and make sure that it is on your PATH")
        return found

    def variables(self) -> dict[str, str]:
        """Activated, and known to uv as the project's environment."""
        return {**super().variables(), "UV_PROJECT_ENVIRONMENT": str(self.folder)}

    def _project(self) -> Path | None:
        place = project_folder(self.options.program)
        if place and not (place / "uv.lock").is_file() and "project" not in _tables(place / "pyproject.toml"):
            raise UnusableEnvironmentError(
                f"{place / 'pyproject.toml'} is missing a [project] section, which uv needs to install dependencies"
            )
        return place

    def refresh(self) -> None:
        """`uv sync --inexact`, which leaves packages alone that the project does not name."""
        if self._project():
            command = [self.uv, "sync", "--inexact", "--quiet"]
            result = subprocess.run(command, cwd=self.options.program, env=self.variables(), capture_output=True, text=True, check=False)
            if result.returncode:
                raise UnusableEnvironmentError(f"uv sync failed: {result.stderr.strip()}")

    def install(self, folder: Path, *, is_plugin: bool) -> Iterator[Step]:
        """`uv sync` for a project; for a bare requirements.txt an environment with what it lists (the file stays as it is)."""
        if self._project():
            yield Step((self.uv, "sync"), folder)
            return
        yield Step((self.uv, "venv", "--quiet", "--allow-existing", str(self.folder)), folder)
        if (folder / "requirements.txt").is_file():
            yield Step((self.uv, "pip", "install", "--python", self.python, "-r", "requirements.txt"), folder)

    def version(self) -> str:
        """uv's version."""
        words = subprocess.run([self.uv, "--version"], capture_output=True, text=True, check=False).stdout.split()
        return words[1] if len(words) > 1 else ""


def resolve(options: Options) -> Environment:
    """The environment that the options ask for."""
    return {"pip": PipEnvironment, "uv": UvEnvironment}[options.toolchain](options)
