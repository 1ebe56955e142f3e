"""LocalProcesses: the replicas of one program under a LocalSupervisor."""

import os
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any, Final

from isthmus.errors import IsthmusError, PlatformError, Problem
from isthmus.limits import ANY_PORT, PROGRAM_REPLICAS, READY_SECONDS
from isthmus.names import MOST_PROGRAM_CHARACTERS
from isthmus.plugin.claims import Claims
from isthmus.plugin.diffs import Change, compare
from isthmus.plugin.handler import Context, Created, Found, HandlerBase, PartlyMadeError, Values, describe
from isthmus.plugin.replies import stack_of
from isthmus.plugin.schema import Property, ResourceSpec
from isthmus.plugin.values import UNKNOWN, Properties, is_known
from isthmus.provider.local import orphans, ports
from isthmus.provider.local.layout import Layout
from isthmus.provider.local.program import Program
from isthmus.provider.local.replicas import PYTHON, known_endpoints, replica_name, unknown_names
from isthmus.provider.local.supervisord import Supervisord, find_command

_PROGRAM_NAME: Final = re.compile(rf"[A-Za-z0-9_-]{{1,{MOST_PROGRAM_CHARACTERS}}}")
_SOCKET_NAME: Final = re.compile(r"[a-z0-9_-]{1,32}")


