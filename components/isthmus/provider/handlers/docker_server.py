"""DockerServer: a model server on a host with a Docker engine. A new one stands beside the old one until it is proved."""

import contextlib
import math
import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from isthmus import names
from isthmus.errors import InputError, PlatformError, Problem
from isthmus.limits import DRAIN_SECONDS, HOST_CPUS, HOST_DEADLINE_SECONDS, HOST_MEMORY_MIB
from isthmus.names import GRPC_PORT, REST_PORT
from isthmus.plugin.diffs import Change, compare
from isthmus.plugin.handler import Context, Created, Found, HandlerBase, PartlyMadeError, Values, not_importable
from isthmus.plugin.schema import Property, ResourceSpec
from isthmus.plugin.values import UNKNOWN, Properties
from isthmus.provider.docker.properties import HOST, host_problems
from isthmus.provider.handlers.releases import digest_problems, find_release

if TYPE_CHECKING:
    import docker


USER: Final = "65532:65532"  # what distroless images call nonroot; the model's files are readable for everybody
# As long as it has not proved itself a container has a name that ends so: what a killed plugin left is told by it.
_NEW: Final = ".new"
_STOP_SECONDS: Final = 10
RUNNING: Final = "running"  # as in proof


class DockerServerHandler(HandlerBase):
    spec = ResourceSpec(
        name="DockerServer",
        description="A container of TensorFlow Serving on a host with a Docker engine, proved with the release's golden vectors.",
        inputs={
            "host": HOST,
            "service": Property("string", "the service's name, for the container's name and labels", replaces=True),
            "image": Property("string", "the server's image: a name or an id", replaces=True),
            "probe_image": Property("string", "the image with sh and curl that asks the server", compared=False),
            "model_name": Property("string", "the model's name for clients", replaces=True),
            "directory": Property("string", "the folder of the host that holds the version's folder", replaces=True),
            "digest": Property("string", "the release's digest", replaces=True),
            "cache_directory": Property("string", "where this machine keeps releases", compared=False),
            "bind_ip": Property("string", "the host's address that the ports are published on", replaces=True),
            "ports": Property(
                "array",
                "pairs of ports (rest, grpc) to publish on; the first free pair is taken, so an update needs two",
                replaces=True,
                items=Property("object", "a pair", fields={"rest": Property("integer", "REST"), "grpc": Property("integer", "gRPC")}),
            ),
            "memory_mib": replace(Property.of(HOST_MEMORY_MIB), replaces=True),
            "cpus": replace(Property.of(HOST_CPUS), replaces=True),
            "deadline_seconds": Property.of(HOST_DEADLINE_SECONDS),
            "drain_seconds": Property.of(DRAIN_SECONDS),
        },
        outputs={
            "container": Property("string", "the container's name"),
            "rest_port": Property("integer", "the port of the host that REST is published on"),
            "grpc_port": Property("integer", "the port of the host that gRPC is published on"),
            "status": Property("string", f"{RUNNING}; or what Docker calls its state, or how it answers, where `up` has to mend it"),
        },
    )

    def check(self, inputs: Values, old_inputs: Values, context: Context) -> Sequence[Problem]:
        return [*host_problems(inputs), *digest_problems(inputs), *_port_problems(inputs)]

    def diff(self, state: Values, old_inputs: Values, inputs: Values) -> Sequence[Change]:
        changes = compare(self.spec, old_inputs, inputs)
        if not changes and state.get("status") != RUNNING:
            changes.append(Change(("status",), "update", is_input=False))
        return changes

    def preview(self, inputs: Values, state: Values | None) -> Properties:
        known = {name: UNKNOWN if state is None else state.get(name, UNKNOWN) for name in ("container", "rest_port", "grpc_port")}
        return {**known, "status": RUNNING}

    def create(self, inputs: Values, context: Context) -> Created:
        from isthmus.provider.docker.client import connect
        from isthmus.provider.docker.jobs import OWNER_LABEL, owner_of, remove
        from isthmus.provider.docker.proof import prove

        release, name = find_release(inputs), f"{inputs['service']}-{inputs['digest'][7:15]}-{secrets.token_hex(3)}"
        with connect(inputs["host"]) as client:
            mine = {"label": f"{OWNER_LABEL}={owner_of(context.urn)}", "name": rf"\{_NEW}$"}
            for left in client.containers(all=True, filters=mine):
                remove(client, left["Id"])
            id, pair = _start(client, inputs, name + _NEW, context)
            try:
                prove(client, id, inputs, release, context)
                client.update_container(id, restart_policy={"Name": "unless-stopped"})
                client.rename(id, name)
            except BaseException:
                # The old one, if there is one, goes on serving.
                remove(client, id)
                raise
        return Created(id, {"container": name, "rest_port": pair["rest"], "grpc_port": pair["grpc"], "status": RUNNING})

    def read(self, id: str, state: Values, inputs: Values, context: Context) -> Found | None:
        from isthmus.provider.docker.client import connect
        from isthmus.provider.docker.proof import ailment, inspect

        if not inputs:
            raise not_importable("DockerServer", "its host is not part of its id")
        with connect(inputs["host"]) as client:
            found = inspect(client, id)
            if found is None:
                return None
            status = found["State"]["Status"]
            if status == RUNNING:
                # A machine that does not have the release cannot tell.
                with contextlib.suppress(InputError):
                    status = ailment(client, id, inputs, find_release(inputs), context) or RUNNING
        return Found(dict(inputs), {**state, "status": status})

    def update(self, id: str, state: Values, inputs: Values, context: Context) -> Properties:
        """Whatever can change without a new container is about how it is looked after; a stopped one is started."""
        from isthmus.provider.docker.client import connect
        from isthmus.provider.docker.proof import inspect, prove

        outputs = {name: state[name] for name in ("container", "rest_port", "grpc_port")}
        with connect(inputs["host"]) as client:
            found = inspect(client, id)
            if found is None:
                raise PlatformError(f"host {inputs['host']['name']}: container {state['container']} is gone. Fix: refresh, then `up`")
            if not found["State"]["Status"] == state.get("status") == RUNNING:
                try:
                    _wake(client, id, found["State"])
                    prove(client, id, inputs, find_release(inputs), context)
                except PlatformError as error:
                    raise PartlyMadeError([str(error)], {**outputs, "status": found["State"]["Status"]}) from error
        return {**outputs, "status": RUNNING}

    def delete(self, id: str, state: Values, context: Context) -> None:
        from isthmus.provider.docker.client import connect
        from isthmus.provider.docker.jobs import remove
        from isthmus.provider.docker.proof import inspect

        with connect(state["host"]) as client:
            found = inspect(client, id)
            if found is None:
                return
            if found["State"]["Status"] == RUNNING:
                _drain(client, id, state, context)
                client.stop(id, timeout=_STOP_SECONDS)
            remove(client, id)


