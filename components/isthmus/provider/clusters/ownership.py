"""Whose the objects of a cluster are that a service would have, and what in a namespace is somebody else's.

An object is a service's own where its annotation names the stack and its label names the service: two services of one stack do not
share objects either. What has no owner is as foreign as what has another one: nobody knows who counts on it.
"""

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote

from isthmus.apiserver.connection import Object
from isthmus.apiserver.errors import ApiError
from isthmus.errors import Problem
from isthmus.names import SERVICE_LABEL
from isthmus.owner import OWNER_KEY, UNMARKED, mark
from isthmus.provider.clusters.client import Cluster

_THREADS: Final = 8
_MOST_NAMED: Final = 3
# What a cluster itself puts into every namespace, or derives from what is there.
_EVERYWHERE: Final = frozenset({("ServiceAccount", "default"), ("ConfigMap", "kube-root-ca.crt")})
_DERIVED: Final = frozenset({"Event", "Endpoints", "EndpointSlice", "Lease"})
_TOKEN_ANNOTATION: Final = "kubernetes.io/service-account.name"  # noqa: S105 - a name


@dataclass(frozen=True)
class Ref:
    """An object by its kind and name."""

    api_version: str
    kind: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"

    def path(self, namespace: str) -> str:
        """Of its URL. Raises nothing: kinds are those that services are made of, whose plurals are regular."""
        root = f"/apis/{self.api_version}" if "/" in self.api_version else f"/api/{self.api_version}"
        below = "" if self.kind == "Namespace" else f"/namespaces/{quote(namespace)}"
        kind = self.kind.lower()
        plural = f"{kind[:-1]}ies" if kind.endswith("y") else f"{kind}s"
        return f"{root}{below}/{plural}/{quote(self.name)}"


@dataclass(frozen=True)
class Claim:
    """What a service of a stack wants to have for itself.

    owners: the stack, and its former name where it has just been renamed. take_over_from: whose objects may become the stack's, on
    purpose; `unmarked`: those without an owner. makes_namespace: whether the namespace is the service's own.
    """

    namespace: str
    service: str
    owners: frozenset[str]
    objects: tuple[Ref, ...]
    makes_namespace: bool = False
    take_over_from: str = ""

    def is_own(self, ref: Ref, metadata: Object) -> bool:
        """Whether it carries the stack and the service. Of a namespace the stack is enough."""
        return owner_of_object(metadata) in self.owners and (ref.kind == "Namespace" or _service(metadata) == self.service)

    def may_take(self, ref: Ref, metadata: Object) -> bool:
        """Whether the program says that it shall become the stack's."""
        owner = owner_of_object(metadata)
        return bool(self.take_over_from) and owner not in self.owners and (owner or UNMARKED) == self.take_over_from


def owner_of_object(metadata: Object) -> str:
    """The owner that an object carries; empty: none."""
    return str((metadata.get("annotations") or {}).get(OWNER_KEY, ""))


def _service(metadata: Object) -> str:
    return str((metadata.get("labels") or {}).get(SERVICE_LABEL, ""))


def look(cluster: Cluster, claim: Claim) -> dict[Ref, Object]:
    """What is there of the claim's objects, the namespace among them: their metadata. Raises PlatformError."""
    place = Ref("v1", "Namespace", claim.namespace)
    found = cluster.metadata(place.path(""))
    if found is None:
        return {}
    with ThreadPoolExecutor(_THREADS) as threads:
        metadata = threads.map(lambda ref: cluster.metadata(ref.path(claim.namespace)), claim.objects)
        return {place: found, **{ref: it for ref, it in zip(claim.objects, metadata, strict=True) if it is not None}}


def problems(claim: Claim, there: Mapping[Ref, Object]) -> list[Problem]:
    """Why the claim cannot be had, one problem for each owner that stands in its way. Pure."""
    if not there and not claim.makes_namespace:
        fix = "make it first (`kubectl create namespace`), or set `kubernetes.create_namespace: true`, or leave `kubernetes.namespace` out"
        return [Problem("namespace", f"there is no namespace {claim.namespace!r}", "one that exists, and is used as it is", fix)]
    wanted = {ref: it for ref, it in there.items() if ref.kind != "Namespace" or claim.makes_namespace}
    foreign = {ref: it for ref, it in wanted.items() if not claim.is_own(ref, it) and not claim.may_take(ref, it)}
    by_owner: defaultdict[tuple[str, str], list[Ref]] = defaultdict(list)
    for ref, metadata in foreign.items():
        by_owner[owner_of_object(metadata), _service(metadata) if owner_of_object(metadata) in claim.owners else ""].append(ref)
    return [_problem(claim, owner, service, refs) for (owner, service), refs in by_owner.items()]


