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


class DockerModelFolder(_Resource):
    """A release's serving variant on a host with a Docker engine, fetched there and verified: `root`/`folder`/VERSION/saved_model.pb ….

    host: `name` (for messages), `address` (unix://… or ssh://…), `ssh_options`. image: has sh, curl and sha256sum.
    store: as the host reaches it, with credentials that may read; bucket and prefix as of the `PublishedRelease`.
    A fetch that fails is taken up where it ended. Read verifies every file; what is damaged is mended. Delete removes the folder.
    Outputs: `version` (int), `directory` (on the host).
    """

    directory: Output[str]
    version: Output[int]

    def __init__(
        self,
        name: str,
        *,
        host: Input[Mapping[str, Any]],
        image: Input[str],
        root: Input[str],
        folder: Input[str],
        digest: Input[str],
        cache_directory: Input[str],
        store: Input[Mapping[str, Any]],
        bucket: Input[str],
        prefix: Input[str],
        deadline_seconds: Input[float],
        opts: ResourceOptions | None = None,
    ) -> None:
        inputs = {
            "host": host,
            "image": image,
            "root": root,
            "folder": folder,
            "digest": digest,
            "cache_directory": cache_directory,
            "store": store,
            "bucket": bucket,
            "prefix": prefix,
            "deadline_seconds": deadline_seconds,
        }
        super().__init__(name, inputs, ["version", "directory", "content", "owner", "plan"], opts)


class DockerServer(_Resource):
    """A container of TensorFlow Serving on a host with a Docker engine.

    directory: of the host, as from `DockerModelFolder`. ports: pairs (`rest`, `grpc`); the first free one is published, on bind_ip.
    A new one is started beside the old one, which goes only when everything else of the update has succeeded: it is ready when it
    has the version and answers the release's golden vectors within their tolerance. Then `drain_seconds` are given to
    connections of the old one. Read finds a stopped container, which `up` starts again.
    Outputs: `container` (its name), `rest_port`, `grpc_port`, `status`.
    """

    container: Output[str]
    rest_port: Output[int]
    grpc_port: Output[int]

    def __init__(
        self,
        name: str,
        *,
        host: Input[Mapping[str, Any]],
        service: Input[str],
        image: Input[str],
        probe_image: Input[str],
        model_name: Input[str],
        directory: Input[str],
        digest: Input[str],
        cache_directory: Input[str],
        bind_ip: Input[str],
        ports: Input[Sequence[Mapping[str, int]]],
        memory_mib: Input[int | None] = None,
        cpus: Input[float | None] = None,
        deadline_seconds: Input[float] = 300,
        drain_seconds: Input[float] = 30,
        opts: ResourceOptions | None = None,
    ) -> None:
        inputs = {
            "host": host,
            "service": service,
            "image": image,
            "probe_image": probe_image,
            "model_name": model_name,
            "directory": directory,
            "digest": digest,
            "cache_directory": cache_directory,
            "bind_ip": bind_ip,
            "ports": ports,
            "memory_mib": memory_mib,
            "cpus": cpus,
            "deadline_seconds": deadline_seconds,
            "drain_seconds": drain_seconds,
        }
        super().__init__(name, inputs, ["container", "rest_port", "grpc_port", "status"], opts)


class DockerFiles(_Resource):
    """Text files in `root`/`folder` of a host with a Docker engine, readable for `group`; a changed one is moved into place."""

    def __init__(
        self,
        name: str,
        *,
        host: Input[Mapping[str, Any]],
        image: Input[str],
        root: Input[str],
        folder: Input[str],
        group: Input[int],
        files: Input[Mapping[str, Input[str]]],
        opts: ResourceOptions | None = None,
    ) -> None:
        inputs = {"host": host, "image": image, "root": root, "folder": folder, "group": group, "files": files}
        super().__init__(name, inputs, ["found"], opts)


