"""The Python environment: made, filled from the lock files, and the project's own package in it."""

import compileall
import os
import sys
from collections.abc import Mapping
from pathlib import Path

from toolchain.prepare.layout import PYTHON_VERSIONS, Layout, version_text
from toolchain.prepare.steps import ATTEMPTS, PrepareError, Stamp, fingerprint, replace_file, run, say

NETWORK = "check the connection to the package index, then run the same command again; what is already there is kept"
UV_CHANGES = (" + ", " - ", " ~ ")  # uv's list of each package that it installed, removed or replaced
RUNTIME_LOCK = "requirements.txt"
DEVELOPER_LOCK = "requirements-dev.txt"
DEVICE_LOCK = "agent/requirements.txt"
DEVICE_INTERPRETER_LOCK = "agent/requirements-litert.txt"
DEVICE_FIRST_PYTHON = (3, 10)
LOCKS: Mapping[str, tuple[tuple[int, int], list[str]]] = {
    RUNTIME_LOCK: (PYTHON_VERSIONS[0], ["requirements.in"]),
    DEVELOPER_LOCK: (PYTHON_VERSIONS[0], ["requirements-dev.in"]),
    DEVICE_LOCK: (DEVICE_FIRST_PYTHON, ["agent/pyproject.toml"]),
    DEVICE_INTERPRETER_LOCK: (DEVICE_FIRST_PYTHON, ["agent/pyproject.toml", "--extra", "litert", "--override", "agent/overrides.txt"]),
}
"""Each lock file: the first Python that it is for, and what is resolved with which options."""

# Both packages are put on the path by these two files and not by an editable installation: the effect is the same, no
# build backend has to be fetched for it, and `uv pip sync`, which removes what no lock file names, leaves it alone.
PATH_FILE = "isthmus-project.pth"
SOURCES = ("components", "agent")
"""The folders of the project that hold a package each."""
COMMAND = """#!{python}
import sys

from {module} import main

sys.exit(main())
"""
COMMANDS = {"isthmus": "isthmus.cli.main", "isthmus-agent": "isthmus_agent.cli.main"}


def check_python(version: tuple[int, int] = (sys.version_info[0], sys.version_info[1])) -> None:
    """Raises PrepareError unless the interpreter is one that every locked package has wheels for."""
    first, last = PYTHON_VERSIONS
    if not first <= version <= last:
        raise PrepareError(
            f"Python {version_text(version)} cannot run this project; it needs {version_text(first)} to {version_text(last)}. "
            "Fix: install one of them and name it, as in `make up PYTHON=python3.12`"
        )


