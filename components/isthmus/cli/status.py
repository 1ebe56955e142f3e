"""`isthmus status`: what a stack runs, asked of the running parts themselves."""

from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import requests
from rich.table import Table

from isthmus.cli.stack_state import StackState

_TIMEOUT_SECONDS = 3
_DIGITS_SHOWN = 12


@dataclass(frozen=True)
class Part:
    """One running part: a gateway, a replica or a device. state: `AVAILABLE`, or why not."""

    group: str
    name: str
    endpoint: str
    digest: str
    version: str
    state: str

    @property
    def healthy(self) -> bool:
        return self.state == "AVAILABLE"


def parts_of(state: StackState) -> list[Part]:
    """Every part of the stack with what it says of itself, asked side by side."""
    wanted = [*_services(state), *_fleets(state)]
    with ThreadPoolExecutor(max_workers=16) as pool:
        return list(pool.map(lambda args: _ask(*args), wanted))


def _services(state: StackState) -> Iterable[tuple[str, str, str, str, str]]:
    processes = state.resources.get("LocalProcesses", {})
    for name, service in state.services().items():
        yield f"cloud · {name}", "gateway", service["endpoint"], service["model_name"], service["digest"]
        for program in (f"{name}-cloud-server", f"{name}-server"):
            for index, ports in enumerate(processes.get(program, {}).get("endpoints") or []):
                url = f"http://127.0.0.1:{int(ports['rest'])}"
                yield f"cloud · {name}", f"replica {index}", url, service["model_name"], service["digest"]


def _fleets(state: StackState) -> Iterable[tuple[str, str, str, str, str]]:
    for name, fleet in state.fleets().items():
        for device, endpoint in fleet["devices"].items():
            yield f"edge · {name}", device, endpoint, fleet["model_name"], ""


def _ask(group: str, name: str, endpoint: str, model: str, digest: str) -> Part:
    version = state = ""
    try:
        reply = requests.get(f"{endpoint}/v1/models/{model}", timeout=_TIMEOUT_SECONDS).json()
        versions: list[Mapping[str, Any]] = reply.get("model_version_status") or []
        state = str(reply.get("error", "no version"))
        if versions:
            version, state = str(versions[0]["version"]), str(versions[0]["state"])
        if not digest:
            digest = str(requests.get(f"{endpoint}/healthz", timeout=_TIMEOUT_SECONDS).json().get("digest") or "")
    except (requests.RequestException, ValueError, KeyError, AttributeError) as error:
        state = state or f"no answer ({type(error).__name__})"
    return Part(group, name, endpoint, digest, version, state)


def table(parts: Iterable[Part]) -> Table:
    """One block for each service and fleet; fits a terminal of 80 columns."""
    found = Table("part", "endpoint", "release", "version", "health")
    last = ""
    for part in parts:
        if part.group != last:
            if last:
                found.add_section()
            found.add_row(f"[bold]{part.group}[/bold]")
            last = part.group
        colour = "green" if part.healthy else "red"
        release = part.digest.removeprefix("sha256:")[:_DIGITS_SHOWN]
        found.add_row(f"  {part.name}", part.endpoint, release, part.version, f"[{colour}]{part.state}[/{colour}]")
    return found
