"""The `kubernetes` platform, as the rest of Isthmus sees it."""

from collections.abc import Iterator
from typing import Any

from isthmus.arguments.components import CloudSettings
from isthmus.errors import Problem
from isthmus.platforms.kubernetes.settings import KubernetesSettings
from isthmus.platforms.platform import Observer, Platform, Servers
from isthmus.platforms.served import Served
from isthmus.sizing.service import Autoscale


class KubernetesPlatform(Platform):
    """A Kubernetes cluster: Deployments behind an Envoy, with an autoscaler and a canary where they are asked for."""

    settings = KubernetesSettings
    needs = {"store": "the S3 store that Pods fetch releases from"}  # noqa: RUF012  (never changed)

    def problems(self, args: CloudSettings, path: str) -> Iterator[Problem]:
        if args.section(KubernetesSettings).pools and args.canary is not None:
            yield Problem(f"{path}.canary", "a canary beside pools of unequal speed is not built", fix="leave out the one or the other")

    def device_problems(self, args: CloudSettings, path: str) -> Iterator[Problem]:
        if args.section(KubernetesSettings).service_type == "ClusterIP":
            what = "devices cannot reach a ClusterIP, and ask the cloud role when they are not sure"
            yield Problem(f"{path}.kubernetes.service_type", what, "NodePort or LoadBalancer", "set service_type")

    def servers(self, section: KubernetesSettings) -> tuple[Servers, ...]:
        return tuple(Servers(f"pools.{index}.server_kind", it.speed, it.server_kind, it.replicas) for index, it in enumerate(section.pools))

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


PLATFORM = KubernetesPlatform()