def uv_variables(layout: Layout, environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The environment for `uv`: its cache lies in the project's unless the user chose one."""
    variables = dict(environ)
    variables.pop("VIRTUAL_ENV", None)
    cache = Path(variables.setdefault("UV_CACHE_DIR", str(layout.cache / "uv")))
    cache.mkdir(parents=True, exist_ok=True)
    if cache.stat().st_dev != layout.venv.stat().st_dev:
        variables.setdefault("UV_LINK_MODE", "copy")  # else uv warns that it cannot hard-link over file systems
    return variables


def _uv_pip(layout: Layout, verb: str) -> list[str | Path]:
    return [layout.venv / "bin" / "uv", "pip", verb, "--python", layout.venv / "bin" / "python"]


def _site_packages(venv: Path) -> Path:
    return venv / "lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}" / "site-packages"


def _make_venv(layout: Layout) -> str:
    done = fingerprint(str(layout.project), sys.version, os.path.realpath(sys.executable))
    stamp, python = Stamp(layout.venv / ".isthmus-venv"), layout.venv / "bin" / "python"
    if stamp.read() == done and python.exists():
        return done
    say(f"making a Python {version_text(sys.version_info[:3])} environment in .venv")
    fix = "install your system's package for Python virtual environments (python3-venv), or name another Python: make up PYTHON=…"
    command: list[str | Path] = [sys.executable, "-m", "venv", "--clear", layout.venv]
    run(command, what="making .venv", fix=fix)
    stamp.write(done)
    return done


def _install_uv(layout: Layout, before: str) -> str:
    lock = layout.project / "toolchain" / "uv.txt"
    done, stamp = fingerprint(before, lock), Stamp(layout.venv / ".isthmus-uv")
    if stamp.read() != done:
        say("installing uv")
        command: list[str | Path] = [
            layout.venv / "bin" / "python",
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "--require-hashes",
            "-r",
            lock,
        ]
        environ = {"PIP_CACHE_DIR": str(layout.cache / "pip"), **os.environ}
        run(command, what="installing uv", fix=NETWORK, environ=environ, attempts=ATTEMPTS)
        stamp.write(done)
    return done


def _sync(layout: Layout, before: str, *, developer: bool) -> str:
    """Installs what the lock files name. Once a user has the developers' tools, they stay."""
    marker = Stamp(layout.venv / ".isthmus-developer")
    developer = developer or bool(marker.read())
    names = [RUNTIME_LOCK, DEVELOPER_LOCK] if developer else [RUNTIME_LOCK]
    locks = [layout.project / name for name in names]
    done, stamp = fingerprint(before, *names, *locks), Stamp(layout.venv / ".isthmus-packages")
    if stamp.read() != done:
        say(f"installing the packages of {' and '.join(names)}")
        stamp.clear()
        options = ["--require-hashes", "--compile-bytecode"]
        command: list[str | Path] = [*_uv_pip(layout, "sync"), *options, *locks]
        # Bytecode is compiled here once: an environment with PYTHONDONTWRITEBYTECODE would compile at every start.
        run(command, what="installing packages", fix=NETWORK, environ=uv_variables(layout), attempts=ATTEMPTS, hide=UV_CHANGES)
        stamp.write(done)
        if developer:
            marker.write("kept")
    return done


def _install_package(layout: Layout) -> None:
    python = layout.venv / "bin" / "python"
    wanted = {
        _site_packages(layout.venv) / PATH_FILE: ("".join(f"{layout.project / name}\n" for name in SOURCES), 0o644),
        **{layout.venv / "bin" / name: (COMMAND.format(python=python, module=module), 0o755) for name, module in COMMANDS.items()},
    }
    for file, (content, mode) in wanted.items():
        if not file.is_file() or file.read_text(encoding="utf-8") != content:
            replace_file(file, content.encode(), mode)
    for folder in ("components/isthmus", "agent/isthmus_agent", "toolchain/language_host"):
        compileall.compile_dir(layout.project / folder, quiet=2)


def _make_plugin_environment(layout: Layout) -> None:
    """A virtual environment for the plugin, with nothing in it but the way to `.venv`'s packages and commands.

    Language hosts run a plugin folder in the environment `venv` inside it, and `pulumi package add` installs into that
    one. It must not be `.venv` itself, which such an installation would overwrite.
    """
    venv, main = layout.plugin_venv, layout.venv
    done, stamp = fingerprint(str(layout.project), sys.version, os.path.realpath(sys.executable)), Stamp(venv / ".isthmus-venv")
    if stamp.read() != done:
        say("making the plugin's environment in components/venv")
        command: list[str | Path] = [sys.executable, "-m", "venv", "--clear", "--without-pip", venv]
        run(command, what="making components/venv", fix="look at the error above")
        borrow = f"import site; site.addsitedir({str(_site_packages(main))!r})\n"
        replace_file(_site_packages(venv) / "borrowed.pth", borrow.encode())
        stamp.write(done)
    for command_file in (main / "bin").iterdir():
        link = venv / "bin" / command_file.name
        if not os.path.lexists(link):
            link.symlink_to(command_file)


def begin(layout: Layout) -> str:
    """Makes `.venv` with uv in it, which is all that other preparations need. Returns what `finish` asks for.

    Raises:
        PrepareError: no usable Python, or a step failed.
    """
    check_python()
    return _install_uv(layout, _make_venv(layout))


def finish(layout: Layout, begun: str, *, developer: bool = False) -> None:
    """Brings `.venv` and the plugin's environment to what the lock files say.

    begun: what `begin` returned. developer: also the packages of requirements-dev.txt.

    Raises:
        PrepareError: a step failed.
    """
    _sync(layout, begun, developer=developer)
    _install_package(layout)
    _make_plugin_environment(layout)


def prepare(layout: Layout, *, developer: bool = False) -> None:
    """`begin` and `finish`."""
    finish(layout, begin(layout), developer=developer)


def lock(layout: Layout) -> None:
    """Resolves the .in files and the device program's needs again and writes the lock files, hashes included."""
    variables = {**uv_variables(layout), "UV_CUSTOM_COMPILE_COMMAND": "make lock"}
    common: list[str | Path] = [layout.venv / "bin" / "uv", "pip", "compile", "--quiet", "--universal", "--generate-hashes"]
    here = ("--no-emit-package=isthmus", "--no-emit-package=isthmus-agent", "--override", "toolchain/overrides.txt")
    for target, (python, wanted) in LOCKS.items():
        say(f"locking {wanted[0]} into {target}")
        command = [*common, "--python-version", version_text(python), *here, *wanted, "-o", target]
        run(command, what=f"locking {wanted[0]}", fix=NETWORK, environ=variables, cwd=layout.project)


def pip_target(layout: Layout, lock_file: Path, target: Path) -> None:
    """Installs the packages of one lock file into a folder of their own."""
    command: list[str | Path] = [
        *(*_uv_pip(layout, "install"), "--quiet"),
        *("--target", target, "--no-deps", "--require-hashes", "-r", lock_file),
    ]
    what = f"installing {lock_file.stem} into {target}"
    run(command, what=what, fix=NETWORK, environ=uv_variables(layout), attempts=ATTEMPTS)
