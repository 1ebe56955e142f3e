"""The device program's own wheel, and those that it needs."""

import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from toolchain.device.target import LIBCS, Target
from toolchain.prepare.environment import NETWORK, uv_variables
from toolchain.prepare.layout import Layout
from toolchain.prepare.steps import ATTEMPTS, run

PACKAGING = "agent/packaging"
_SCRIPTS = ("install.sh", "common.sh", "isthmus-agent", "isthmus-agent.service")
_EPOCH_SECONDS = "1577836800"  # 2020


def reproducible(environ: Mapping[str, str]) -> dict[str, str]:
    """An environment in which what is built of the same files is the same."""
    return {**environ, "SOURCE_DATE_EPOCH": _EPOCH_SECONDS}


def wheel(layout: Layout, folder: Path) -> Path:
    """Builds the device program's own wheel into a folder, which has no other. Raises PrepareError."""
    command: list[str | Path] = [layout.venv / "bin" / "uv", "build", "--quiet", "--wheel", "--no-build-isolation"]
    command += ["--python", layout.venv / "bin" / "python", "--out-dir", folder, layout.project / "agent"]
    fix = "make lint, which installs what builds it"
    run(command, what="building isthmus-agent's wheel", fix=fix, environ=reproducible(uv_variables(layout)))
    (found,) = folder.glob("isthmus_agent-*.whl")
    (folder / ".gitignore").unlink(missing_ok=True)  # uv's
    return found


def install(layout: Layout, target: Target, program: Path, folder: Path) -> None:
    """Puts the device program's wheel and what it needs into a folder of modules, for a device that may be of another kind.

    Raises PrepareError: the package index can't be reached, or has no wheel for such a device.
    """
    command: list[str | Path] = [layout.venv / "bin" / "uv", "pip", "install", "--quiet", "--target", folder, "--no-deps"]
    command += ["--python", layout.venv / "bin" / "python", "--link-mode", "copy"]  # what is installed is changed below
    options: list[str | Path] = ["--only-binary", ":all:", "--require-hashes", "-r", layout.project / target.lock]
    kind = ["--python-version", target.python_text, "--python-platform", target.platform]
    variables = uv_variables(layout)
    what = f"installing {target.lock} for Python {target.python_text} on {target.platform}"
    run([*command, *kind, *options], what=what, fix=NETWORK, environ=variables, attempts=ATTEMPTS)
    run([*command, *kind, program], what="installing isthmus-agent", fix="look at the error above", environ=variables)
    shutil.rmtree(folder / "bin", ignore_errors=True)  # commands with this machine's paths in them
    (folder / ".lock").unlink(missing_ok=True)


def resolved(layout: Layout, target: Target, file: Path) -> Path:
    """Writes what of the lock file such a device needs, without conditions: pip would judge them by the Python that it runs in.

    Raises PrepareError: something has no wheel for such a device.
    """
    command: list[str | Path] = [layout.venv / "bin" / "uv", "pip", "compile", "--quiet", "--no-header", "--no-annotate", "--no-deps"]
    command += ["--python-version", target.python_text, "--python-platform", target.platform, "--only-binary", ":all:", "--generate-hashes"]
    what = f"resolving {target.lock} for Python {target.python_text} on {target.platform}"
    run([*command, layout.project / target.lock, "-o", file], what=what, fix=NETWORK, environ=uv_variables(layout), attempts=ATTEMPTS)
    return file


def _pip(layout: Layout, verb: str) -> list[str | Path]:
    return [
        layout.venv / "bin" / "python",
        "-m",
        "pip",
        verb,
        "--quiet",
        "--disable-pip-version-check",
        "--no-deps",
        "--only-binary",
        ":all:",
    ]


def _kind(target: Target) -> list[str]:
    """A kind of device as pip knows it: it takes no wheel of an older platform for a newer one by itself."""
    platforms = [f"{libc}_{target.architecture}" for libc in LIBCS]
    return ["--implementation", "cp", "--python-version", target.python_text, *(it for name in platforms for it in ("--platform", name))]


def wheelhouse(layout: Layout, target: Target, folder: Path) -> Path:
    """A folder for devices that reach no package index: the install script with all that it takes. Raises PrepareError."""
    shutil.rmtree(folder, ignore_errors=True)
    wheels = folder / "wheelhouse"
    wheels.mkdir(parents=True)
    wheel(layout, wheels)
    with tempfile.TemporaryDirectory() as scratch:
        pins = resolved(layout, target, Path(scratch) / "pins.txt")
        run(
            [*_pip(layout, "download"), *_kind(target), "--dest", wheels, "-r", pins],
            what=f"fetching {target.lock}",
            fix=NETWORK,
            attempts=ATTEMPTS,
        )
    for name in _SCRIPTS:
        shutil.copy(layout.project / PACKAGING / name, folder / name)
    for other in (Target(target.architecture, target.python, has_interpreter=it) for it in (True, False)):
        shutil.copy(layout.project / other.lock, folder / Path(other.lock).name)
    return folder