class LocalProcessesHandler(HandlerBase):
    spec = ResourceSpec(
        name="LocalProcesses",
        description="Replicas of one program under a LocalSupervisor, started one after the other, each ready before the next.",
        inputs={
            "supervisor": Property("string", "the folder of the LocalSupervisor", replaces=True, spelling=os.path.normpath),
            "program": Property("string", "the program's name, unique under the supervisor", replaces=True),
            "command": Property("array", "the argument list", items=Property("string", "one argument")),
            "ports": Property(
                "object",
                "port names, and the port wanted on loopback; 0: any free one, kept over updates",
                default={},
                items=Property.of(ANY_PORT),
            ),
            "sockets": Property(
                "array",
                "names of Unix sockets that only this user can connect to; the program is told their paths",
                default=[],
                items=Property("string", "a name"),
            ),
            "replicas": Property.of(PROGRAM_REPLICAS),
            "environment": Property(
                "object", "added to the processes' environment; may hold secrets", default={}, items=Property("string", "a value")
            ),
            "files": Property(
                "object",
                "file name to content, written into each replica's folder; a change restarts it",
                default={},
                items=Property("string", "a file's content"),
            ),
            "live_files": Property(
                "object",
                "as files, but replaced while the process runs on: it watches them itself",
                default={},
                items=Property("string", "a file's content"),
            ),
            "ready": Property(
                "object",
                "how to see that a replica is ready: port or socket (its name), path (HTTP GET), contains, golden, timeout_seconds",
                default={},
                fields={
                    "port": Property("string", "the name of a port", required=False),
                    "socket": Property("string", "the name of a socket", required=False),
                    "path": Property("string", "path of an HTTP GET", required=False),
                    "contains": Property("string", "text that the answer must hold", required=False),
                    "golden": Property("string", "folder of a ModelFolder: the model at `path` answers as its release", required=False),
                    "timeout_seconds": replace(Property.of(READY_SECONDS), required=False, default=None),
                },
            ),
            "leftovers": Property(
                "array", "files elsewhere that the program leaves behind", default=[], items=Property("string", "an absolute path")
            ),
        },
        outputs={
            "endpoints": Property(
                "array",
                "for each replica a mapping of port name to port number",
                items=Property("object", "the ports of one replica", items=Property("integer", "a port")),
            ),
            "socket_paths": Property(
                "array",
                "for each replica a mapping of socket name to path",
                items=Property("object", "the sockets of one replica", items=Property("string", "an absolute path")),
            ),
            "pids": Property("array", "the process ids", items=Property("integer", "a process id")),
            "ailments": Property(
                "array", "what is wrong with replicas that run and do not work; an update starts them anew", items=Property("string", "one")
            ),
        },
    )

    def __init__(self) -> None:
        self._claims = Claims()
        self._before: dict[str, Values] = {}

    def check(self, inputs: Values, old_inputs: Values, context: Context) -> Sequence[Problem]:
        found = [*_check_program(inputs), *_check_command(inputs), *_check_files(inputs), *_check_ready(inputs), *_check_sockets(inputs)]
        if "command" in context.secret_properties:
            fix = "give it in environment or files"
            found.append(Problem("command", "holds a secret, and an argument list is open to every user", "no secret", fix))
        # A replacement is checked a second time, as something new: what it replaces is known from the first.
        before = self._before[context.urn] = old_inputs or self._before.get(context.urn, {})
        held = list(_check_ports(inputs, before))
        return [*found, *held, *(() if held else self._claimed(inputs, context))]

    def _claimed(self, inputs: Values, context: Context) -> Iterator[Problem]:
        """Ports that another resource of this update asks for: nobody holds them yet."""
        wanted = inputs["ports"] if isinstance(inputs["ports"], Mapping) else {}
        fixed = {port: name for name, port in wanted.items() if port is not UNKNOWN and port}
        for port, other in self._claims.taken(context.urn, fixed).items():
            yield Problem(
                f"ports.{fixed[port]}", f"port {port} is asked for by {other} as well", "a port of its own", "choose another, or 0"
            )

    def diff(self, state: Values, old_inputs: Values, inputs: Values) -> Sequence[Change]:
        changes = compare(self.spec, old_inputs, inputs)
        if not changes and (state.get("ailments") or self._ails(inputs)):
            changes.append(Change(("ailments",), "update", is_input=False))
        return changes

    def _ails(self, inputs: Values) -> bool:
        """Whether an update would find something to mend, also where nobody has refreshed the state."""
        if not is_known([inputs["supervisor"], inputs["program"]]):
            return False
        program = _program(inputs["supervisor"], inputs["program"])
        saved = program.saved()
        return saved is not None and len(program.working(Context(""), waits=False)[0]) < len(saved.replicas)

    def deletes_before_replace(self, state: Values, inputs: Values) -> bool:
        wanted = inputs.get("ports")
        return isinstance(wanted, Mapping) and any(port is not UNKNOWN and port for port in wanted.values())

    def preview(self, inputs: Values, state: Values | None) -> Properties:
        ports_by_index: list[Mapping[str, int]] = []
        if is_known([inputs["supervisor"], inputs["program"]]):
            # Not from the state: after a drift that lacks some replicas, and their ports are kept for when they come back.
            saved = _program(inputs["supervisor"], inputs["program"]).saved()
            ports_by_index = [replica.ports for _, replica in sorted(saved.replicas.items())] if saved else []
        same = state is not None and len(state.get("pids", ())) == inputs["replicas"] and not _restarts(state, inputs)
        return {
            "endpoints": known_endpoints(inputs, ports_by_index),
            "socket_paths": _known_sockets(inputs),
            "pids": state["pids"] if state and same else UNKNOWN,
            "ailments": [],
        }

    def create(self, inputs: Values, context: Context) -> Created:
        id = f"{inputs['supervisor']}:{inputs['program']}"
        return Created(id, self._reconcile(inputs, context, id))

    def update(self, id: str, state: Values, inputs: Values, context: Context) -> Properties:
        return self._reconcile(inputs, context, id)

    def _reconcile(self, inputs: Values, context: Context, id: str) -> Properties:
        program = _program(inputs["supervisor"], inputs["program"])
        try:
            program.reconcile(inputs, context.urn, context)
        except (IsthmusError, OSError) as error:
            saved = program.saved()
            if saved is None or saved.owner != context.urn:
                raise
            running = program.running()
            left = f"; {len(running)} of {inputs['replicas']} replicas run" if inputs["replicas"] > 1 else ""
            raise PartlyMadeError([f"{describe(error)}{left}"], _outputs(program), id) from error
        return _outputs(program)

    def read(self, id: str, state: Values, inputs: Values, context: Context) -> Found | None:
        supervisor, _, name = id.rpartition(":")
        if not supervisor:
            raise PlatformError(f"{id!r} is not the id of local processes; expected FOLDER:PROGRAM")
        program = _program(supervisor, name)
        if not program.running():
            return None
        if not inputs and (owner := _other_stack(program, context)):
            raise PlatformError(f"{name} is run by another stack, {owner}, and cannot be imported into this one")
        working, ailments = program.working(context)
        for ailment in ailments:
            context.progress(ailment)
        saved = program.saved()
        secrets: frozenset[tuple[str]] = frozenset()
        if not inputs and saved is not None:  # an import: what was asked for is beside the processes, but not what of it was secret
            inputs, secrets = saved.inputs, frozenset((name,) for name in ("environment", "files", "live_files"))
        return Found({**inputs, "replicas": len(working)}, {**_outputs(program), "ailments": ailments}, secrets)

    def mark(self, id: str, inputs: Values, context: Context) -> None:
        supervisor, _, name = id.rpartition(":")
        _program(supervisor, name).mark(context.making)

    def marked(self, id: str, state: Values, context: Context) -> str:
        supervisor, _, name = id.rpartition(":")
        saved = _program(supervisor, name).saved()
        return saved.making if saved else ""

    def delete(self, id: str, state: Values, context: Context) -> None:
        supervisor, _, name = id.rpartition(":")
        _program(supervisor, name).remove(context.urn, context)
        self._claims.drop(context.urn)