def _problem(claim: Claim, owner: str, service: str, refs: Sequence[Ref]) -> Problem:
    some = ", ".join(str(ref) for ref in refs[:_MOST_NAMED])
    more = f" and {len(refs) - _MOST_NAMED} more" if len(refs) > _MOST_NAMED else ""
    where = f" in namespace {claim.namespace}" if refs[0].kind != "Namespace" else ""
    verb = "belongs" if len(refs) == 1 else "belong"
    if owner in claim.owners:
        what = f"{some}{more}{where} {verb} to the service {service or '(none)'} of this stack"
        return Problem("service", what, "names of its own for each service", "give one of the two services another name, or its pool")
    whose = f"{verb} to {owner}" if owner else f"{'carries' if len(refs) == 1 else 'carry'} no owner"
    fixes = ["give the service another name, or another `kubernetes.namespace`"]
    if any(ref.kind == "Namespace" for ref in refs):
        fixes = [f"set `kubernetes.namespace: {claim.namespace}` to use the namespace as it is, or name another one"]
    fixes.append(f"where what is there shall become this stack's, set `kubernetes.take_over_from: {owner or UNMARKED}` for one update")
    path = "namespace" if refs[0].kind == "Namespace" else "service"
    return Problem(path, f"{some}{more}{where} {whose}", f"nothing there but this stack's own ({min(claim.owners)})", "; or, ".join(fixes))


def take_over(cluster: Cluster, claim: Claim, there: Mapping[Ref, Object], owner: str) -> None:
    """Marks as the owner's what carries its former name, and what the program says that it shall have."""
    for ref, metadata in there.items():
        if ref.kind == "Namespace" and not claim.makes_namespace:
            continue
        if owner_of_object(metadata) != owner:
            body = {"metadata": {"annotations": {OWNER_KEY: owner}, "labels": {OWNER_KEY: mark(owner), SERVICE_LABEL: claim.service}}}
            cluster.patch(ref.path(claim.namespace), body)


@dataclass(frozen=True)
class Left:
    """What lies in a namespace beside what the cluster itself puts there, and what goes with something else that is deleted."""

    own: tuple[str, ...]
    foreign: tuple[str, ...]


def left_in_namespace(cluster: Cluster, namespace: str, service: str, owners: Collection[str]) -> Left:
    """What of a service, and of others, is in a namespace. Raises PlatformError where it cannot all be looked at."""
    own: list[str] = []
    foreign: list[str] = []
    with ThreadPoolExecutor(_THREADS) as threads:
        for kind, items in threads.map(lambda kind: _items(cluster, namespace, kind), _kinds(cluster)):
            for it in (it for it in items if not _comes_and_goes(kind, it)):
                is_own = owner_of_object(it) in owners and _service(it) == service
                (own if is_own else foreign).append(f"{kind} {it['name']}")
    return Left(tuple(sorted(own)), tuple(sorted(foreign)))


def _comes_and_goes(kind: str, metadata: Object) -> bool:
    token = _TOKEN_ANNOTATION in (metadata.get("annotations") or {})
    leaving = "deletionTimestamp" in metadata or bool(metadata.get("ownerReferences"))
    return token or leaving or kind in _DERIVED or (kind, metadata["name"]) in _EVERYWHERE


def _items(cluster: Cluster, namespace: str, kind: tuple[str, str, str]) -> tuple[str, list[Object]]:
    root, plural, name = kind
    try:
        items = cluster.items(f"{root}/namespaces/{quote(namespace)}/{plural}", metadata_only=True)
    except ApiError as error:
        if error.status == 404:  # a kind that went just now
            return name, []
        raise
    return name, [it["metadata"] for it in items]


def _kinds(cluster: Cluster) -> Iterator[tuple[str, str, str]]:
    """Root, plural and kind of all that a namespace can hold and somebody can have made."""
    groups = (cluster.get("/apis") or {}).get("groups") or ()
    for root in ("/api/v1", *(f"/apis/{group['preferredVersion']['groupVersion']}" for group in groups)):
        for it in (cluster.get(root) or {}).get("resources") or ():
            if it["namespaced"] and "/" not in it["name"] and {"list", "delete"} <= set(it.get("verbs") or ()):
                yield root, it["name"], it["kind"]