def _wake(client: "docker.APIClient", id: str, state: Mapping[str, Any]) -> None:
    """Makes a container run that does not, or that runs and does not answer."""
    if state["Paused"]:
        client.unpause(id)
    elif state["Status"] == RUNNING:
        client.restart(id, timeout=_STOP_SECONDS)
    else:
        client.start(id)


def _start(client: "docker.APIClient", inputs: Values, name: str, context: Context) -> tuple[str, dict[str, int]]:
    """The new container's id, and the pair of ports it got. Raises PlatformError where no pair is free."""
    import docker.errors

    from isthmus.provider.docker.jobs import remove

    reasons = []
    taken = _published(client.containers(all=False))
    for pair in inputs["ports"]:
        holders = sorted({taken[port] for port in pair.values() if port in taken})
        if holders:
            reasons.append(f"{pair['rest']} and {pair['grpc']} are held by container {', '.join(holders)}")
            continue
        id = _make(client, inputs, name, pair, context)
        try:
            client.start(id)
        except docker.errors.APIError as error:
            remove(client, id)
            if not any(words in str(error.explanation) for words in ("already allocated", "already in use")):
                raise
            reasons.append(f"{pair['rest']} and {pair['grpc']}: {error.explanation}")
            continue
        except BaseException:
            remove(client, id)
            raise
        return id, pair
    raise PlatformError(f"host {inputs['host']['name']}: no pair of ports is free for the server: {'; '.join(reasons)}")


