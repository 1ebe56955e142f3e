"""A stack that `make` brings up: its name, passphrase, place, that it exists, and the copy of its file that `make` hands to the engine.

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
"""The one that is meant where nobody names one: it alone is selected, for commands that a user types."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
"""What a stack may be called here: it is part of paths and of command lines."""


def has_own_passphrase(environ: Mapping[str, str]) -> bool:
    """Whether the user set one; an empty PULUMI_CONFIG_PASSPHRASE is one too."""
    return "PULUMI_CONFIG_PASSPHRASE" in environ or bool(environ.get("PULUMI_CONFIG_PASSPHRASE_FILE"))


def config_file(layout: Layout, name: str = STACK) -> Path:
    """A stack's configuration; Pulumi.yaml may name a folder for it."""
    project = (layout.project / "Pulumi.yaml").read_text(encoding="utf-8")
    folder = re.search(r"^stackConfigDir:\s*[\"']?([^\"'\s#]+)", project, re.MULTILINE)
    return layout.project / (folder[1] if folder else "") / f"Pulumi.{name}.yaml"


def config_copy(layout: Layout, name: str = STACK) -> Path:
    """What the engine takes for a stack's configuration when `make` calls it (the Makefile names it, too)."""
    return layout.data / "stacks" / f"Pulumi.{name}.yaml"


def names(layout: Layout) -> list[str]:
    """The stacks that have a file, but for those whose own data would lie where something else of the project does."""
    taken = {config_copy(layout).parent.name, layout.passphrase.name}
    files = config_file(layout).parent.glob("Pulumi.*.yaml")
    found = (file.name.removeprefix("Pulumi.").removesuffix(".yaml") for file in files)
    return sorted(name for name in found if _NAME.fullmatch(name) and name not in taken)


def check_name(layout: Layout, name: str) -> None:
    """Refuses a name that no stack file has. STACK needs none: its program says what to declare.

    Raises:
        PrepareError: with those that are there.
    """
    if name == STACK or name in (found := names(layout)):
        return
    folder = config_file(layout).parent.relative_to(layout.project)
    if not found:
        raise PrepareError(f"there is no stack {name!r} in {folder}/, which has none; describe it in {folder}/Pulumi.{name}.yaml")
    raise PrepareError(f"there is no stack {name!r} in {folder}/; expected one of {', '.join(found)}, as in `make up STACK={found[0]}`")


def _project_name(layout: Layout) -> str:
    match = re.search(r"^name:\s*[\"']?([^\"'\s#]+)", (layout.project / "Pulumi.yaml").read_text(encoding="utf-8"), re.MULTILINE)
    if match is None:
        raise PrepareError("Pulumi.yaml has no name")
    return match[1]


def _ensure_passphrase(layout: Layout, name: str, environ: MutableMapping[str, str]) -> None:
    if has_own_passphrase(environ):
        return
    if not layout.passphrase.exists():
        config = config_file(layout, name)
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


def prepare(layout: Layout, engine: str, name: str = STACK) -> None:
    """Makes sure that a stack exists. STACK is selected once, too; a stack that the user selects later stays selected. Renews the copy of
    its file.

    engine: path of the engine. name: as `check_name` lets it pass.

    Raises:
        PrepareError: the stack's secrets cannot be decrypted, or the engine refused.
    """
    environ = variables(layout)
    _make_private(layout.data)
    _ensure_passphrase(layout, name, environ)
    _renew_copy(layout, name)
    project, backend = _project_name(layout), environ["PULUMI_BACKEND_URL"]
    stamp = Stamp(layout.toolchain / ("stack" if name == STACK else f"stack-{name}"))
    done = fingerprint(project, backend, environ.get("PULUMI_HOME", ""))
    exists = (
        not backend.startswith("file://") or Path(backend.removeprefix("file://"), ".pulumi", "stacks", project, f"{name}.json").is_file()
    )
    if exists and stamp.read() == done:
        return
    say(f"selecting the stack {name}" if name == STACK else f"looking for the stack {name}")
    look = [engine, "stack", *(("select", name) if name == STACK else ("--show-name", "--stack", name)), "--non-interactive"]
    if _complaint(look, layout.project, environ):
        complaint = _create(layout, engine, name, environ) or _complaint(look, layout.project, environ)
        if complaint:
            raise PrepareError(f"selecting the stack {name} failed: {complaint}")
    stamp.write(done)


def _renew_copy(layout: Layout, name: str) -> None:
    config = config_file(layout, name)
    replace_file(config_copy(layout, name), config.read_bytes() if config.is_file() else b"", 0o600)


def _create(layout: Layout, engine: str, name: str, environ: Mapping[str, str]) -> str:
    """Makes the stack from a folder that has no more than the project's file, since its salt is written there. Returns what went wrong."""
    with tempfile.TemporaryDirectory(prefix="new-", dir=layout.data) as folder:
        shutil.copy(layout.project / "Pulumi.yaml", folder)
        return _complaint([engine, "stack", "init", name, "--no-select", "--non-interactive"], Path(folder), environ)


def _complaint(command: Sequence[str], folder: Path, environ: Mapping[str, str]) -> str:
    """What the engine complains about, on one line; empty if nothing."""
    result = subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True, check=False)
    return (" ".join(result.stderr.split()) or f"status {result.returncode}") if result.returncode else ""
