"""The `kubernetes` platform: a service's objects, declared. What they are is decided in `platforms.kubernetes`, which is pure."""

import importlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import pulumi
from pulumi import CustomTimeouts, Output, ResourceOptions
from pulumi_kubernetes import Provider

from isthmus import compiling
from isthmus.apiserver.kubeconfig import is_content
from isthmus.arguments.components import CloudSettings
from isthmus.arguments.gateway_options import access_of
from isthmus.canary.comparing import probe_body
from isthmus.errors import PlatformError
from isthmus.names import CANARY, STABLE, traffic_name
from isthmus.platforms.kubernetes.desired import namespace_of, planned, service_of
from isthmus.platforms.kubernetes.objects import manifests
from isthmus.platforms.kubernetes.objects.naming import Json, named
from isthmus.platforms.kubernetes.objects.scraping import OPERATOR_GROUP
from isthmus.platforms.kubernetes.objects.spec import KubernetesService
from isthmus.platforms.kubernetes.settings import KubernetesSettings
from isthmus.platforms.publishing import key_prefix, publish, store_of
from isthmus.platforms.served import Served
from isthmus.release.manifest import GOLDEN_NAME, Release
from isthmus.resources import CanaryGate, GatewayTraffic, KubernetesCapacity, KubernetesClaim, KubernetesMonitors
from isthmus.resources.base import this_stack
from isthmus.sizing.service import ServicePlan

# kind → the fields beside apiVersion, kind and metadata.
FIELDS: Mapping[str, tuple[str, ...]] = {
    "Namespace": (),
    "ServiceAccount": ("automountServiceAccountToken", "imagePullSecrets"),
    "Secret": ("type", "data"),
    "ConfigMap": ("data",),
}
SPEC = ("spec",)
# Who has to be there before an object is made: its key's prefix → prefixes of theirs.
AFTER: Mapping[str, tuple[str, ...]] = {
    "server-": ("account", "store-secret", "server-config", "default-deny", "servers-policy"),
    "autoscaler-": ("server-",),
    # New servers are ready before the gateway hears of them.
    "gateway-config": ("server-",),
    "gateway-secret": ("server-",),
    "gateway": ("account", "server-", "gateway-config", "gateway-secret", "gateway-tls", "gateway-policy", "default-deny"),
    "service": ("gateway",),
}
FIRST = ("claim", "namespace", "traffic")
AWAITED = ("Deployment", "Service")
FORCE = "pulumi.com/patchForce"


def serve(
    component: pulumi.Resource,
    name: str,
    model_name: str,
    *,
    args: CloudSettings,
    made: compiling.Compiling[ServicePlan],
    canary: compiling.Compiling[None] | None = None,
    path: str,
    keeps_before: bool = False,
) -> Served:
    """Servers of one or two releases, a gateway in front, and what belongs to them.

    keeps_before: a canary that has passed its gate stays at its share until `Served.promote` gives it all requests.
    """
    prefix, choice = key_prefix(args, name), args.section(KubernetesSettings).service_monitor
    describe = partial(
        service_of,
        args,
        name,
        model_name,
        stack=pulumi.get_stack(),
        owner=this_stack(),
        operator=choice == "always",
        prefix=prefix,
    )
    found = _Declared(component, args, name, named(describe()), _Cluster.of(component, name, args))
    compiled: dict[str, compiling.Compiling[Any]] = {STABLE: made, **({CANARY: canary} if canary else {})}
    published = [
        publish(component, args, it, resource=f"{name}-release-{track}", prefix=f"{prefix}{track}/") for track, it in compiled.items()
    ]
    known = Output.all(
        releases=Output.all(**{track: it.release for track, it in compiled.items()}),
        plan=made.plan,
        pull_endpoint=store_of(args, pull=True)["endpoint"],
        region=store_of(args)["region"],
    )
    secrets: Output[dict[str, Any]] = _secrets(args, path)
    plain = known.apply(lambda it: manifests.objects(_checked(describe(**it), path)))
    secret = Output.all(known, secrets).apply(lambda it: manifests.objects(describe(**it[0], secrets=it[1])))
    outlines = manifests.outline(describe())
    _claim(found, describe(), outlines)
    if "namespace" in outlines:
        found.declare("namespace", outlines.pop("namespace"), plain, ())
    # Before all others: of two stacks that come at once, one makes it. And before a canary's servers: what an interrupted gate left is
    # taken back while the servers are still those that it judged.
    _traffic(found, model_name, compiled)
    for key, outline in outlines.items():
        before: list[pulumi.Resource] = []
        if key.startswith("server-") and outline["kind"] == "Deployment":
            before += published
        found.declare(key, outline, secret if outline["kind"] == "Secret" else plain, before)
    if choice == "auto":
        _monitors(found, known.apply(lambda it: manifests.monitors(describe(**it))))
    _capacity(found, known.apply(lambda it: planned(describe(**it))))
    served = _served(found, describe())
    if canary is None:
        return replace(served, parts=tuple(found.resources.values()))
    gate = partial(_gate, found, made, canary)
    waits = keeps_before and args.canary_percent > 0
    gate("canary", promotes=not waits)
    promote = partial(gate, "promotion", promotes=True) if waits else None
    return replace(served, parts=tuple(found.resources.values()), split=_split(found, canary), promote=promote)


