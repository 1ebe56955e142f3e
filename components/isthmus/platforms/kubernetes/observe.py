"""Services on the `kubernetes` platform: Pods, asked through the API server alone."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from isthmus.apiserver.connection import Connection, Object, connection, selected
from isthmus.apiserver.errors import ApiError, UnreachablePodError
from isthmus.apiserver.kubeconfig import Access
from isthmus.errors import PlatformError
from isthmus.names import COMPONENT_LABEL, GATEWAY, REST_PORT, SERVICE_LABEL, STABLE, TRAFFIC_ANNOTATION, traffic_name
from isthmus.observing.following import container_lines
from isthmus.observing.parts import AVAILABLE, Block, Outputs, Source, behind_gateway
from isthmus.observing.reach import Client, Direct, NoWayError, Reply, Server, Way, encoded
from isthmus.observing.stack_state import StackState
from isthmus.owner import OWNER_KEY
from isthmus.platforms.kubernetes import pods
from isthmus.provider.clusters.traffic import Traffic
from isthmus_agent.formats import digests

Fact = tuple[str, str]


@dataclass(frozen=True)
class Place:
    """Where a service is, as its output `place` says."""

    namespace: str
    service: str
    context: str = ""
    kubeconfig: str = ""
    tls: bool = False
    owner: str = ""

    @classmethod
    def of(cls, outputs: Outputs) -> "Place":
        place = outputs["place"]
        return cls(**{key: place[key] for key in cls.__dataclass_fields__ if key in place})

    def access(self) -> Access:
        """The kubeconfig that the stack names, where this machine has it; else what kubectl would use."""
        path = Path(self.kubeconfig).expanduser() if self.kubeconfig else None
        return Access(str(path) if path and path.is_file() else "", self.context)

    def items(self, api: Connection, group: str, plural: str, **labels: str) -> list[Object]:
        """The service's objects of a kind, by name. group: such as `api/v1`."""
        path = f"/{group}/namespaces/{quote(self.namespace)}/{plural}"
        found: list[Object] = api.send("GET", path, selected({SERVICE_LABEL: self.service, **labels}))["items"] or []
        return sorted(found, key=lambda item: str(item["metadata"]["name"]))


def deployed(place: Place, state: StackState) -> Connection:
    """The API server that the service is at.

    Raises PlatformError where it does not answer, or has no such service, or has one that another stack made: a kubeconfig whose
    current context is another cluster is an easy mistake.
    """
    api, where = connection(place.access()), f"{place.namespace}/{place.service}"
    try:
        found = api.send("GET", f"/api/v1/namespaces/{quote(place.namespace)}/services/{quote(place.service)}")
    except ApiError as error:
        if error.status != 404:
            raise
        if _has_servers(place, api):  # an update that ended before it made the Service
            return api
        fix = "point KUBECONFIG at the stack's cluster; if this is it: `pulumi refresh`, then `pulumi up`"
        raise PlatformError(f"there is no Service {where} in the cluster {api}. Fix: {fix}") from None
    mine = _uid(place, state)
    if mine and mine != found["metadata"]["uid"]:
        fix = "point KUBECONFIG at the stack's cluster; if this is it, and somebody made the Service anew: `pulumi refresh`"
        raise PlatformError(f"Service {where} in the cluster {api} is not the one that stack {state.name!r} made. Fix: {fix}")
    return api


def _has_servers(place: Place, api: Connection) -> bool:
    """Whether Deployments of the service are there that this stack made."""
    found = place.items(api, "apis/apps/v1", "deployments") if place.owner else []
    return any((it["metadata"].get("annotations") or {}).get(OWNER_KEY) == place.owner for it in found)


def _uid(place: Place, state: StackState) -> str:
    """Of the Service, by the stack's state; empty where it does not say."""
    for outputs in state.resources.get("Service", {}).values():
        metadata = outputs.get("metadata") or {}
        if isinstance(metadata, Mapping) and (metadata.get("namespace"), metadata.get("name")) == (place.namespace, place.service):
            return str(metadata.get("uid") or "")
    return ""


def block(name: str, outputs: Outputs, state: StackState) -> Block:
    """Pods, the split and the autoscalers. Raises PlatformError."""
    place = Place.of(outputs)
    api = deployed(place, state)
    rows = [pods.part(it) for it in place.items(api, "api/v1", "pods")]
    rows += [row for it in place.items(api, "apis/apps/v1", "deployments") if (row := pods.stuck(it))]
    rows.sort(key=lambda row: (row.kind != GATEWAY, not row.kind.startswith(STABLE), row.kind, row.name))
    facts = [
        ("endpoint", outputs["endpoint"]),
        ("cluster", f"{api}, namespace {place.namespace}"),
        *_if_allowed("traffic", lambda: _traffic(api, place)),
        *_if_allowed("autoscaler", lambda: _autoscalers(api, place, (outputs.get("plan") or {}).get("replicas"))),
    ]
    return Block(f"cloud · {name}", tuple(facts), tuple(rows))


def _if_allowed(label: str, read: Callable[[], list[Fact]]) -> Iterator[Fact]:
    """Facts that a role for looking at Pods need not allow."""
    try:
        yield from read()
    except ApiError as error:
        yield label, str(error)


