"""The processes of the platform `local`."""

from collections.abc import Mapping, Sequence
from typing import Any

from pulumi import Input, Output, ResourceOptions

from isthmus.resources.base import Resource


class LocalSupervisor(Resource):
    """A supervisord of a stack's own, in `directory` (absolute). Deleting it ends every process under it and removes the directory.

    Outputs: `pid`.
    """

    directory: Output[str]
    pid: Output[int]

    def __init__(self, name: str, directory: Input[str], opts: ResourceOptions | None = None) -> None:
        super().__init__(name, {"directory": directory}, ["pid"], opts)


class LocalProcesses(Resource):
    """`replicas` processes of one program under a `LocalSupervisor`.

    supervisor: directory of the `LocalSupervisor`.
    program: its name there: letters, digits, `-`, `_`; unique under the supervisor.
    command: argument list. In each argument, in `environment`, `files` and `live_files` these are replaced per replica:
        `${port.NAME}` (a port of `ports`), `${socket.NAME}` (the path of one of `sockets`), `${directory}` (the replica's own
        folder, made 0700), `${index}` (0, 1, …). `${python}` as the first word is the plugin's own interpreter. A first word
        without a `/` is looked for beside that interpreter, then on PATH.
    ports: port names and the port wanted on loopback; 0: any free one, kept over updates. A fixed port that another
        program holds, or another resource of the update asks for, is refused at preview. A fixed port needs replicas == 1.
    sockets: names of Unix sockets that the program makes at the paths that it is told; only this user can connect to them.
    replicas: how many; default 1.
    environment: added to the processes' environment; may hold secrets.
    files: file name → content, written (0600) into each replica's folder. A change restarts the replica.
    live_files: the same, but replaced atomically (rename) while the process runs on; it watches them itself (Envoy's
        configuration). A change restarts nothing.
    ready: how to see that a replica is ready: `port` or `socket` (a name of `ports`, of `sockets`), `path` (HTTP GET;
        left out: a connection is enough), `contains` (text that the answer must hold), `golden` (folder of a `ModelFolder`: the
        model at `path` has to answer as its release does), `timeout_seconds` (default 60).
    leftovers: paths of files (absolute; replaced per replica as above) that the program leaves outside its folder, such
        as sockets; removed once a replica has ended. The replica's own folder is kept over updates, and goes with it.

    A secret in `command` is refused: argument lists are open to every user of the machine.

    Read and diff look at what runs: a replica that is stopped, hangs, answers wrong or shares its port is told in `ailments`, and
    started anew by an update.

    Replicas are started, and restarted on an update, one after the other, each ready before the next is touched.
    Outputs: `endpoints`, a list with one mapping of port name → port number for each replica; `socket_paths`, the same of socket name
    → path; `pids`; and `ailments`.
    """

    endpoints: Output[list[dict[str, int]]]
    socket_paths: Output[list[dict[str, str]]]
    pids: Output[list[int]]
    replicas: Output[int]

    def __init__(
        self,
        name: str,
        *,
        supervisor: Input[str],
        program: Input[str],
        command: Input[Sequence[Input[str]]],
        ports: Input[Mapping[str, Input[int]]],
        sockets: Input[Sequence[Input[str]]] | None = None,
        replicas: Input[int] = 1,
        environment: Input[Mapping[str, Input[str]]] | None = None,
        files: Input[Mapping[str, Input[str]]] | None = None,
        live_files: Input[Mapping[str, Input[str]]] | None = None,
        ready: Input[Mapping[str, Any]] | None = None,
        leftovers: Input[Sequence[Input[str]]] | None = None,
        opts: ResourceOptions | None = None,
    ) -> None:
        inputs = {
            "supervisor": supervisor,
            "program": program,
            "command": command,
            "ports": ports,
            "sockets": sockets or [],
            "replicas": replicas,
            "environment": environment or {},
            "files": files or {},
            "live_files": live_files or {},
            "ready": ready or {},
            "leftovers": leftovers or [],
        }
        super().__init__(name, inputs, ["endpoints", "socket_paths", "pids", "ailments"], opts)


class ModelFolder(Resource):
    """The `serving` variant of a release, verified and laid out for a model server: `directory`/VERSION/saved_model.pb ….

    digest: of the release. cache_directory: where this machine keeps releases (not part of the diff).
    directory: absolute; changing it or the digest replaces the folder (new one first). Read finds missing or changed files.
    Outputs: `version` (int).
    """

    directory: Output[str]
    digest: Output[str]
    version: Output[int]

    def __init__(
        self, name: str, *, digest: Input[str], cache_directory: Input[str], directory: Input[str], opts: ResourceOptions | None = None
    ) -> None:
        super().__init__(name, {"digest": digest, "cache_directory": cache_directory, "directory": directory}, ["version"], opts)


class ServedVersions(Resource):
    """A release beside those before it, in the folder from which running servers load: they keep the versions before until a
    `RetiredVersions` takes them away. An update waits until each server that runs has the release and answers as it does; where one
    does not, the release is taken out again, and the versions before answer as they did. A release with the version of one that is
    there takes its place: servers look at another folder then, and start anew. One with a lower version than those that are there has
    them taken out once it serves.

    directory: absolute; nobody else's. supervisor, program, model_name: the servers, as their `LocalProcesses` has them.
    cache_directory: where this machine keeps releases.
    Outputs: `base` (the folder with the versions), `about` (with the release's manifest and golden vectors), `version`.
    """

    directory: Output[str]
    digest: Output[str]
    base: Output[str]
    about: Output[str]
    version: Output[int]

    def __init__(
        self,
        name: str,
        *,
        digest: Input[str],
        cache_directory: Input[str],
        directory: Input[str],
        supervisor: Input[str],
        program: Input[str],
        model_name: Input[str],
        opts: ResourceOptions | None = None,
    ) -> None:
        inputs = {
            "digest": digest,
            "cache_directory": cache_directory,
            "directory": directory,
            "supervisor": supervisor,
            "program": program,
            "model_name": model_name,
        }
        super().__init__(name, inputs, ["base", "about", "version"], opts)


class RetiredVersions(Resource):
    """What is left of a `ServedVersions` once nobody asks for the versions before its release: it alone.

    passed: whether that is so; while it is not, they stay. The others are those of the `ServedVersions`.
    Outputs: `versions` (that are served).
    """

    versions: Output[list[int]]

    def __init__(
        self,
        name: str,
        *,
        digest: Input[str],
        directory: Input[str],
        supervisor: Input[str],
        program: Input[str],
        model_name: Input[str],
        passed: Input[bool],
        opts: ResourceOptions | None = None,
    ) -> None:
        inputs = {
            "digest": digest,
            "directory": directory,
            "supervisor": supervisor,
            "program": program,
            "model_name": model_name,
            "passed": passed,
        }
        super().__init__(name, inputs, ["versions"], opts)
