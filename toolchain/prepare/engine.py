"""The engine of this project: chosen, fetched or built if needed, and put into place."""

import json
import os
import shutil
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

from toolchain.prepare import build, download, go
from toolchain.prepare.choice import (
    ENGINE,
    LANGUAGE_HOST,
    SOURCES,
    Candidate,
    choose,
    find,
    find_language_host,
    objection,
    parse_version,
    search_path,
)
from toolchain.prepare.layout import ENGINE_VERSION, Layout, version_text
from toolchain.prepare.steps import PrepareError, exclusive, output_of, replace_file, say, touch

FORCE = "ISTHMUS_ENGINE"


@dataclass(frozen=True)
class Record:
    """What `.toolchain/engine.json` says: the source of the engine in use, and which file was looked at on PATH.

    identity: of the engine on PATH, so that another one is noticed without running it. inputs: what the pinned engine is made from (see
    `go.inputs`): while that stays, the engine in the project does, whichever compiler there is now.
    """

    source: str
    version: str
    engine: str
    language_host: str
    identity: str
    inputs: str


def record_file(layout: Layout) -> Path:
    """Where the record lies."""
    return layout.toolchain / "engine.json"


def read_record(layout: Layout) -> Record | None:
    """The record, or None if there is no usable one."""
    try:
        return Record(**json.loads(record_file(layout).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def folder(layout: Layout, source: str) -> Path:
    """Where the pinned engine lies in the cache, made by `download` or `build`, each by all that it is made from."""
    if source == "download":
        return layout.cache / "engine" / f"{version_text(ENGINE_VERSION)}-{sys.platform}-{os.uname().machine}-official"
    return layout.cache / "engine" / go.key(layout, build.engine(layout))


def is_built(layout: Layout) -> bool:
    """Whether the engine that would be built lies in the cache."""
    return (folder(layout, "build") / ENGINE).is_file()


def _identity(engine: Path | None, folders: list[Path]) -> str:
    """Changes when the engine on PATH, or the language host that it would run, is another one, is updated or is gone."""
    files = [engine, find_language_host(engine, folders)] if engine else []
    found = [(os.path.realpath(file), file.stat()) for file in files if file]
    return " ".join(f"{real} {status.st_size} {status.st_mtime_ns}" for real, status in found)


def _place(made: Path, layout: Layout) -> None:
    """Puts the executables into `.toolchain/bin`. A hard link counts as its own place, where a symbolic link would not:
    the engine looks for its language host beside its own file."""
    shutil.rmtree(layout.binaries, ignore_errors=True)
    layout.binaries.mkdir(parents=True)
    for file in made.iterdir():
        try:
            os.link(file, layout.binaries / file.name)
        except OSError:
            shutil.copy2(file, layout.binaries / file.name)
    if not (layout.binaries / LANGUAGE_HOST).exists():
        _place_language_host(layout)


def _place_language_host(layout: Layout) -> None:
    launcher = layout.project / "toolchain" / "language_host" / LANGUAGE_HOST
    replace_file(layout.binaries / LANGUAGE_HOST, launcher.read_bytes(), 0o755)


def _candidate(folders: list[Path]) -> Candidate | None:
    engine = find(ENGINE, folders)
    if engine is None:
        return None
    environ = {**os.environ, "PULUMI_SKIP_UPDATE_CHECK": "true"}
    return Candidate(engine, parse_version(output_of([engine, "version"], environ)), find_language_host(engine, folders))


def _get(source: str, layout: Layout, *, forced: bool) -> str:
    """Makes the engine available in the cache and puts it into place; returns the source that it came from in the end."""
    with exclusive(layout.cache / "engine" / ".lock", "the engine"):
        if source == "download":
            made = folder(layout, source)
            try:
                if not (made / ENGINE).is_file():
                    download.download(ENGINE_VERSION, made)
            except PrepareError as error:
                if forced:
                    raise
                say(f"{error}; building it instead")
                source = "build"
        if source == "build":
            made = folder(layout, source)
            if not (made / ENGINE).is_file():
                build.build(layout, made)
        touch(made)
    _place(made, layout)
    return source


def prepare(layout: Layout) -> Record:
    """Makes sure that there is an engine with its language host, and notes which.

    `ISTHMUS_ENGINE` = `path`, `download` or `build` insists on one source.

    Raises:
        PrepareError: no engine could be had.
    """
    forced = os.environ.get(FORCE, "")
    if forced and forced not in SOURCES:
        raise PrepareError(f"{FORCE} is {forced!r}; expected one of {', '.join(SOURCES)}")
    record = read_record(layout)
    current = go.inputs(build.engine(layout))
    in_place = (layout.binaries / ENGINE).is_file() and record is not None and record.inputs == current
    installed = record.source if record is not None and in_place and record.source != "path" else ""
    folders = search_path(os.environ.get("PATH", ""), layout.binaries)
    identity = _identity(find(ENGINE, folders), folders)
    if record and identity == record.identity and (installed or record.source == "path") and forced in ("", record.source):
        if installed == "build":
            _place_language_host(layout)
        return record

    candidate = _candidate(folders)
    complaint = objection(candidate, ENGINE_VERSION)
    source = choose(candidate, ENGINE_VERSION, installed=installed, reachable=download.reachable, forced=forced)
    engine, host, version = layout.binaries / ENGINE, layout.binaries / LANGUAGE_HOST, ENGINE_VERSION
    if source == "installed":
        source = installed
    elif source != "path":
        say(f"{complaint or f'{FORCE}={forced}'}; getting {version_text(ENGINE_VERSION)}")
        source = _get(source, layout, forced=bool(forced))
    elif candidate is None or candidate.version is None or candidate.language_host is None or complaint:
        raise PrepareError(f"{FORCE}=path, but {complaint}")
    else:
        engine, host, version = candidate.engine, candidate.language_host, candidate.version
        say(f"using the engine {version_text(version)} at {engine}")
        shutil.rmtree(layout.binaries, ignore_errors=True)
    record = Record(source, version_text(version), str(engine), str(host), identity, current)
    replace_file(record_file(layout), json.dumps(asdict(record), indent=2).encode())
    return record
