"""The platform `docker`'s own: what pulumi-docker has no resource for."""

from collections.abc import Mapping, Sequence
from typing import Any

from pulumi import Input, Output, ResourceOptions

from isthmus.limits import DRAIN_SECONDS, HOST_DEADLINE_SECONDS
from isthmus.resources.base import Resource, this_stack


class DockerModelFolder(Resource):
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
            "owner": this_stack(),
            "deadline_seconds": deadline_seconds,
        }
        super().__init__(name, inputs, ["version", "directory", "content", "mark", "plan"], opts)


class DockerServer(Resource):
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
        deadline_seconds: Input[float] = HOST_DEADLINE_SECONDS.default or 0,
        drain_seconds: Input[float] = DRAIN_SECONDS.default or 0,
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


class DockerFiles(Resource):
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
        inputs = {"host": host, "image": image, "root": root, "folder": folder, "group": group, "files": files, "owner": this_stack()}
        super().__init__(name, inputs, ["found"], opts)


class DockerGate(Resource):
    """Passes once an Envoy on a host with a Docker engine serves with exactly these servers (cluster → ip:port), all healthy.

    container: the Envoy's. admin_port: on loopback of the host. revision: of its configuration; another one is waited for again.
    Read finds an Envoy that does not answer, which `up` starts anew. Outputs: `status`.
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
        super().__init__(name, inputs, ["status"], opts)
