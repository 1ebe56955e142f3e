"""What a stack has made, read from its state by the Pulumi CLI."""

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from isthmus.deployed import by_name
from isthmus.errors import InputError, PlatformError, Problem
from isthmus.plugin.signatures import SECRET_SIGNATURE, SIGNATURE_KEY

_TIMEOUT_SECONDS = 60


@dataclass(frozen=True)
class StackState:
    """outputs: `services` and `fleets`, by name the outputs of each; of the components themselves, whatever the program exports. resources:
    type token's last part → name → outputs (secrets stay encrypted)."""

    name: str
    outputs: Mapping[str, Any]
    resources: Mapping[str, Mapping[str, Mapping[str, Any]]]

    def services(self) -> dict[str, Mapping[str, Any]]:
        return {name: it for name, it in dict(self.outputs.get("services", {})).items() if "endpoint" in it}

    def fleets(self) -> dict[str, Mapping[str, Any]]:
        return {name: it for name, it in dict(self.outputs.get("fleets", {})).items() if "devices" in it}


def read_stack(name: str = "", *, show_secrets: bool = False) -> StackState:
    """The state of a stack of the project in the current folder; without a name, of the selected one.

    show_secrets: they are readable in what comes back; asks for what `pulumi up` needs for it, such as the passphrase.

    Raises:
        InputError: no such stack, or nothing is deployed.
        PlatformError: there is no `pulumi`, or it failed.
    """
    with reading(name, show_secrets=show_secrets) as read:
        return read()


@contextmanager
def reading(name: str = "", *, show_secrets: bool = False) -> Iterator[Callable[[], StackState]]:
    """`read_stack` in two steps, for who has something else to do meanwhile: it is asked at once, and answers when it is called."""
    if shutil.which("pulumi") is None:
        raise PlatformError("no `pulumi` on PATH. Fix: `source ./activate` in the project's folder, or see `isthmus doctor`")
    command = ["pulumi", "stack", "export", *(["--stack", name] if name else []), "--non-interactive"]
    command += ["--show-secrets"] if show_secrets else []
    # Nearly all that `pulumi` does here is its own start, a fifth of it Go's garbage collection: less often is enough for that.
    environment = {"GOGC": "400", **os.environ}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        yield lambda: _answer(process, name)
    finally:
        process.kill()
        process.communicate()


def _answer(process: subprocess.Popen[str], name: str) -> StackState:
    called = f"stack {name!r}" if name else "the selected stack"
    try:
        exported, errors = process.communicate(timeout=_TIMEOUT_SECONDS)
    except subprocess.TimeoutExpired:
        raise PlatformError(f"cannot read {called}: `pulumi` took longer than {_TIMEOUT_SECONDS} s") from None
    if process.returncode != 0:
        reason = errors.strip().removeprefix("error: ")
        raise InputError([Problem("", f"cannot read {called}: {reason}", "a stack of this project", "see `pulumi stack ls`")])
    resources: dict[str, dict[str, Mapping[str, Any]]] = {}
    found: dict[str, Mapping[str, Any]] = {}
    for resource in (json.loads(exported).get("deployment") or {}).get("resources") or []:
        urn, outputs = resource["urn"], _opened(resource.get("outputs") or {})
        resources.setdefault(resource["type"].rsplit(":", 1)[-1], {})[urn.rsplit("::", 1)[-1]] = outputs
        found |= {} if resource.get("delete") else {urn: outputs}
        name = urn.split(":")[2]
    outputs = by_name(found)
    if not any(outputs.values()):
        raise InputError([Problem("", f"{called} has nothing deployed", "a stack after `pulumi up`", "run `pulumi up` (here `make up`)")])
    return StackState(name, outputs, resources)


def _opened(value: Any) -> Any:
    """A value of a state, in which secrets that can be read stand as themselves."""
    if isinstance(value, list):
        return [_opened(it) for it in value]
    if not isinstance(value, dict):
        return value
    if value.get(SIGNATURE_KEY) == SECRET_SIGNATURE and isinstance(value.get("plaintext"), str):
        return _opened(json.loads(value["plaintext"]))
    return {name: _opened(it) for name, it in value.items()}