def _published(containers: Iterable[Mapping[str, Any]]) -> dict[int, str]:
    """Which container holds which port of the host. The address does not matter: two servers at one port are too easily mixed up."""
    return {
        int(port["PublicPort"]): str(container["Names"][0]).lstrip("/")
        for container in containers
        for port in container.get("Ports") or ()
        if port.get("PublicPort")
    }


def _make(client: "docker.APIClient", inputs: Values, name: str, pair: Mapping[str, int], context: Context) -> str:
    import docker.errors
    import docker.types

    from isthmus.names import MONITORING_FILE
    from isthmus.provider.docker.jobs import LOG, OWNER_LABEL, owner_of

    inside, memory = f"{names.MODELS_FOLDER}/{inputs['model_name']}", inputs.get("memory_mib")
    limits = {"mem_limit": memory << 20, "memswap_limit": memory << 20} if memory else {}
    if inputs.get("cpus"):
        limits["nano_cpus"] = round(inputs["cpus"] * 1e9)
    try:
        made = client.create_container(
            image=inputs["image"],
            name=name,
            command=[f"--monitoring_config_file={inside}/{MONITORING_FILE}"],
            user=USER,
            environment={names.MODEL_NAME_VARIABLE: inputs["model_name"]},
            ports=[REST_PORT, GRPC_PORT],
            stop_signal="SIGTERM",
            labels={
                OWNER_LABEL: owner_of(context.urn),
                names.SERVICE_LABEL: inputs["service"],
                names.CONTAINER_COMPONENT_LABEL: names.SERVER,
                names.CONTAINER_DIGEST_LABEL: inputs["digest"],
            },
            host_config=client.create_host_config(
                mounts=[docker.types.Mount(inside, inputs["directory"], type="bind", read_only=True)],
                port_bindings={REST_PORT: (inputs["bind_ip"], pair["rest"]), GRPC_PORT: (inputs["bind_ip"], pair["grpc"])},
                read_only=True,
                tmpfs={"/tmp": "rw,noexec,nosuid,size=64m"},  # noqa: S108 - the container's
                cap_drop=["ALL"],
                security_opt=["no-new-privileges"],
                log_config=docker.types.LogConfig(**LOG),
                **limits,
            ),
        )
    except docker.errors.ImageNotFound as error:
        raise PlatformError(f"host {inputs['host']['name']}: there is no image {inputs['image']}") from error
    id: str = made["Id"]
    return id


def _drain(client: "docker.APIClient", id: str, state: Values, context: Context) -> None:
    """Waits until nobody is connected to the server any more. What cannot be found out does not keep it from leaving."""
    from isthmus.provider.docker.jobs import Job, run

    ports = "|".join(f"{port:04X}" for port in (REST_PORT, GRPC_PORT))
    script = f"""end=$(($(date +%s) + {math.ceil(state["drain_seconds"])}))
while cat /proc/net/tcp /proc/net/tcp6 2>/dev/null | grep -Eq ':({ports}) [0-9A-F]+:[0-9A-F]+ 01 '; do
  [ "$(date +%s)" -lt "$end" ] || break
  sleep 0.2
done
"""
    try:
        job = Job(state["probe_image"], script, network=f"container:{id}")
        run(client, job, context, timeout_seconds=state["drain_seconds"] + _STOP_SECONDS, message="letting requests end")
    except PlatformError as error:
        context.progress(str(error))


def _port_problems(inputs: Values) -> list[Problem]:
    pairs = inputs["ports"]
    if not isinstance(pairs, list):
        return []
    if not pairs:
        return [Problem("ports", "is empty", "at least one pair")]
    ports = [port for pair in pairs if isinstance(pair, dict) for port in pair.values() if port is not UNKNOWN]
    wrong = sorted({port for port in ports if not 1 <= port <= 65535} | {port for port in ports if ports.count(port) > 1})
    return (
        [Problem("ports", f"names {', '.join(map(str, wrong))} twice or out of range", "different ports from 1 to 65535")] if wrong else []
    )
