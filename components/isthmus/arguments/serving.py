"""Demand and objective of a service, how its requests are balanced and let through, and a canary beside it."""

from collections.abc import Sequence
from typing import Annotated, TypedDict

from pulumi import Input

from isthmus.arguments.canary import CanaryArgs, CanaryGateArgs, CanaryGateSettings, CanarySettings
from isthmus.arguments.checking import Checked, Limited, one_of
from isthmus.arguments.gateway import GatewayArgs, GatewaySettings
from isthmus.arguments.images import ImagesArgs, ImagesSettings
from isthmus.arguments.offload import OffloadArgs, OffloadSettings
from isthmus.arguments.plan import HeadroomArgs, HeadroomSettings, ProfileArgs, ProfileSettings
from isthmus.errors import Problem
from isthmus.limits import (
    CANARY_PERCENT,
    EDGE_REQUESTS_PER_SECOND,
    MAX_REPLICAS,
    MIN_REPLICAS,
    MIRROR_PERCENT,
    P95_MS,
    REQUESTS_PER_SECOND,
)

BALANCING = ("round_robin", "least_request", "weighted")


class ServingArgs(TypedDict, total=False):
    """Demand, objective, how requests are balanced and let through, and a canary beside the stable release.

    edge_requests_per_second: what all edge devices together are asked. offload: of devices that may ask the service. server_kind: of the
    price table; left out: `local` on the platform local, else `cpu-2`.
    canary_percent: of the requests that the canary gets until its gate decides; 0 takes it back at once. mirror_percent: of the
    requests that are also sent to the canary, whose answers nobody sees.
    """

    requests_per_second: Input[float]
    p95_ms: Input[float]
    min_replicas: Input[int]
    max_replicas: Input[int]
    balancing: Input[str]
    profile: Input[ProfileArgs]
    headroom: Input[HeadroomArgs]
    edge_requests_per_second: Input[float]
    offload: Input[OffloadArgs]
    server_kind: Input[str]
    images: Input[ImagesArgs]
    gateway: Input[GatewayArgs]
    canary: Input[CanaryArgs]
    canary_percent: Input[int]
    mirror_percent: Input[int]
    canary_gate: Input[CanaryGateArgs]


class ServingSettings(Checked):
    requests_per_second: Annotated[float, Limited(REQUESTS_PER_SECOND)]
    p95_ms: Annotated[float, Limited(P95_MS)]
    min_replicas: Annotated[int, Limited(MIN_REPLICAS)] = MIN_REPLICAS.default
    max_replicas: Annotated[int, Limited(MAX_REPLICAS)] = MAX_REPLICAS.default
    balancing: Annotated[str, one_of(BALANCING, "balancing policy")] = "least_request"
    profile: ProfileSettings = ProfileSettings()
    headroom: HeadroomSettings = HeadroomSettings()
    edge_requests_per_second: Annotated[float, Limited(EDGE_REQUESTS_PER_SECOND)] = EDGE_REQUESTS_PER_SECOND.default
    offload: OffloadSettings | None = None
    server_kind: str | None = None
    images: ImagesSettings = ImagesSettings()
    gateway: GatewaySettings = GatewaySettings()
    canary: CanarySettings | None = None
    canary_percent: Annotated[int, Limited(CANARY_PERCENT)] = CANARY_PERCENT.default
    mirror_percent: Annotated[int, Limited(MIRROR_PERCENT)] = MIRROR_PERCENT.default
    canary_gate: CanaryGateSettings = CanaryGateSettings()

    def problems(self, path: str) -> Sequence[Problem]:
        found = []
        if self.min_replicas > self.max_replicas:
            found.append(Problem(f"{path}.min_replicas", f"{self.min_replicas} is above max_replicas ({self.max_replicas})", "min ≤ max"))
        if self.p95_ms > 1000 * self.gateway.timeout_seconds:
            longest = self.gateway.timeout_seconds
            what = f"the gateway gives a request up after {longest:g} s (gateway.timeout_seconds)"
            found.append(Problem(f"{path}.p95_ms", what, f"at most {1000 * longest:g} ms", "raise gateway.timeout_seconds"))
        if self.headroom.offline_percent and not self.edge_requests_per_second:
            what = "is not known, and headroom.offline_percent is a share of it"
            found.append(Problem(f"{path}.edge_requests_per_second", what, "requests per second of all devices together", "add it"))
        if self.offload and self.offload.unsure_percent and not self.edge_requests_per_second:
            what = "is not known, and offload.unsure_percent is a share of it"
            found.append(Problem(f"{path}.edge_requests_per_second", what, "requests per second of all devices together", "add it"))
        return found
