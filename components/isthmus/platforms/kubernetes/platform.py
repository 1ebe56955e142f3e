"""The `kubernetes` platform, as the rest of Isthmus sees it."""

import ipaddress
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from isthmus.arguments.components import CloudSettings
from isthmus.errors import Problem, property_path
from isthmus.platforms.kubernetes.settings import KubernetesSettings
from isthmus.platforms.platform import Observer, Platform, Servers
from isthmus.platforms.served import Served
from isthmus.sizing.service import Autoscale


class KubernetesPlatform(Platform):
    """A Kubernetes cluster: Deployments behind an Envoy, with an autoscaler and a canary where they are asked for."""

    settings = KubernetesSettings
    keeps_before = True
    needs = {"store": "the S3 store that Pods fetch releases from"}  # noqa: RUF012  (never changed)

    def problems(self, args: CloudSettings, path: str) -> Iterator[Problem]:
        if args.section(KubernetesSettings).pools and args.canary is not None:
            yield Problem(f"{path}.canary", "a canary beside pools of unequal speed is not built", fix="leave out the one or the other")
        if args.store and _is_loopback(args.store.pull_endpoint or args.store.endpoint):
            at = "pull_endpoint" if args.store.pull_endpoint else "endpoint"
            what = "is this machine's own address, where a Pod finds nobody but itself"
            expected = "an address that Pods reach" if at == "pull_endpoint" else "pull_endpoint beside it: the store's address for Pods"
            yield Problem(f"{path}.store.{at}", what, expected, "set store.pull_endpoint")

    def device_problems(self, args: CloudSettings, path: str) -> Iterator[Problem]:
        if args.section(KubernetesSettings).service_type == "ClusterIP":
            what = "devices cannot reach a ClusterIP, and ask the cloud role when they are not sure"
            yield Problem(f"{path}.kubernetes.service_type", what, "NodePort or LoadBalancer", "set service_type")

    def servers(self, section: KubernetesSettings) -> tuple[Servers, ...]:
        return tuple(
            Servers(property_path(("pools", index, "server_kind")), it.speed, it.server_kind, it.replicas)
            for index, it in enumerate(section.pools)
        )

    def autoscale(self, args: CloudSettings) -> Autoscale | None:
        own, given = args.section(KubernetesSettings), args.model_fields_set
        if not own.autoscale or own.pools:
            return None
        return Autoscale(
            args.min_replicas if "min_replicas" in given else None,
            args.max_replicas if "max_replicas" in given else None,
            own.scale_down_seconds,
        )

    def serve(self, *args: Any, **named: Any) -> Served:
        from isthmus.platforms.kubernetes import declare

        return declare.serve(*args, **named)

    def observer(self) -> Observer:
        from isthmus.platforms.kubernetes import observe

        return observe


def _is_loopback(endpoint: Any) -> bool:
    """Whether an endpoint is this machine's alone; one that another resource tells is not known yet."""
    try:
        host = urlsplit(endpoint).hostname or "" if isinstance(endpoint, str) else ""
        return host == "localhost" or host.endswith(".localhost") or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


PLATFORM = KubernetesPlatform()
