"""The local stack: its passphrase, its place, that it exists and is selected, and the copy of its file that `make` hands to the engine.

Where a stack file has no salt of the passphrase yet, the engine writes one into it. The salt fits this clone's passphrase alone, and the
file is everybody's: so `make` has the engine read, and write, a copy that git does not see. The user edits the file itself.
"""

import os
import re
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, MutableMapping, Sequence
from pathlib import Path

from toolchain.prepare.layout import Layout
from toolchain.prepare.steps import PrepareError, Stamp, fingerprint, replace_file, say

STACK = "local"


def has_own_passphrase(environ: Mapping[str, str]) -> bool:
    """Whether the user set one; an empty PULUMI_CONFIG_PASSPHRASE is one too."""
    return "PULUMI_CONFIG_PASSPHRASE" in environ or bool(environ.get("PULUMI_CONFIG_PASSPHRASE_FILE"))


def config_file(layout: Layout) -> Path:
    """The stack's configuration; Pulumi.yaml may name a folder for it."""
    project = (layout.project / "Pulumi.yaml").read_text(encoding="utf-8")
    folder = re.search(r"^stackConfigDir:\s*[\"']?([^\"'\s#]+)", project, re.MULTILINE)
    return layout.project / (folder[1] if folder else "") / f"Pulumi.{STACK}.yaml"


def config_copy(layout: Layout) -> Path:
    """What the engine takes for the stack's configuration when `make` calls it (the Makefile names it, too)."""
    return layout.data / "stacks" / f"Pulumi.{STACK}.yaml"


def _project_name(layout: Layout) -> str:
    match = re.search(r"^name:\s*[\"']?([^\"'\s#]+)", (layout.project / "Pulumi.yaml").read_text(encoding="utf-8"), re.MULTILINE)
    if match is None:
        raise PrepareError("Pulumi.yaml has no name")
    return match[1]


def _ensure_passphrase(layout: Layout, environ: MutableMapping[str, str]) -> None:
    if has_own_passphrase(environ):
        return
    if not layout.passphrase.exists():
        config = config_file(layout)
        if config.is_file() and re.search(r"^encryptionsalt:", config.read_text(encoding="utf-8"), re.MULTILINE):
            raise PrepareError(
                f"{config.relative_to(layout.project)} was encrypted with a passphrase that is not here. Fix: set "
                "PULUMI_CONFIG_PASSPHRASE to that one, or remove the line `encryptionsalt` and set the file's secrets again"
            )
        say("making a passphrase for the stack's secrets in .isthmus/passphrase")
        replace_file(layout.passphrase, secrets.token_urlsafe(32).encode(), 0o600)
    environ["PULUMI_CONFIG_PASSPHRASE_FILE"] = str(layout.passphrase)


def _make_private(folder: Path) -> None:
    """A folder that others may not look into, also where it was made before: the engine writes states and their history for all to read."""
    folder.mkdir(mode=0o700, exist_ok=True)
    folder.chmod(0o700)


def variables(layout: Layout, environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The environment that `activate` makes, for commands that are run from here."""
    result = dict(environ)
    folders = [layout.venv / "bin"]
    if (layout.binaries / "pulumi").is_file():
        folders.append(layout.binaries)
        result.setdefault("PULUMI_HOME", str(layout.toolchain / "pulumi-home"))
    result["PATH"] = os.pathsep.join([*map(str, folders), result.get("PATH", "")])
    result["VIRTUAL_ENV"] = str(layout.venv)
    result.setdefault("PULUMI_SKIP_UPDATE_CHECK", "true")
    result.setdefault("PULUMI_FALLBACK_TO_STATE_SECRETS_MANAGER", "true")
    if not result.get("PULUMI_BACKEND_URL"):
        state = layout.project / ".pulumi-state"
        _make_private(state)
        result["PULUMI_BACKEND_URL"] = f"file://{state}"
    return result


def prepare(layout: Layout, engine: str) -> None:
    """Makes sure that the stack `local` exists, and selects it once; a stack that the user selects later stays selected. Renews the copy
    of its file.

    engine: path of the engine.

    Raises:
        PrepareError: the stack's secrets cannot be decrypted, or the engine refused.
    """
    environ = variables(layout)
    _make_private(layout.data)
    _ensure_passphrase(layout, environ)
    _renew_copy(layout)
    name, backend = _project_name(layout), environ["PULUMI_BACKEND_URL"]
    stamp, done = Stamp(layout.toolchain / "stack"), fingerprint(name, backend, environ.get("PULUMI_HOME", ""))
    exists = (
        not backend.startswith("file://") or Path(backend.removeprefix("file://"), ".pulumi", "stacks", name, f"{STACK}.json").is_file()
    )
    if exists and stamp.read() == done:
        return
    say(f"selecting the stack {STACK}")
    select = [engine, "stack", "select", STACK, "--non-interactive"]
    if _complaint(select, layout.project, environ):
        complaint = _create(layout, engine, environ) or _complaint(select, layout.project, environ)
        if complaint:
            raise PrepareError(f"selecting the stack {STACK} failed: {complaint}")
    stamp.write(done)


def _renew_copy(layout: Layout) -> None:
    config = config_file(layout)
    replace_file(config_copy(layout), config.read_bytes() if config.is_file() else b"", 0o600)


def _create(layout: Layout, engine: str, environ: Mapping[str, str]) -> str:
    """Makes the stack from a folder that has no more than the project's file, since its salt is written there. Returns what went wrong."""
    with tempfile.TemporaryDirectory(prefix="new-", dir=layout.data) as folder:
        shutil.copy(layout.project / "Pulumi.yaml", folder)
        return _complaint([engine, "stack", "init", STACK, "--no-select", "--non-interactive"], Path(folder), environ)


def _complaint(command: Sequence[str], folder: Path, environ: Mapping[str, str]) -> str:
    """What the engine complains about, on one line; empty if nothing."""
    result = subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True, check=False)
    return (" ".join(result.stderr.split()) or f"status {result.returncode}") if result.returncode else ""