def _restarts(state: Values, inputs: Values) -> bool:
    """Whether an update starts running replicas anew."""
    return any(change.path[0] not in {"live_files", "ready", "leftovers"} for change in compare(LocalProcessesHandler.spec, state, inputs))


def _program(supervisor: str, name: str) -> Program:
    return Program(Supervisord(Layout(Path(supervisor))), name)


def _other_stack(program: Program, context: Context) -> str:
    saved = program.saved()
    owner = stack_of(saved.owner) if saved else ""
    return "" if owner == stack_of(context.urn) else owner


def _outputs(program: Program) -> Properties:
    running = program.running()
    return {
        "endpoints": [dict(replica.ports) for replica in running],
        "socket_paths": [dict(replica.sockets) for replica in running],
        "pids": program.pids(running),
        "ailments": [],
    }


def _known_sockets(inputs: Values) -> Any:
    """The `socket_paths` that an update will lead to, where they can be known before."""
    names, program, replicas = inputs["sockets"], inputs["program"], inputs["replicas"]
    if not is_known([names, program, replicas, inputs["supervisor"]]):
        return UNKNOWN
    layout = Layout(Path(inputs["supervisor"]))
    if names and layout.runtime is None:
        return UNKNOWN
    return [{name: str(layout.replica_socket(replica_name(program, index), name)) for name in names} for index in range(replicas)]


def _check_program(inputs: Values) -> Iterator[Problem]:
    name, supervisor = inputs["program"], inputs["supervisor"]
    if name is not UNKNOWN and not _PROGRAM_NAME.fullmatch(name):
        yield Problem("program", f"is {name!r}", "1 to 64 letters, digits, - and _")
    if supervisor is not UNKNOWN and not os.path.isabs(supervisor):
        yield Problem("supervisor", f"is {supervisor!r}", "the absolute path of a LocalSupervisor's folder")


def _check_command(inputs: Values) -> Iterator[Problem]:
    command = inputs["command"]
    if command is UNKNOWN:
        return
    first = command[0] if command else ""
    if first == "":
        yield Problem("command", "is empty", "a program and its arguments")
    elif isinstance(first, str) and first != PYTHON:
        if PYTHON in first:
            yield Problem("command[0]", f"is {first!r}", f"{PYTHON} as the whole word")
        elif "${" not in first and (shutil.which(first) if "/" in first else find_command(first)) is None:
            yield Problem("command[0]", f"there is no program {first!r} here", "a program that is installed")
    wanted, sockets = inputs["ports"], inputs["sockets"]
    if isinstance(wanted, Mapping) and isinstance(sockets, list):
        files = [inputs[name] for name in ("environment", "files", "live_files")]
        texts = [*command, *(text for mapping in files if isinstance(mapping, Mapping) for text in mapping.values())]
        for name in unknown_names(texts, wanted, sockets):
            kind = name.partition(".")[0]
            known = sorted(wanted if kind == "port" else sockets)
            yield Problem("command", f"uses ${{{name}}}, which is not in {kind}s", f"one of {', '.join(known) or 'none'}")


