"""The platform `kubernetes`'s own: traffic between two releases, and the gate that judges them."""

from collections.abc import Mapping, Sequence
from typing import Any

from pulumi import Input, Output, ResourceOptions

from isthmus.resources.base import Resource, this_stack


class KubernetesClaim(Resource):
    """A service's objects and namespace, kept apart from those of other stacks: place everything of the service behind it.

    objects: `api_version`, `kind`, `name` of each object that the service will have. What is there of them, and carries another owner
    or none, is refused, at preview as well. owner: the stack. take_over_from: whose objects may become the stack's, on purpose.
    create_namespace: whether the namespace is the service's own. It is removed last, unless it holds what is not the service's.
    autoscaled: Deployments whose replicas an autoscaler sets; they keep what they have when the program stops naming it.
    """

    def __init__(
        self,
        name: str,
        *,
        namespace: Input[str],
        service: Input[str],
        objects: Input[Sequence[Mapping[str, str]]],
        create_namespace: Input[bool] = False,
        take_over_from: Input[str] = "",
        autoscaled: Input[Sequence[Input[str]]] | None = None,
        kubeconfig: Input[str] = "",
        context: Input[str] = "",
        opts: ResourceOptions | None = None,
    ) -> None:
        inputs = {
            "kubeconfig": kubeconfig,
            "context": context,
            "namespace": namespace,
            "service": service,
            "owner": this_stack(),
            "create_namespace": create_namespace,
            "take_over_from": take_over_from,
            "objects": objects,
            "autoscaled": autoscaled or [],
        }
        super().__init__(name, inputs, [], opts, secret=["kubeconfig"])


class KubernetesCapacity(Resource):
    """The planned servers of a service, all ready: place it behind everything of the service.

    replicas: Deployment → servers. Where an autoscaler sets them, it begins with so many, and again when the plan has grown.
    """

    def __init__(
        self,
        name: str,
        *,
        namespace: Input[str],
        service: Input[str],
        replicas: Input[Mapping[str, Input[int]]],
        ready_seconds: Input[float],
        kubeconfig: Input[str] = "",
        context: Input[str] = "",
        opts: ResourceOptions | None = None,
    ) -> None:
        inputs = {
            "kubeconfig": kubeconfig,
            "context": context,
            "namespace": namespace,
            "service": service,
            "owner": this_stack(),
            "replicas": replicas,
            "ready_seconds": ready_seconds,
        }
        super().__init__(name, inputs, [], opts, secret=["kubeconfig"])


class GatewayTraffic(Resource):
    """Which share of a service's requests goes to which release: the ConfigMap SERVICE-traffic that its gateways watch.

    kubeconfig: content or path, empty: what kubectl would use; context: of it, empty: its current one.
    tracks: `stable` and, with a canary, `canary`: each with `version` and `digest`. options: `timeout_seconds`,
        `try_timeout_seconds`, `devices_apart` of the routes.
    A new one sends everything to `stable`. From then on the shares are the `CanaryGate`'s: an update here keeps them, and keeps
    a canary that has requests until it has none. It waits for nothing. Read finds a ConfigMap that was changed by hand.
    Outputs: `config_map` (its name), `intact` (false: changed by hand).
    """

    config_map: Output[str]
    intact: Output[bool]

    def __init__(
        self,
        name: str,
        *,
        namespace: Input[str],
        service: Input[str],
        model_name: Input[str],
        tracks: Input[Mapping[str, Any]],
        options: Input[Mapping[str, Any]] | None = None,
        kubeconfig: Input[str] = "",
        context: Input[str] = "",
        opts: ResourceOptions | None = None,
    ) -> None:
        inputs = {
            "kubeconfig": kubeconfig,
            "context": context,
            "namespace": namespace,
            "service": service,
            "owner": this_stack(),
            "model_name": model_name,
            "tracks": tracks,
            "options": options or {},
        }
        super().__init__(name, inputs, ["config_map", "intact"], opts, secret=["kubeconfig"])


class CanaryGate(Resource):
    """A canary that gets `canary_percent` of the requests until they show whether it may have all of them.

    Place it behind (`depends_on`) the servers of both tracks, the gateway and its `GatewayTraffic`.
    gate: `min_requests`, `max_error_percent`, `max_p95_ms`, `max_p95_ratio`, `max_drift_percent`, `interval_seconds`,
        `deadline_seconds`, and `answers`: `classes` or `values`, how answers to probes are compared.
    probes: bodies of predict requests, asked of both releases before any client's request is.
    api_key, gateway_tls: how a probe gets through the gateway where the API server may not reach the servers.
    ready_seconds: how long servers may take to get ready that a track needs before it gets all requests.
    auto_promote: false leaves a canary that passed at its share.
    It ends with the verdict `promoted`, or fails, with all the traffic back at the stable release first. The same canary is not
    judged twice; another one while it is promoted is refused. canary_percent 0 takes it back at once; so does deleting it.
    Outputs: `verdict`, `percent` (that the canary gets now), `reasons`, `requests` (track → number that the gate saw).
    """

    verdict: Output[str]
    percent: Output[int]
    reasons: Output[list[str]]
    requests: Output[dict[str, int]]

    def __init__(
        self,
        name: str,
        *,
        namespace: Input[str],
        service: Input[str],
        canary_digest: Input[str],
        canary_percent: Input[int],
        mirror_percent: Input[int] = 0,
        gate: Input[Mapping[str, Any]] | None = None,
        probes: Input[Sequence[Input[str]]] | None = None,
        api_key: Input[str] = "",
        gateway_tls: Input[bool] = False,
        auto_promote: Input[bool] = True,
        ready_seconds: Input[float] = 600,
        kubeconfig: Input[str] = "",
        context: Input[str] = "",
        opts: ResourceOptions | None = None,
    ) -> None:
        inputs = {
            "kubeconfig": kubeconfig,
            "context": context,
            "namespace": namespace,
            "service": service,
            "owner": this_stack(),
            "canary_digest": canary_digest,
            "canary_percent": canary_percent,
            "mirror_percent": mirror_percent,
            "gate": gate or {},
            "probes": probes or [],
            "api_key": api_key,
            "gateway_tls": gateway_tls,
            "auto_promote": auto_promote,
            "ready_seconds": ready_seconds,
        }
        super().__init__(name, inputs, ["verdict", "percent", "reasons", "requests"], opts, secret=["kubeconfig", "api_key"])


class KubernetesMonitors(Resource):
    """Objects of kinds that a cluster need not know (the Prometheus operator's), made where it does.

    objects: as the API has them. Whether the cluster knows their kinds is found out when they are made, and again by a refresh, so
    that the graph of a program does not depend on it.
    Outputs: `made` (whether it knows them all), `intact` (false: an object is missing or was changed by hand).
    """

    made: Output[bool]
    intact: Output[bool]

    def __init__(
        self,
        name: str,
        *,
        namespace: Input[str],
        service: Input[str],
        objects: Input[Sequence[Mapping[str, Any]]],
        kubeconfig: Input[str] = "",
        context: Input[str] = "",
        opts: ResourceOptions | None = None,
    ) -> None:
        inputs = {
            "kubeconfig": kubeconfig,
            "context": context,
            "namespace": namespace,
            "service": service,
            "owner": this_stack(),
            "objects": objects,
        }
        super().__init__(name, inputs, ["made", "intact"], opts, secret=["kubeconfig"])
