"""Which engine to use, as pure functions of what was found.

An official engine on PATH is always preferred, then the official download, then a build from source.
"""

import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from toolchain.prepare.layout import version_text

ENGINE = "pulumi"
LANGUAGE_HOST = "pulumi-language-python"
SOURCES = ("path", "download", "build")

Version = tuple[int, ...]


@dataclass(frozen=True)
class Candidate:
    """An engine on PATH. version: None if it could not be told. language_host: None if there is none on PATH or beside it."""

    engine: Path
    version: Version | None
    language_host: Path | None


def parse_version(text: str) -> Version | None:
    """The first `1.2.3` in a text (`v3.259.0`, `go version go1.26.6 linux/amd64`), or None."""
    match = re.search(r"(\d+)\.(\d+)(?:\.(\d+))?", text)
    return tuple(int(part or 0) for part in match.groups()) if match else None


def search_path(path: str, exclude: Path) -> list[Path]:
    """The folders of a PATH text without empty and relative ones, and without the project's own `exclude`."""
    folders = [Path(entry) for entry in path.split(os.pathsep) if os.path.isabs(entry)]
    return [folder for folder in dict.fromkeys(folders) if os.path.realpath(folder) != os.path.realpath(exclude)]


def find(name: str, folders: Sequence[Path]) -> Path | None:
    """The first executable file of that name."""
    candidates = (folder / name for folder in folders)
    return next((file for file in candidates if file.is_file() and os.access(file, os.X_OK)), None)


def find_language_host(engine: Path, folders: Sequence[Path]) -> Path | None:
    """The Python language host that this engine would run: one on PATH, else the one beside the engine's real file."""
    return find(LANGUAGE_HOST, [*folders, Path(os.path.realpath(engine)).parent])


def objection(candidate: Candidate | None, minimum: Version) -> str:
    """Why the engine on PATH cannot be used; empty if it can."""
    if candidate is None:
        return "no pulumi on PATH"
    if candidate.version is None:
        return f"{candidate.engine} does not tell its version"
    if candidate.version < minimum:
        return f"{candidate.engine} is {version_text(candidate.version)}, older than {version_text(minimum)}"
    if candidate.language_host is None:
        return f"{candidate.engine} has no {LANGUAGE_HOST} beside it or on PATH"
    return ""


def choose(candidate: Candidate | None, minimum: Version, *, installed: str, reachable: Callable[[], bool], forced: str = "") -> str:
    """Where the engine comes from: `path`, `download` or `build`; or `installed`: keep what is in the project.

    installed: the source of the engine that the project already has in the pinned version (`download`, `build`), or empty.
    reachable: whether the official download site answers; asked only when the answer matters.
    forced: a source that the user insists on; the others are then not considered.
    """
    if forced:
        return "installed" if forced == installed else forced
    if not objection(candidate, minimum):
        return "path"
    if installed:
        return "installed"
    return "download" if reachable() else "build"


def go_objection(version: Version | None, needed: Version) -> str:
    """Why a Go compiler cannot be used; empty if it can."""
    if version is None:
        return "no go on PATH"
    return "" if version >= needed else f"go {version_text(version)} on PATH is older than {version_text(needed)}"


def needed_go(go_mod: str) -> Version:
    """The version in the `go` line of a go.mod. Raises ValueError if there is none."""
    match = re.search(r"^go\s+(\S+)", go_mod, re.MULTILINE)
    version = parse_version(match[1]) if match else None
    if version is None:
        raise ValueError("go.mod has no go line")
    return version