@dataclass(frozen=True)
class _Cluster:
    """Which cluster, and the namespace in it."""

    provider: Provider
    kubeconfig: pulumi.Input[str]
    context: str
    namespace: str

    @classmethod
    def of(cls, component: pulumi.Resource, name: str, args: CloudSettings) -> "_Cluster":
        given = args.section(KubernetesSettings)
        kubeconfig = "" if given.kubeconfig is None else Output.secret(given.kubeconfig)
        provider = Provider(
            f"{name}-cluster",
            kubeconfig=kubeconfig or None,
            context=given.context,
            # Files that Envoy watches are changed in place; Pods that mount them must never find them gone.
            enable_config_map_mutable=True,
            enable_secret_mutable=True,
            # What an engine that was killed had made, and could not write down, is taken over by the next update. That nothing of
            # others is taken over is seen to by the claim.
            upsert_existing_objects=True,
            opts=ResourceOptions(parent=component),
        )
        return cls(provider, kubeconfig, given.context or "", namespace_of(args, name, pulumi.get_stack()))


@dataclass
class _Declared:
    """The objects of one service that were declared so far, by key. label: the service's name as the cluster has it."""

    component: pulumi.Resource
    args: CloudSettings
    name: str
    label: str
    cluster: _Cluster
    resources: dict[str, pulumi.Resource] = field(default_factory=dict)

    def declare(self, key: str, outline: Json, objects: Output[dict[str, Json]], before: Sequence[pulumi.Resource]) -> None:
        """objects: all of them by key, with their content."""
        kind, version = outline["kind"], outline["apiVersion"]
        fields = FIELDS.get(kind, SPEC)
        content = {_snake(name): objects.apply(partial(_field, key=key, name=name)) for name in fields}
        seconds = f"{self.args.section(KubernetesSettings).deadline_seconds}s"
        opts = ResourceOptions(
            parent=self.component,
            provider=self.cluster.provider,
            depends_on=[*before, *self.after(key)],
            custom_timeouts=CustomTimeouts(create=seconds, update=seconds) if kind in AWAITED else None,
            # The claim removes it, once nothing of others is in it.
            retain_on_delete=kind == "Namespace",
            # Names are fixed, so a replacement (`pulumi up --replace`) is the same object: deleted afterwards it would be gone.
            delete_before_replace=kind != "Namespace",
        )
        self.resources[key] = _class_of(version, kind)(f"{self.name}-{key}", metadata=_metadata(outline), **content, opts=opts)

    def after(self, key: str) -> list[pulumi.Resource]:
        """What has to be there first: always the claim, the namespace, if it is ours, and the split."""
        wanted = AFTER.get(key) or next((it for start, it in AFTER.items() if start.endswith("-") and key.startswith(start)), ())
        return [
            it for other, it in self.resources.items()
            if other != key and (other in FIRST or other in wanted or any(other.startswith(w) for w in wanted if w.endswith("-")))
        ]  # fmt: skip


def _metadata(outline: Json) -> Json:
    """What somebody changed by hand is taken back by the next update, and does not stop it. What we do not name (an autoscaled
    Deployment's replicas) stays somebody else's."""
    metadata: Json = outline["metadata"]
    return {**metadata, "annotations": {**metadata.get("annotations", {}), FORCE: "true"}}


