"""Names and labels of the objects of one service.

Every name is a DNS label. What is too long, or has other characters, keeps its readable part and gets a hash of the whole, so
that two different names stay different.
"""

import base64
from collections.abc import Mapping
from typing import Any

from isthmus.names import COMPONENT_LABEL, ONLY_POOL, POOL_LABEL, SERVICE_LABEL, TRACK_LABEL, object_name, service_labels
from isthmus.owner import OWNER_KEY, mark
from isthmus.platforms.kubernetes.objects.spec import KubernetesService, Pool, Track

Json = dict[str, Any]


def named(service: KubernetesService, *parts: str) -> str:
    """The name of an object of the service: `digits`, `digits-gateway`, `digits-stable-servers`."""
    return object_name(service.name, *parts)


def server_name(service: KubernetesService, track: Track, pool: Pool) -> str:
    """Of the Deployment, its autoscaler and its disruption budget."""
    return named(service, track.name, pool.name)


def servers_name(service: KubernetesService, track: Track, pool: Pool) -> str:
    """Of the headless Service whose addresses are the ready servers."""
    return named(service, track.name, pool.name, "servers")


def server_host(service: KubernetesService, track: Track, pool: Pool) -> str:
    """The DNS name behind which every address is a ready server of the pool."""
    return f"{servers_name(service, track, pool)}.{service.namespace}.svc.{service.cluster_domain}"


def labels(service: KubernetesService, component: str = "") -> dict[str, str]:
    """What every object of the service carries."""
    return service_labels(service.name, component)


def metadata(service: KubernetesService, name: str, component: str = "", **more_labels: str) -> Json:
    """An object's own metadata: its labels, and whose it is. Pods do not carry that: another owner must not start them anew."""
    found: Json = {"name": name, "labels": {**labels(service, component), **more_labels}}
    if service.owner:
        found["labels"][OWNER_KEY] = mark(service.owner)
        found["annotations"] = {OWNER_KEY: service.owner}
    return found


def selector(service: KubernetesService, component: str = "") -> dict[str, str]:
    """The labels that pick the service's Pods (of one component). They never change: a Deployment's selector cannot."""
    chosen = {SERVICE_LABEL: named(service)}
    return {**chosen, COMPONENT_LABEL: component} if component else chosen


def pool_labels(track: Track, pool: Pool) -> dict[str, str]:
    """What the servers of one pool carry beside `labels`."""
    return {TRACK_LABEL: track.name, POOL_LABEL: pool.name or ONLY_POOL}


def manifest(service: KubernetesService, api_version: str, kind: str, name: str, /, component: str = "", **body: Any) -> Json:
    """An object of the service in its namespace. body: its fields beside apiVersion, kind and metadata."""
    about = {**metadata(service, name, component), "namespace": service.namespace}
    return {"apiVersion": api_version, "kind": kind, "metadata": about, **body}


def secret(service: KubernetesService, name: str, kind: str, texts: Mapping[str, str], component: str = "") -> Json:
    """A Secret of texts. In `data`, as the API server gives it back: what is in `stringData` could not be compared."""
    data = {key: base64.b64encode(text.encode()).decode() for key, text in texts.items()}
    return manifest(service, "v1", "Secret", name, component, type=kind, data=data)