class DockerGate(_Resource):
    """Passes once an Envoy on a host with a Docker engine serves with exactly these servers (cluster → ip:port), all healthy.

    container: the Envoy's. admin_port: on loopback of the host. revision: of its configuration; another one is waited for again.
    """

    def __init__(
        self,
        name: str,
        *,
        host: Input[Mapping[str, Any]],
        image: Input[str],
        container: Input[str],
        admin_port: Input[int],
        endpoints: Input[Mapping[str, Sequence[str]]],
        revision: Input[str],
        deadline_seconds: Input[float],
        opts: ResourceOptions | None = None,
    ) -> None:
        inputs = {
            "host": host,
            "image": image,
            "container": container,
            "admin_port": admin_port,
            "endpoints": endpoints,
            "revision": revision,
            "deadline_seconds": deadline_seconds,
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


class GatewayTraffic(_Resource):
    """Which share of a service's requests goes to which release: the ConfigMap SERVICE-traffic that its gateways watch.

    kubeconfig: content or path, empty: what kubectl would use; context: of it, empty: its current one.
    tracks: `stable` and, with a canary, `canary`: each with `version` and `digest`. options: `timeout_seconds`,
        `try_timeout_seconds` of the routes.
    A new one sends everything to `stable`. From then on the shares are the `CanaryGate`'s: an update here keeps them, and keeps
    a canary that has requests until it has none. It waits for nothing. Read finds a ConfigMap that was changed by hand.
    Outputs: `config_map` (its name), `intact` (false: changed by hand).
    """

    config_map: Output[str]
    intact: Output[bool]

    def __init__(
        self,
        name: str,
        *,
        namespace: Input[str],
        service: Input[str],
        model_name: Input[str],
        tracks: Input[Mapping[str, Any]],
        options: Input[Mapping[str, Any]] | None = None,
        kubeconfig: Input[str] = "",
        context: Input[str] = "",
        opts: ResourceOptions | None = None,
    ) -> None:
        inputs = {
            "kubeconfig": kubeconfig,
            "context": context,
            "namespace": namespace,
            "service": service,
            "model_name": model_name,
            "tracks": tracks,
            "options": options or {},
        }
        super().__init__(name, inputs, ["config_map", "intact"], opts, secret=["kubeconfig"])


class CanaryGate(_Resource):
    """A canary that gets `canary_percent` of the requests until they show whether it may have all of them.

    Place it behind (`depends_on`) the servers of both tracks, the gateway and its `GatewayTraffic`.
    gate: `min_requests`, `max_error_percent`, `max_p95_ms`, `max_p95_ratio`, `max_drift_percent`, `interval_seconds`,
        `deadline_seconds`, and `answers`: `classes` or `values`, how answers to probes are compared.
    probes: bodies of predict requests, asked of both releases before any client's request is.
    api_key, gateway_tls: how a probe gets through the gateway where the API server may not reach the servers.
    auto_promote: false leaves a canary that passed at its share.
    It ends with the verdict `promoted`, or fails, with all the traffic back at the stable release first. The same canary is not
    judged twice; another one while it is promoted is refused. canary_percent 0 takes it back at once; so does deleting it.
    Outputs: `verdict`, `percent` (that the canary gets now), `reasons`, `requests` (track → number that the gate saw).
    """

    verdict: Output[str]
    percent: Output[int]
    reasons: Output[list[str]]
    requests: Output[dict[str, int]]

    def __init__(
        self,
        name: str,
        *,
        namespace: Input[str],
        service: Input[str],
        canary_digest: Input[str],
        canary_percent: Input[int],
        mirror_percent: Input[int] = 0,
        gate: Input[Mapping[str, Any]] | None = None,
        probes: Input[Sequence[Input[str]]] | None = None,
        api_key: Input[str] = "",
        gateway_tls: Input[bool] = False,
        auto_promote: Input[bool] = True,
        kubeconfig: Input[str] = "",
        context: Input[str] = "",
        opts: ResourceOptions | None = None,
    ) -> None:
        inputs = {
            "kubeconfig": kubeconfig,
            "context": context,
            "namespace": namespace,
            "service": service,
            "canary_digest": canary_digest,
            "canary_percent": canary_percent,
            "mirror_percent": mirror_percent,
            "gate": gate or {},
            "probes": probes or [],
            "api_key": api_key,
            "gateway_tls": gateway_tls,
            "auto_promote": auto_promote,
        }
        super().__init__(name, inputs, ["verdict", "percent", "reasons", "requests"], opts, secret=["kubeconfig", "api_key"])
