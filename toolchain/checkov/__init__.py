"""Checkov in an environment of its own, in the user's cache: its many pinned dependencies would hold back the project's."""

import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

from toolchain.prepare.environment import NETWORK, RUNTIME_LOCK, uv_variables
from toolchain.prepare.layout import PYTHON_VERSIONS, Layout, version_text
from toolchain.prepare.steps import ATTEMPTS, Stamp, exclusive, fingerprint, run, say, touch

LOCK = Path(__file__).with_name(RUNTIME_LOCK)
# No policies and no news from anywhere: what the package brings is what is checked.
OFFLINE = ("--skip-download", "--skip-results-upload")
NOWHERE = "http://127.0.0.1:9"
"""As a proxy: whatever would call home after all fails at once, and on this machine."""


def folder(layout: Layout) -> Path:
    """Where the environment lies: another lock file or Python makes another one."""
    return layout.cache / "checkov" / fingerprint(LOCK, sys.version, os.path.realpath(sys.executable))[:16]


def prepare(layout: Layout) -> Path:
    """The program, installed if it is not there yet (30 seconds, 220 MB).

    Raises:
        PrepareError: the packages can't be had.
    """
    target = folder(layout)
    program, done = target / "bin" / "checkov", Stamp(target / ".isthmus")
    if done.read():
        touch(target)
        return program
    with exclusive(layout.cache / "checkov" / ".lock", "Checkov"):
        if done.read():
            return program
        say("installing Checkov")
        # Its programs name their environment's folder, so that it is made where it stays, and counts once it is stamped.
        shutil.rmtree(target, ignore_errors=True)
        run([sys.executable, "-m", "venv", "--without-pip", target], what="making Checkov's environment", fix="look at the error above")
        command: list[str | Path] = [layout.venv / "bin" / "uv", "pip", "sync", "--quiet", "--require-hashes"]
        run(
            [*command, "--python", target / "bin" / "python", LOCK],
            what="installing Checkov",
            fix=NETWORK,
            environ=uv_variables(layout),
            attempts=ATTEMPTS,
        )
        done.write("installed")
    return program


def environment(environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Variables that keep it on this machine."""
    return {**environ, **dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"), NOWHERE), "NO_PROXY": ""}


def lock(layout: Layout) -> None:
    """Resolves requirements.in again. Raises PrepareError."""
    variables = {**uv_variables(layout), "UV_CUSTOM_COMPILE_COMMAND": "python -m toolchain.checkov lock"}
    command: list[str | Path] = [layout.venv / "bin" / "uv", "pip", "compile", "--quiet", "--universal", "--generate-hashes"]
    options = ["--python-version", version_text(PYTHON_VERSIONS[0]), LOCK.with_suffix(".in").name, "-o", LOCK.name]
    run([*command, *options], what=f"locking {LOCK.name}", fix=NETWORK, environ=variables, cwd=LOCK.parent)
