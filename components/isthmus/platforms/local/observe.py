"""Services on the `local` platform, and devices that run on this machine: processes under a supervisor."""

import os
import time
from collections import deque
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import requests

from isthmus import names
from isthmus.observing import fleets, sockets
from isthmus.observing.parts import Block, Outputs, Part, Source
from isthmus.observing.reach import STATUS_SECONDS, Client, Direct, NoWayError, Server, Way, gateway_state, server_state
from isthmus.observing.stack_state import StackState
from isthmus_agent.formats.answers import HEALTH_PATH

_POLL_SECONDS = 0.3
_BLOCK_BYTES = 1 << 16


def block(name: str, outputs: Outputs, state: StackState) -> Block:
    """Its processes, each asked by itself."""
    with ThreadPoolExecutor(max_workers=16) as pool:
        if outputs.get("devices"):
            parts = pool.map(lambda it: _device(it[0], it[1], outputs["model_name"]), outputs["devices"].items())
            return Block(f"edge · {name}", fleets.facts(outputs), tuple(parts))
        if "devices" in outputs:  # none of them runs here
            return fleets.block(name, state)
        gateway = pool.submit(_gateway, name, outputs)
        servers = pool.map(lambda it: _server(it[0], it[1], it[2], outputs), _servers(outputs, state))
        return Block(f"cloud · {name}", (("endpoint", outputs["endpoint"]),), (gateway.result(), *servers))


def way(name: str, outputs: Outputs, client: Client) -> Way:
    """How its gateway is asked."""
    return Direct(outputs["endpoint"], client.headers(), client.ca)


def servers(name: str, outputs: Outputs, state: StackState, client: Client) -> list[Server]:
    """Its replicas, each by its own socket."""
    return [Server(f"{program}-{index}", Direct(url)) for program, index, url in _servers(outputs, state)]


def sources(name: str, outputs: Outputs, state: StackState) -> list[Source]:
    """Files of the supervisor: `logs/PROGRAM-INDEX.log`."""
    devices = outputs.get("devices") or {}
    programs = _programs(outputs) or [names.program(component, device) for component in (name, names.edge_part(name)) for device in devices]
    known = _by_program(state)
    found = []
    for program in programs:
        folder = Path(str(known.get(program, {}).get("supervisor") or "")) / "logs"
        for file in sorted(folder.glob(f"{program}-[0-9]*.log")):
            found.append(Source(str(file), file.stem, partial(file_lines, file)))
    return found


def _programs(outputs: Outputs) -> list[str]:
    """The gateway's program, and the servers'."""
    return list((outputs.get("place") or {}).get("programs") or [])


def _gateway(name: str, outputs: Outputs) -> Part:
    program = next(iter(_programs(outputs)), names.program(name, names.GATEWAY))
    return Part("gateway", program, sockets.shown(outputs["endpoint"]), gateway_state(outputs["endpoint"]))


def _servers(outputs: Outputs, state: StackState) -> Iterator[tuple[str, int, str]]:
    """Program, index and base URL of each replica."""
    known = _by_program(state)
    for program in _programs(outputs)[1:]:
        for index, paths in enumerate(known.get(program, {}).get("socket_paths") or []):
            yield program, index, sockets.url_of(paths["rest"])


def _by_program(state: StackState) -> dict[str, Mapping[str, Any]]:
    """The outputs of the stack's `LocalProcesses`. A resource whose name is short has the program's name."""
    return {str(outputs.get("program") or name): outputs for name, outputs in state.resources.get("LocalProcesses", {}).items()}


def _server(program: str, index: int, url: str, outputs: Outputs) -> Part:
    version, state = _asked(url, outputs["model_name"])
    return Part(f"replica {index}", f"{program}-{index}", sockets.shown(url), state, outputs["digest"], version)


def _device(device: str, url: str, model: str) -> Part:
    version, state = _asked(url, model)
    digest = ""
    try:
        digest = str(requests.get(f"{url}{HEALTH_PATH}", timeout=STATUS_SECONDS).json().get("digest") or "")
    except (requests.RequestException, ValueError, AttributeError) as error:
        state = f"no answer ({type(error).__name__})" if state == "AVAILABLE" else state
    return Part("device", device, sockets.shown(url), state, digest, version)


def _asked(url: str, model: str) -> tuple[str, str]:
    try:
        return server_state(url, model)
    except NoWayError as error:
        return "", str(error)


def file_lines(file: Path, tail: int | None, follow: bool) -> Iterator[str]:
    """The last lines of a file, and with `follow` those that are written to it; goes on when the file is rotated."""
    stream = file.open("r", encoding="utf-8", errors="replace")
    try:
        yield from (line.rstrip("\n") for line in deque(stream, maxlen=tail))
        rest, is_last_look = "", False
        while follow:
            if text := stream.read(_BLOCK_BYTES):
                *lines, rest = (rest + text).split("\n")
                yield from lines
            elif is_last_look:
                stream.close()
                stream, is_last_look = file.open("r", encoding="utf-8", errors="replace"), False
            elif file.exists() and file.stat().st_ino != os.fstat(stream.fileno()).st_ino:
                is_last_look = True  # what was written before it was rotated away
            else:
                time.sleep(_POLL_SECONDS)
    finally:
        stream.close()
