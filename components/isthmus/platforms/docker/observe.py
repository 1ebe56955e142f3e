"""Services on the `docker` platform: containers on hosts, found by their label through each host's engine."""

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from isthmus import names
from isthmus.errors import PlatformError
from isthmus.observing.following import container_lines
from isthmus.observing.parts import RUNNING, Block, Outputs, Part, Source, behind_gateway
from isthmus.observing.reach import Client, Direct, NoWayError, Server, Way, gateway_state, server_state
from isthmus.observing.stack_state import StackState

if TYPE_CHECKING:
    import docker

Host = Mapping[str, Any]
_SERVER_PORT = f"{names.REST_PORT}/tcp"
"""Of REST, inside the container."""
# A server that has not proved itself yet has a name that ends so.
_NEW = ".new"
_GONE = "gone. Fix: `pulumi refresh`, then `pulumi up`"


def block(name: str, outputs: Outputs, state: StackState) -> Block:
    """The containers of every host; a host that cannot be reached is a row that says so."""
    place = outputs["place"]
    with ThreadPoolExecutor(max_workers=16) as pool:
        rows = list(pool.map(lambda host: _on_host(host, outputs), place["hosts"]))
    parts = sorted((part for found in rows for part in found), key=lambda part: (part.kind != names.GATEWAY, part.on, part.name))
    facts = (("endpoint", outputs["endpoint"]), ("gateway", f"on {place['gateway']['host']}"))
    return Block(f"cloud · {name}", facts, tuple(parts))


def way(name: str, outputs: Outputs, client: Client) -> Way:
    """How its gateway is asked."""
    return Direct(outputs["endpoint"], client.headers(), client.ca)


def servers(name: str, outputs: Outputs, state: StackState, client: Client) -> list[Server]:
    """One a host, by the port that it is published on; the gateway where that of some host cannot be connected to from here."""
    place = outputs["place"]
    with ThreadPoolExecutor(max_workers=16) as pool:
        urls = list(pool.map(lambda host: _server_url(host, service_of(place), outputs["model_name"]), place["hosts"]))
    if not all(urls):
        closed = ", ".join(host["name"] for host, url in zip(place["hosts"], urls, strict=True) if not url)
        return behind_gateway(outputs, way(name, outputs, client), f"servers cannot be asked one by one ({closed})")
    return [
        Server(f"{host['name']}/{host['container']}", Direct(url), float(host.get("speed", 1.0)))
        for host, url in zip(place["hosts"], urls, strict=True)
    ]


def _server_url(host: Host, service: str, model: str) -> str:
    """Of the server that the host is to run; empty where it is not there, or not for this machine."""
    from isthmus.provider.docker.client import connect

    try:
        with connect(host) as client:
            found = [it for it in _containers(client, service) if _name(it) == host["container"]]
            url = _url(client.inspect_container(found[0]["Id"]), host) if found else ""
        if url:
            server_state(url, model)
    except PlatformError:
        return ""
    return url


def sources(name: str, outputs: Outputs, state: StackState) -> list[Source]:
    """The containers of every host. A host that cannot be reached has a log that fails and says so."""
    place = outputs["place"]
    hosts = sorted(place["hosts"], key=lambda host: host["name"] != place["gateway"]["host"])
    with ThreadPoolExecutor(max_workers=16) as pool:
        return [source for found in pool.map(lambda host: _sources(host, service_of(place)), hosts) for source in found]


def service_of(place: Mapping[str, Any]) -> str:
    """What the containers' label says: for a hybrid it is another name than the stack's outputs have."""
    return str(place.get("service") or str(place["gateway"]["container"]).removesuffix("-gateway"))


def _on_host(host: Host, outputs: Outputs) -> list[Part]:
    from isthmus.provider.docker.client import connect

    place = outputs["place"]
    holds_gateway = place["gateway"]["host"] == host["name"]
    wanted = {host["container"]: names.STABLE, **({place["gateway"]["container"]: names.GATEWAY} if holds_gateway else {})}
    try:
        with connect(host) as client:
            found = {_name(it): client.inspect_container(it["Id"]) for it in _containers(client, service_of(place))}
    except PlatformError as error:
        return [Part(kind, name, host["name"], str(error)) for name, kind in wanted.items()]
    rows = [part(name, it, host, outputs) for name, it in found.items()]
    return rows + [Part(kind, name, host["name"], _GONE) for name, kind in wanted.items() if name not in found]