def _check_files(inputs: Values) -> Iterator[Problem]:
    seen: set[str] = set()
    for index, path in enumerate(inputs["leftovers"] if isinstance(inputs["leftovers"], list) else ()):
        if isinstance(path, str) and not path.startswith(("/", "${directory}/")):
            yield Problem(f"leftovers[{index}]", f"is {path!r}", "an absolute path")
    for kind in ("files", "live_files"):
        for name in inputs[kind] if isinstance(inputs[kind], Mapping) else ():
            file = PurePosixPath(name)
            if not name or file.is_absolute() or ".." in file.parts or str(file) != name:
                yield Problem(f'{kind}["{name}"]', "is not a file name within the replica's folder", "a relative path without ..")
            elif name in seen:
                yield Problem(f'{kind}["{name}"]', "is in files as well", "a name in one of them")
            seen.add(name)


def _check_ready(inputs: Values) -> Iterator[Problem]:
    ready, wanted = inputs["ready"], inputs["ports"]
    if not isinstance(ready, Mapping):
        return
    port, socket, path = ready.get("port"), ready.get("socket"), ready.get("path")
    sockets = inputs["sockets"]
    if port is None and socket is None and (path or ready.get("contains")):
        yield Problem("ready.port", "is missing", "the name of the port or socket to ask")
    elif port is not None and socket is not None:
        yield Problem("ready.socket", "stands beside ready.port", "one of them")
    elif isinstance(socket, str) and isinstance(sockets, list) and socket not in sockets:
        yield Problem("ready.socket", f"is {socket!r}", f"a name of sockets: {', '.join(sockets) or 'there are none'}")
    elif isinstance(port, str) and isinstance(wanted, dict) and port not in wanted:
        yield Problem("ready.port", f"is {port!r}", f"a name of ports: {', '.join(sorted(wanted)) or 'there are none'}")
    if isinstance(path, str) and not path.startswith("/"):
        yield Problem("ready.path", f"is {path!r}", "a path that starts with /")
    if ready.get("contains") and not path:
        yield Problem("ready.contains", "needs a path to ask for", "path as well")


def _check_sockets(inputs: Values) -> Iterator[Problem]:
    sockets = inputs["sockets"]
    for index, name in enumerate(sockets if isinstance(sockets, list) else ()):
        if name is UNKNOWN:
            continue
        if not _SOCKET_NAME.fullmatch(name):
            yield Problem(f"sockets[{index}]", f"is {name!r}", "1 to 32 lower case letters, digits, - and _")
        elif name in sockets[:index]:
            yield Problem(f"sockets[{index}]", f"is {name!r}, as another one is", "different names")


def _check_ports(inputs: Values, old_inputs: Values) -> Iterator[Problem]:
    wanted, replicas = inputs["ports"], inputs["replicas"]
    if not isinstance(wanted, Mapping):
        return
    fixed: dict[int, str] = {}
    for name, port in wanted.items():
        path = f"ports.{name}"
        if port is UNKNOWN or port == 0:
            continue
        if replicas is not UNKNOWN and replicas > 1:
            yield Problem(path, f"is {port} for {replicas} replicas", "0 (any free port), or one replica")
        elif port in fixed:
            yield Problem(path, f"is {port}, as {fixed[port]} is", "different ports")
        else:
            yield from _check_holder(path, port, inputs, old_inputs)
        fixed[port] = name


def _check_holder(path: str, port: int, inputs: Values, old_inputs: Values) -> Iterator[Problem]:
    try:
        if ports.is_free(port):
            return
    except OSError as error:
        yield Problem(path, f"port {port} cannot be used: {error.strerror}", "a port that this user may listen on")
        return
    holder = ports.holder(port)
    if not any(_is_own(holder, some) for some in (inputs, old_inputs)):
        fix = "stop that program, or choose another port or 0"
        if orphans.MARK in holder.environment:
            fix = "choose another port or 0; where that is this resource under a name of before, give it that name as an alias"
        yield Problem(path, f"port {port} is held by {holder.description}", "a free port", fix)


def _is_own(holder: ports.Holder, inputs: Mapping[str, Any]) -> bool:
    """Whether it is a replica of this very resource; a fixed port is the first replica's."""
    supervisor, program = inputs.get("supervisor"), inputs.get("program")
    if not is_known([supervisor, program]) or supervisor is None:
        return False
    marks = (holder.environment.get(orphans.MARK), holder.environment.get(orphans.REPLICA_MARK))
    return marks == (os.path.normpath(supervisor), replica_name(str(program), 0))
