"""DockerGate: nothing goes on until an Envoy on a host has taken up the servers it was told."""

import shlex
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from isthmus.errors import PlatformError, Problem
from isthmus.limits import HOST_DEADLINE_SECONDS, PORT
from isthmus.plugin.claims import Claims
from isthmus.plugin.diffs import Change, compare
from isthmus.plugin.handler import Context, Created, Found, HandlerBase, PartlyMadeError, StoppedWaitingError, Values
from isthmus.plugin.schema import Property, ResourceSpec
from isthmus.plugin.values import Properties
from isthmus.provider.docker.properties import HOST, host_problems, port_problems

LIVE: Final = "LIVE"
_STOP_SECONDS: Final = 10
_HEALTHY: Final = "::health_flags::healthy"


class DockerGateHandler(HandlerBase):
    """There is nothing of it but the moment when it passed."""

    spec = ResourceSpec(
        name="DockerGate",
        description="Passes once an Envoy on a host with a Docker engine serves with exactly these servers, all healthy.",
        inputs={
            "host": HOST,
            "image": Property("string", "the image with sh and curl that asks", compared=False),
            "container": Property("string", "the Envoy's container: a name or an id"),
            "admin_port": replace(Property.of(PORT, given=True), description="of Envoy's admin interface, on loopback of the host"),
            "endpoints": Property("object", "cluster → its servers as ip:port", items=Property("array", "ip:port")),
            "revision": Property("string", "of the configuration: another one is waited for again", required=False),
            "deadline_seconds": Property.of(HOST_DEADLINE_SECONDS),
        },
        outputs={"status": Property("string", f"{LIVE}, or what keeps the Envoy from answering: `up` starts it anew")},
    )

    def __init__(self) -> None:
        self._claims = Claims()

    def check(self, inputs: Values, old_inputs: Values, context: Context) -> Sequence[Problem]:
        # Two gateways of one host: their admin ports follow from the ports that clients use.
        return host_problems(inputs) or port_problems(self._claims, context.urn, inputs, {inputs["admin_port"]: "admin_port"})

    def diff(self, state: Values, old_inputs: Values, inputs: Values) -> Sequence[Change]:
        changes = compare(self.spec, old_inputs, inputs)
        if not changes and state.get("status", LIVE) != LIVE:
            changes.append(Change(("status",), "update", is_input=False))
        return changes

    def preview(self, inputs: Values, state: Values | None) -> Properties:
        return {"status": LIVE}

    def create(self, inputs: Values, context: Context) -> Created:
        id = f"{inputs['host']['name']}:{inputs['admin_port']}"
        self._wait(inputs, context, id)
        return Created(id, {"status": LIVE})

    def update(self, id: str, state: Values, inputs: Values, context: Context) -> Properties:
        from isthmus.provider.docker.client import connect

        if state.get("status", LIVE) != LIVE:
            with connect(inputs["host"]) as client:
                client.restart(inputs["container"], timeout=_STOP_SECONDS)
        self._wait(inputs, context, id)
        return {"status": LIVE}

    def _wait(self, inputs: Values, context: Context, id: str) -> None:
        from isthmus.provider.docker.client import connect
        from isthmus.provider.docker.jobs import Job, last_lines, run

        name, container = inputs["host"]["name"], inputs["container"]
        with connect(inputs["host"]) as client:

            def stopped() -> str:
                state = client.inspect_container(container)["State"]
                return "" if state["Running"] and not state["Restarting"] else f"the gateway ended (status {state['ExitCode']})"

            job = Job(inputs["image"], _script(inputs), network="host")
            try:
                run(
                    client,
                    job,
                    context,
                    timeout_seconds=inputs["deadline_seconds"],
                    message="waiting for the gateway to take up the servers",
                    objection=stopped,
                )
            except PlatformError as error:
                said = last_lines(client, container)
                raise PartlyMadeError([f"host {name}: {error}{f'; the gateway said: {said}' if said else ''}"], {}, id) from error

    def read(self, id: str, state: Values, inputs: Values, context: Context) -> Found | None:
        from isthmus.provider.docker.client import connect
        from isthmus.provider.docker.jobs import Job, LateError, run
        from isthmus.provider.docker.proof import inspect, patience_seconds

        with connect(inputs["host"]) as client:
            if inspect(client, inputs["container"]) is None:
                return None
            status = LIVE
            try:
                job = Job(inputs["image"], _ready_script(inputs), network="host")
                run(client, job, context, timeout_seconds=patience_seconds(inputs), message="asking the gateway")
            except LateError as error:
                status = str(error)
            except StoppedWaitingError:
                raise
            except PlatformError:  # that it cannot be asked is not its fault
                pass
        return Found(dict(inputs), {"status": status})

    def delete(self, id: str, state: Values, context: Context) -> None:
        return


def _ready_script(inputs: Values) -> str:
    """Waits without an end until the Envoy answers."""
    url = f"http://127.0.0.1:{inputs['admin_port']}/ready"
    return f'until [ "$(curl --silent --max-time 5 {url})" = {LIVE} ]; do sleep 0.2; done\n'


def _script(inputs: Values) -> str:
    """Waits without an end, and says on each turn what is missing. Servers of before must be gone: they may leave after this."""
    wanted = sorted(f"{cluster}::{server}{_HEALTHY}" for cluster, servers in inputs["endpoints"].items() for server in servers)
    clusters = "|".join(sorted(inputs["endpoints"]))
    admin = f"http://127.0.0.1:{inputs['admin_port']}"
    return f"""wanted={shlex.quote(chr(10).join(wanted))}
while :; do
  ready=$(curl --silent --max-time 5 {admin}/ready) || ready="no answer"
  found=$(curl --silent --max-time 5 {admin}/clusters | grep -E '^({clusters})::[^:]+(:[^:]+)*::health_flags::' | sort) || found=
  [ "$ready" != {LIVE} ] || [ "$found" != "$wanted" ] || exit 0
  echo "Envoy: $ready; servers: $(echo $found)"
  sleep 0.2
done
"""