def part(name: str, container: Mapping[str, Any], host: Host, outputs: Outputs) -> Part:
    """A container as a row. A server is asked at the port that it is published on, where that can be reached from here."""
    labels = container["Config"].get("Labels") or {}
    state, version = _state(container), ""
    is_gateway = labels.get(names.CONTAINER_COMPONENT_LABEL) == names.GATEWAY
    if state == RUNNING and is_gateway:
        state = gateway_state(outputs["endpoint"])
    elif state == RUNNING and name.endswith(_NEW):
        state = "starting"
    elif state == RUNNING and (url := _url(container, host)):
        # Its port is for the gateway: where that is all that reaches it, that it runs is all that can be seen from here.
        with suppress(NoWayError):
            version, state = server_state(url, outputs["model_name"])
    return Part(
        kind=names.GATEWAY if is_gateway else names.STABLE,
        name=name,
        on=host["name"],
        state=state,
        release=str(labels.get(names.CONTAINER_DIGEST_LABEL, "")),
        version=version,
        restarts=int(container.get("RestartCount") or 0),
    )


def _state(container: Mapping[str, Any]) -> str:
    state = container["State"]
    if state["Status"] == RUNNING:
        return RUNNING
    why = "it needed more memory than its limit" if state.get("OOMKilled") else f"status {state.get('ExitCode')}"
    return f"{state['Status']} ({state.get('Error') or why})"


def _url(container: Mapping[str, Any], host: Host) -> str:
    """Where the server's REST port is published; empty: nowhere. host: with `ip` where that differs from the address it is bound to."""
    for published in (container["NetworkSettings"].get("Ports") or {}).get(_SERVER_PORT) or ():
        address = str(host.get("ip") or published["HostIp"])
        return f"http://{f'[{address}]' if ':' in address else address}:{published['HostPort']}"
    return ""


def _containers(client: "docker.APIClient", service: str) -> list[Mapping[str, Any]]:
    found: list[Mapping[str, Any]] = client.containers(all=True, filters={"label": f"{names.SERVICE_LABEL}={service}"})
    return sorted(found, key=lambda it: (it["Labels"].get(names.CONTAINER_COMPONENT_LABEL) != names.GATEWAY, _name(it)))


def _name(container: Mapping[str, Any]) -> str:
    return str(container["Names"][0]).lstrip("/")


def _sources(host: Host, service: str) -> list[Source]:
    from isthmus.provider.docker.client import connect

    try:
        with connect(host) as client:
            found = _containers(client, service)
    except PlatformError as error:
        return [Source(f"{host['name']}/", host["name"], partial(_fail, str(error)))]
    return [Source(f"{host['name']}/{it['Id']}", f"{host['name']}/{_name(it)}", partial(_lines, host, it["Id"])) for it in found]


def _fail(message: str, tail: int | None, follow: bool) -> Iterator[str]:
    raise PlatformError(message)


def _lines(host: Host, id: str, tail: int | None, follow: bool) -> Iterator[str]:
    from isthmus.provider.docker.client import connect

    def read(tail: int | None, since: str) -> Iterator[str]:
        seconds = {"since": int(datetime.fromisoformat(since).timestamp())} if since else {}
        rest = b""
        with connect(host) as client:
            if follow and not _exists(client, id):
                return
            for block in client.logs(id, stream=True, follow=follow, timestamps=True, tail="all" if tail is None else tail, **seconds):
                *whole, rest = (rest + block).split(b"\n")
                yield from (line.decode(errors="replace") for line in whole)
        if rest:
            yield rest.decode(errors="replace")

    def goes_on() -> bool:
        with connect(host) as client:
            return _exists(client, id)

    return container_lines(read, tail, goes_on if follow else None)


def _exists(client: "docker.APIClient", id: str) -> bool:
    import docker.errors

    try:
        client.inspect_container(id)
    except docker.errors.NotFound:
        return False
    return True
