"""The custom resources that Isthmus's own plugin serves, as a program sees them.

The other half of each is the handler of the same name in `isthmus/provider/`. Property names are the same on the wire.
Nothing here does anything: what a resource means is said in its docstring, once.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import pulumi
from pulumi import Input, Output, ResourceOptions

PACKAGE = "isthmus"


def token(name: str) -> str:
    """The type token of a custom resource, such as `isthmus:index:LocalProcesses`."""
    return f"{PACKAGE}:index:{name}"


class _Resource(pulumi.CustomResource):
    def __init__(
        self, name: str, inputs: Mapping[str, Any], outputs: Sequence[str], opts: ResourceOptions | None, secret: Sequence[str] = ()
    ) -> None:
        options = ResourceOptions.merge(opts, ResourceOptions(additional_secret_outputs=list(secret)))
        super().__init__(token(type(self).__name__), name, {**dict.fromkeys(outputs), **inputs}, options)


class LocalSupervisor(_Resource):
    """A supervisord of a stack's own, in `directory` (absolute). Deleting it ends every process under it and removes the directory.

    Outputs: `pid`.
    """

    directory: Output[str]
    pid: Output[int]

    def __init__(self, name: str, directory: Input[str], opts: ResourceOptions | None = None) -> None:
        super().__init__(name, {"directory": directory}, ["pid"], opts)


class LocalProcesses(_Resource):
    """`replicas` processes of one program under a `LocalSupervisor`.

    supervisor: directory of the `LocalSupervisor`.
    program: its name there: letters, digits, `-`, `_`; unique under the supervisor.
    command: argument list. In each argument, in `environment`, `files` and `live_files` these are replaced per replica:
        `${port.NAME}` (a port of `ports`), `${directory}` (the replica's own folder, made 0700), `${index}` (0, 1, …).
        `${python}` as the first word is the plugin's own interpreter. A first word without a `/` is looked for beside
        that interpreter, then on PATH.
    ports: port names and the port wanted on loopback; 0: any free one, kept over updates. A fixed port that another
        program holds is refused at preview. A fixed port needs replicas == 1.
    replicas: how many; default 1.
    environment: added to the processes' environment; may hold secrets.
    files: file name → content, written (0600) into each replica's folder. A change restarts the replica.
    live_files: the same, but replaced atomically (rename) while the process runs on; it watches them itself (Envoy's
        configuration). A change restarts nothing.
    ready: how to see that a replica is ready: `port` (a name of `ports`), `path` (HTTP GET; left out: a TCP connect is
        enough), `contains` (text that the answer must hold), `timeout_seconds` (default 60).
    leftovers: paths of files (absolute; replaced per replica as above) that the program leaves outside its folder, such
        as sockets; removed once a replica has ended. The replica's own folder is kept over updates, and goes with it.

    A secret in `command` is refused: argument lists are open to every user of the machine.

    Replicas are started, and restarted on an update, one after the other, each ready before the next is touched.
    Outputs: `endpoints`, a list with one mapping of port name → port number for each replica, and `pids`.
    """

    endpoints: Output[list[dict[str, int]]]
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
            "replicas": replicas,
            "environment": environment or {},
            "files": files or {},
            "live_files": live_files or {},
            "ready": ready or {},
            "leftovers": leftovers or [],
        }
        super().__init__(name, inputs, ["endpoints", "pids"], opts)


class ModelFolder(_Resource):
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


class StoreCredentials(_Resource):
    """A random S3 access key and secret key, made once and kept in the state as secrets. Outputs: `access_key`, `secret_key`."""

    access_key: Output[str]
    secret_key: Output[str]

    def __init__(self, name: str, opts: ResourceOptions | None = None) -> None:
        super().__init__(name, {}, ["access_key", "secret_key"], opts, secret=["access_key", "secret_key"])


class SigningKey(_Resource):
    """An ed25519 key pair, made once; the private key is a secret of the state. Outputs: `private_key`, `public_key` (PEM)."""

    private_key: Output[str]
    public_key: Output[str]

    def __init__(self, name: str, opts: ResourceOptions | None = None) -> None:
        super().__init__(name, {}, ["private_key", "public_key"], opts, secret=["private_key"])


class Bucket(_Resource):
    """An S3 bucket of a store that the stack owns. Deleting it deletes what is in it.

    store: `endpoint` (URL), `region`, `access_key`, `secret_key`.
    """

    bucket: Output[str]

    def __init__(self, name: str, *, store: Input[Mapping[str, Any]], bucket: Input[str], opts: ResourceOptions | None = None) -> None:
        super().__init__(name, {"store": store, "bucket": bucket}, [], opts)


class SignedBundle(_Resource):
    """A release's edge bundle (TFLite file, manifest, golden vectors) in a bucket, with a signature over the manifest.

    store: as for `Bucket`. prefix: key prefix, ends with `/`. private_key: PEM, secret.
    The content goes up before the envelope that names it. Read finds missing or changed objects; delete removes them.
    A store that cannot be reached, or that refuses the credentials, is an error at preview when `store` is known and
    `check_at_preview` is true.
    """

    digest: Output[str]

    def __init__(
        self,
        name: str,
        *,
        store: Input[Mapping[str, Any]],
        bucket: Input[str],
        prefix: Input[str],
        digest: Input[str],
        cache_directory: Input[str],
        private_key: Input[str],
        check_at_preview: Input[bool] = False,
        opts: ResourceOptions | None = None,
    ) -> None:
        inputs = {
            "store": store,
            "bucket": bucket,
            "prefix": prefix,
            "digest": digest,
            "cache_directory": cache_directory,
            "private_key": private_key,
            "check_at_preview": check_at_preview,
        }
        super().__init__(name, inputs, [], opts)


class PublishedRelease(_Resource):
    """A release's serving variant (SavedModel, golden vectors, record, manifest) in a bucket, for servers to fetch by digest.

    store, bucket: as for `SignedBundle`. prefix: key prefix, ends with `/`; objects lie under `{prefix}releases/{digest}/`.
    The manifest goes up last; what is there already with the right content is not uploaded again. Read finds missing or
    changed objects; delete removes them, the manifest first. `check_at_preview` as for `SignedBundle`.
    """

    digest: Output[str]

    def __init__(
        self,
        name: str,
        *,
        store: Input[Mapping[str, Any]],
        bucket: Input[str],
        prefix: Input[str],
        digest: Input[str],
        cache_directory: Input[str],
        check_at_preview: Input[bool] = False,
        opts: ResourceOptions | None = None,
    ) -> None:
        inputs = {
            "store": store,
            "bucket": bucket,
            "prefix": prefix,
            "digest": digest,
            "cache_directory": cache_directory,
            "check_at_preview": check_at_preview,
        }
        super().__init__(name, inputs, [], opts)


class Rollout(_Resource):
    """Devices of a fleet brought to a release: signs the fleet's target, then waits until every device confirms it.

    It fails with the reason of each device that refused, or stayed silent until `deadline_seconds` (default 120); what
    was published stays in the state, and the next update tries again with a new attempt number. Read compares what the
    devices report with the target: a device that lost it is shown as drift in `confirmed`.
    Outputs: `attempt` (int), `confirmed` (names of the devices that serve the digest).
    """

    attempt: Output[int]
    confirmed: Output[list[str]]

    def __init__(
        self,
        name: str,
        *,
        store: Input[Mapping[str, Any]],
        bucket: Input[str],
        prefix: Input[str],
        fleet: Input[str],
        devices: Input[Sequence[Input[str]]],
        digest: Input[str],
        private_key: Input[str],
        deadline_seconds: Input[int],
        opts: ResourceOptions | None = None,
    ) -> None:
        inputs = {
            "store": store,
            "bucket": bucket,
            "prefix": prefix,
            "fleet": fleet,
            "devices": devices,
            "digest": digest,
            "private_key": private_key,
            "deadline_seconds": deadline_seconds,
        }
        super().__init__(name, inputs, ["attempt", "confirmed"], opts)