def _traffic(api: Connection, place: Place) -> list[Fact]:
    name = traffic_name(place.service)
    try:
        found = api.send("GET", f"/api/v1/namespaces/{quote(place.namespace)}/configmaps/{quote(name)}")
        return traffic_facts(Traffic.from_json(found["metadata"]["annotations"][TRAFFIC_ANNOTATION]))
    except ApiError as error:
        if error.status != 404:
            raise
        return [("traffic", f"there is no ConfigMap {name}. Fix: `pulumi refresh`, then `pulumi up`")]
    except (KeyError, TypeError, ValueError):
        return [
            ("traffic", f"ConfigMap {name} has no readable annotation {TRAFFIC_ANNOTATION}. Fix: delete it, `pulumi refresh`, `pulumi up`")
        ]


def traffic_facts(traffic: Traffic) -> list[Fact]:
    """The split with its verdict, and the reasons of that."""
    shares = ", ".join(f"{track} {percent} %" for track, percent in traffic.percents.items())
    mirror = f", copies of {traffic.mirror_percent} % to canary" if traffic.mirror_percent else ""
    verdict = f"; {traffic.verdict.replace('_', ' ')}" if traffic.verdict else ""
    judged = f" {digests.shown(traffic.digest)}" if traffic.verdict and traffic.digest else ""
    return [("traffic", f"{shares}{mirror}{verdict}{judged}"), *(("why", reason) for reason in traffic.reasons)]


def _autoscalers(api: Connection, place: Place, planned: Any) -> list[Fact]:
    return [("autoscaler", pods.autoscaler(it, planned)) for it in place.items(api, "apis/autoscaling/v2", "horizontalpodautoscalers")]


def sources(name: str, outputs: Outputs, state: StackState) -> list[Source]:
    """Every container of every Pod, with the one before it where that was killed or failed."""
    place = Place.of(outputs)
    api = deployed(place, state)
    return [
        Source(f"{it.uid}/{it.container}{' (previous)' * it.previous}", it.name, partial(_lines, api, it))
        for pod in sorted(place.items(api, "api/v1", "pods"), key=lambda pod: _component(pod) != "gateway")
        for it in pods.containers(pod)
    ]


def _component(pod: Object) -> str:
    return str((pod["metadata"].get("labels") or {}).get(COMPONENT_LABEL, ""))


def _lines(api: Connection, of: pods.Container, tail: int | None, follow: bool) -> Iterator[str]:
    follow = follow and not of.previous
    pod_path = f"/api/v1/namespaces/{quote(of.namespace)}/pods/{quote(of.pod)}"

    def read(tail: int | None, since: str) -> Iterator[str]:
        wanted = {"follow": "true"} if follow else {"previous": "true"} if of.previous else {}
        wanted |= {"sinceTime": since} if since else {} if tail is None else {"tailLines": str(tail)}
        try:
            yield from api.lines(f"{pod_path}/log", {"container": of.container, "timestamps": "true", **wanted})
        except ApiError as error:
            if error.status == 400:  # it has not started yet, or cannot
                yield f" ({error.said})"
            elif error.status != 404:
                raise

    def goes_on() -> bool:
        """Whether the Pod is the same one, and this container has not done all it had to."""
        try:
            pod = api.send("GET", pod_path)
        except ApiError as error:
            if error.status != 404:
                raise
            return False
        return bool(pod["metadata"]["uid"] == of.uid) and not pods.is_done(pod, of.container)

    return container_lines(read, tail, goes_on if follow else None)


def way(name: str, outputs: Outputs, client: Client) -> Way:
    """By the endpoint, else through the API server. A name inside the cluster (`….svc.…`) is not even looked up: outside it may be
    anybody's, and a key goes with the request."""
    place = Place.of(outputs)
    through = ThroughCluster(place, client)
    if ".svc." in f"{urlsplit(outputs['endpoint']).hostname or ''}.":
        return through
    return Either(Direct(outputs["endpoint"], client.headers(), client.ca), through)


def servers(name: str, outputs: Outputs, state: StackState, client: Client) -> list[Server]:
    """The gateway: Pods come and go, and their network is the cluster's own."""
    return behind_gateway(outputs, way(name, outputs, client), "Pods are not asked one by one")


class ThroughCluster:
    """A gateway Pod, through the API server's proxy. With TLS the API server is who vouches for the Pod: it checks no certificate."""

    def __init__(self, place: Place, client: Client) -> None:
        self._place, self._headers = place, client.headers()
        self.note = "through the API server"

    def call(self, path: str, body: Any = None) -> Reply:
        place, sent = self._place, None if body is None else encoded(body)
        api = connection(place.access())
        gateways = place.items(api, "api/v1", "pods", **{COMPONENT_LABEL: "gateway"})
        problem = NoWayError(
            f"no gateway Pod of {place.namespace}/{place.service} is ready in the cluster {api}. Fix: see `isthmus status`"
        )
        for pod in gateways:
            if pods.part(pod).state == AVAILABLE:
                try:
                    name = pod["metadata"]["name"]
                    found = api.call_pod(place.namespace, name, REST_PORT, path, body=sent, headers=self._headers, tls=place.tls)
                    return Reply(found.status, found.headers, found.body)
                except UnreachablePodError as error:
                    problem = NoWayError(str(error))
        raise problem


class Either:
    """The first way, and where no connection can be made there, the second from then on."""

    def __init__(self, first: Way, second: Way) -> None:
        self._way, self._second = first, second

    @property
    def note(self) -> str:
        return self._way.note

    def call(self, path: str, body: Any = None) -> Reply:
        try:
            return self._way.call(path, body)
        except NoWayError as error:
            if self._way is self._second:
                raise
            try:
                reply = self._second.call(path, body)
            except PlatformError as second:
                raise NoWayError(f"{error}; nor {self._second.note}: {second}") from None
            self._way = self._second
            return reply