def _field(objects: Mapping[str, Json], key: str, name: str) -> Any:
    return objects[key].get(name)


def _snake(name: str) -> str:
    return re.sub(r"([A-Z])", lambda match: "_" + match[1].lower(), name)


def _class_of(version: str, kind: str) -> Any:
    """The SDK's class of a kind; one for all kinds that a cluster was taught later."""
    group, _, number = version.rpartition("/")
    if group == OPERATOR_GROUP:
        from pulumi_kubernetes.apiextensions import CustomResource

        return partial(CustomResource, api_version=version, kind=kind)
    module = f"pulumi_kubernetes.{(group or 'core').removesuffix('.k8s.io')}.{number}"
    return getattr(importlib.import_module(module), kind)


def _checked(service: KubernetesService, path: str) -> KubernetesService:
    if problems := manifests.problems(service, path):
        raise compiling.run_error(problems)
    return service


def _secrets(args: CloudSettings, path: str) -> Output[dict[str, Any]]:
    store = store_of(args, pull=True)
    own = Output.all(**{key: store[key] for key in ("access_key", "secret_key")})
    known: Output[dict[str, Any]] = Output.secret(
        Output.all(own, access_of(args.gateway, f"{path}.gateway")).apply(lambda it: {**it[0], **it[1]})
    )
    return known


def _claim(found: _Declared, service: KubernetesService, outlines: Mapping[str, Json]) -> None:
    objects = [
        {"api_version": it["apiVersion"], "kind": it["kind"], "name": it["metadata"]["name"]}
        for it in outlines.values()
        if it["kind"] != "Namespace"
    ]
    found.resources["claim"] = KubernetesClaim(
        f"{found.name}-claim",
        namespace=found.cluster.namespace,
        service=found.label,
        create_namespace=service.create_namespace,
        take_over_from=found.args.section(KubernetesSettings).take_over_from or "",
        objects=[*objects, {"api_version": "v1", "kind": "ConfigMap", "name": traffic_name(found.label)}],
        autoscaled=list(planned(service)) if service.autoscale else [],
        kubeconfig=found.cluster.kubeconfig,
        context=found.cluster.context,
        opts=ResourceOptions(parent=found.component),
    )


def _monitors(found: _Declared, objects: Output[list[Json]]) -> None:
    found.resources["monitors"] = KubernetesMonitors(
        f"{found.name}-monitors",
        namespace=found.cluster.namespace,
        service=found.label,
        objects=objects,
        kubeconfig=found.cluster.kubeconfig,
        context=found.cluster.context,
        opts=ResourceOptions(parent=found.component, depends_on=found.after("monitors")),
    )


def _capacity(found: _Declared, replicas: Output[dict[str, int]]) -> None:
    found.resources["capacity"] = KubernetesCapacity(
        f"{found.name}-capacity",
        namespace=found.cluster.namespace,
        service=found.label,
        replicas=replicas,
        ready_seconds=found.args.section(KubernetesSettings).deadline_seconds,
        kubeconfig=found.cluster.kubeconfig,
        context=found.cluster.context,
        # So it is deleted before any of these is, and can say no.
        opts=ResourceOptions(parent=found.component, depends_on=list(found.resources.values())),
    )


def _traffic(found: _Declared, model_name: str, compiled: Mapping[str, compiling.Compiling[Any]]) -> GatewayTraffic:
    traffic = GatewayTraffic(
        f"{found.name}-traffic",
        namespace=found.cluster.namespace,
        service=found.label,
        model_name=model_name,
        tracks={
            track: it.release.apply(lambda release: {"version": release.manifest.version, "digest": release.digest})
            for track, it in compiled.items()
        },
        options={"timeout_seconds": found.args.gateway.timeout_seconds, **({"devices_apart": True} if found.args.offload else {})},
        kubeconfig=found.cluster.kubeconfig,
        context=found.cluster.context,
        opts=ResourceOptions(parent=found.component, depends_on=found.after("traffic")),
    )
    found.resources["traffic"] = traffic
    return traffic


