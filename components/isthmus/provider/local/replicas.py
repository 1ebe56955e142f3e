"""From what a resource asks for to what one replica is. Pure."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from isthmus.plugin.values import UNKNOWN

_VARIABLE = re.compile(r"\$\{(directory|index|(?:port|socket)\.[^}]*)\}")
# As the first word of a command: the plugin's own interpreter, which can import isthmus.
PYTHON = "${python}"


@dataclass(frozen=True)
class Replica:
    """One replica, with nothing left to fill in.

    name: under the supervisor. directory: its own folder. ports, sockets: by name, numbers and paths.
    files, live_files: path in that folder → content.
    leftovers: files elsewhere that are removed once it has ended.
    environment: what the resource asks for; what every process gets comes on top when it is launched.
    """

    name: str
    directory: str
    command: tuple[str, ...]
    environment: Mapping[str, str]
    ports: Mapping[str, int]
    files: Mapping[str, str]
    live_files: Mapping[str, str]
    leftovers: tuple[str, ...] = ()
    sockets: Mapping[str, str] = field(default_factory=dict)

    @property
    def remains(self) -> tuple[str, ...]:
        """Files outside its folder that are removed once it has ended."""
        return (*self.leftovers, *self.sockets.values())

    def launch(self, environment: Mapping[str, str]) -> str:
        """The launch file's content (see launch.py). environment: what every process gets; the replica's own comes first."""
        return json.dumps({"command": self.command, "environment": {**environment, **self.environment}}, sort_keys=True)

    def needs_restart(self, running: "Replica") -> bool:
        """Whether a process that was started as `running` has to be started anew to be this one."""
        return _started_with(self) != _started_with(running)


def _started_with(replica: Replica) -> dict[str, Any]:
    return {name: value for name, value in asdict(replica).items() if name not in {"live_files", "leftovers"}}


def replica_from(saved: Mapping[str, Any]) -> Replica:
    """The inverse of `dataclasses.asdict`, from JSON."""
    return Replica(**{**saved, "command": tuple(saved["command"]), "leftovers": tuple(saved["leftovers"])})


@dataclass(frozen=True)
class Place:
    """Where one replica is. directory: its own folder. ports: name → number. sockets: name → path."""

    directory: Path
    ports: Mapping[str, int]
    sockets: Mapping[str, str]


def render(inputs: Mapping[str, Any], index: int, where: Place, python: str) -> Replica:
    """The replica with this index.

    inputs: of the resource, fully known. where: its own. python: what `${python}` stands for.
    """
    values = {"directory": str(where.directory), "index": str(index)}
    values |= {f"port.{name}": str(port) for name, port in where.ports.items()}
    values |= {f"socket.{name}": path for name, path in where.sockets.items()}

    def fill(text: str) -> str:
        return _VARIABLE.sub(lambda match: values.get(match[1], match[0]), text)

    command = [fill(word) for word in inputs["command"]]
    if command[0] == PYTHON:
        command[0] = python
    return Replica(
        name=replica_name(inputs["program"], index),
        directory=str(where.directory),
        command=tuple(command),
        environment={name: fill(value) for name, value in inputs["environment"].items()},
        ports=dict(where.ports),
        files={name: fill(content) for name, content in inputs["files"].items()},
        live_files={name: fill(content) for name, content in inputs["live_files"].items()},
        leftovers=tuple(fill(path) for path in inputs["leftovers"]),
        sockets=dict(where.sockets),
    )


def replica_name(program: str, index: int) -> str:
    """The name under the supervisor. No two programs have a replica in common: the last `-` parts program and index."""
    return f"{program}-{index}"


def unknown_names(texts: Sequence[Any], ports: Iterable[str], sockets: Iterable[str]) -> list[str]:
    """Ports and sockets that the texts use and that do not exist, such as `port.http`."""
    used = {match[1] for text in texts if isinstance(text, str) for match in _VARIABLE.finditer(text) if "." in match[1]}
    return sorted(used - {f"port.{name}" for name in ports} - {f"socket.{name}" for name in sockets})


def known_endpoints(inputs: Mapping[str, Any], existing: Sequence[Mapping[str, int]]) -> Any:
    """The `endpoints` that an update will lead to, as far as they can be known before.

    existing: the ports of the replicas that were made before, by index; a free port that was chosen once is kept.
    """
    ports, replicas = inputs["ports"], inputs["replicas"]
    if ports is UNKNOWN or replicas is UNKNOWN:
        return UNKNOWN
    before = [*existing[:replicas], *[{}] * (replicas - len(existing))]
    return [{name: port or kept.get(name, UNKNOWN) for name, port in ports.items()} for kept in before]