def _gate(
    found: _Declared,
    made: compiling.Compiling[Any],
    canary: compiling.Compiling[Any],
    name: str,
    after: Sequence[pulumi.Resource] = (),
    *,
    promotes: bool,
) -> CanaryGate:
    """Judges a canary, unless it has passed already, and then gives it all requests, or leaves it at its share."""
    args = found.args
    keys: Output[dict[str, str]] = Output.secret(args.gateway.api_keys)
    gate = CanaryGate(
        f"{found.name}-{name}",
        namespace=found.cluster.namespace,
        service=found.label,
        canary_digest=canary.digest(),
        canary_percent=args.canary_percent,
        mirror_percent=args.mirror_percent,
        gate=args.canary_gate.limits(args.p95_ms),
        probes=made.release.apply(probes_of),
        api_key=keys.apply(lambda known: next(iter(known.values()), "")),
        gateway_tls=args.gateway.tls_certificate is not None,
        auto_promote=promotes,
        ready_seconds=args.section(KubernetesSettings).deadline_seconds,
        kubeconfig=found.cluster.kubeconfig,
        context=found.cluster.context,
        # It is deleted before any of these is: the canary has no requests then.
        opts=ResourceOptions(parent=found.component, depends_on=[*found.resources.values(), *after]),
    )
    found.resources[name] = gate
    return gate


def _split(found: _Declared, canary: compiling.Compiling[Any]) -> dict[str, Any]:
    """What a fleet that goes over to the canary's release is told of the split."""
    cluster = found.cluster
    place = {"namespace": cluster.namespace, "service": found.label, "owner": this_stack(), "digest": canary.digest()}
    return {**place, "context": cluster.context, "kubeconfig": cluster.kubeconfig}


def probes_of(release: Release) -> list[str]:
    """The bodies of predict requests that a gate asks both releases: the stable one's golden inputs."""
    return [probe_body((release.directory / GOLDEN_NAME).read_text(encoding="utf-8"))]


def _served(found: _Declared, service: KubernetesService) -> Served:
    """The address: outside of the cluster where there is one, else the Service's name in it."""
    args, label, given = found.args, found.label, found.args.section(KubernetesSettings)
    gateway: Any = found.resources["service"]
    scheme = "https" if args.gateway.tls_certificate is not None else "http"
    host: Output[str] = Output.from_input(given.host or f"{label}.{service.namespace}.svc.{service.cluster_domain}")
    ports = (given.port, given.grpc_port)
    if given.service_type == "LoadBalancer" and not given.host:
        host = gateway.status.apply(_ingress)
    numbers = Output.from_input(ports)
    if given.service_type == "NodePort" and given.host:
        numbers = gateway.spec.apply(lambda spec: tuple(int(_get(port, "node_port") or 0) for port in _get(spec, "ports")))
    place = {
        "platform": "kubernetes",
        "namespace": service.namespace,
        "service": label,
        "owner": service.owner,
        "context": given.context or "",
        "kubeconfig": _path_of(given.kubeconfig),
        "tls": scheme == "https",
        "tracks": [STABLE, CANARY] if args.canary else [STABLE],
    }
    return Served(
        Output.all(host, numbers).apply(lambda it: f"{scheme}://{it[0]}:{it[1][0]}"),
        Output.all(host, numbers).apply(lambda it: f"{it[0]}:{it[1][1]}"),
        Output.from_input(place),
    )


def _path_of(kubeconfig: Any) -> str:
    """The path of a kubeconfig, so that `isthmus status` finds it; its content is a secret, and is not shown."""
    return kubeconfig if isinstance(kubeconfig, str) and not is_content(kubeconfig) and Path(kubeconfig).expanduser().is_file() else ""


def _get(value: Any, key: str) -> Any:
    """A property of one of the SDK's output types, or of the mapping that it may also be."""
    return value.get(key, value.get(re.sub("_(.)", lambda m: m[1].upper(), key))) if isinstance(value, Mapping) else getattr(value, key)


def _ingress(status: Any) -> str:
    ingress = (_get(_get(status, "load_balancer"), "ingress") or [{}])[0] if status else {}
    found = _get(ingress, "ip") or _get(ingress, "hostname") if ingress else None
    if not found:
        raise PlatformError("the load balancer has no address yet")
    return str(found)
