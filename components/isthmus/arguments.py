"""What the components accept, and one place that checks it.

Each component has two views of its arguments: a TypedDict, which is what a program writes and what other languages get
as a schema, and a checked model of the same keys with every limit and default. `check_*` reports all problems at once.
TypedDicts keep to what Pulumi's component analyzer can read: no Literal, no unions, no string annotations.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, TypedDict

import yaml
from pulumi import Input
from pydantic import Field

from isthmus import platform_rules
from isthmus.checking import Checked, M, Name, Percent, Port, Positive, RecipeText, Seconds, Share, one_of, problems_of
from isthmus.compile.recipes import SERVING_ONLY
from isthmus.compile.request import TRAINING_DEADLINE_SECONDS
from isthmus.errors import InputError, Problem
from isthmus.plan_arguments import HeadroomArgs, HeadroomCases, PricesArgs, Profile, ProfileArgs
from isthmus.platform_arguments import (
    Canary,
    CanaryArgs,
    CanaryGate,
    CanaryGateArgs,
    Docker,
    DockerArgs,
    Gateway,
    GatewayArgs,
    Images,
    ImagesArgs,
    Kubernetes,
    KubernetesArgs,
    Local,
    LocalArgs,
)
from isthmus.platforms import gateway_options
from isthmus.sizing.cost import DEFAULT_PRICES, PriceTable, price_table
from isthmus.sizing.headroom import MOST_REPLICAS

PLATFORMS = ("local", "docker", "kubernetes")
BALANCING = ("round_robin", "least_request", "weighted")
BUCKET = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$")]
DEFAULT_DEADLINE_SECONDS = 120
DEFAULT_SERVER_KIND = "cpu-2"
DEFAULT_FALLBACK_TIMEOUT_MS = 500


class StoreArgs(TypedDict, total=False):
    """An S3 store that the stack does not own: endpoint URL, region, and credentials (secrets).

    pull_endpoint, pull_access_key, pull_secret_key: where and as whom servers fetch releases, which only need to read; left
    out: the same. prefix: of all keys.
    """

    endpoint: Input[str]
    region: Input[str]
    access_key: Input[str]
    secret_key: Input[str]
    pull_endpoint: Input[str]
    pull_access_key: Input[str]
    pull_secret_key: Input[str]
    prefix: Input[str]


class SourceArgs(TypedDict, total=False):
    """What to compile, and the promise it must keep. Shared by all components.

    recipe: a text such as "int8", "auto" or "prune:80% + int8", or a list of steps. min_accuracy: in [0, 1].
    training_deadline_seconds: for a recipe that trains. allow_unsafe: a .keras file may carry Python code, which then runs.
    signature: of a source with several. custom_objects: the module that registers the classes that a .keras file needs.
    """

    model: Input[str]
    model_name: Input[str]
    recipe: Input[Any]
    version: Input[int]
    evaluation: Input[str]
    min_accuracy: Input[float]
    training_deadline_seconds: Input[int]
    allow_unsafe: Input[bool]
    signature: Input[str]
    custom_objects: Input[str]
    platform: Input[str]
    local: Input[LocalArgs]
    bucket: Input[str]
    store: Input[StoreArgs]
    prices: Input[PricesArgs]


class ServingArgs(TypedDict, total=False):
    """Demand, objective, how requests are balanced and let through, and a canary beside the stable release.

    edge_requests_per_second: what all edge devices together are asked. server_kind: of the price table; left out: `local` on the
    platform local, else `cpu-2`.
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
    server_kind: Input[str]
    docker: Input[DockerArgs]
    kubernetes: Input[KubernetesArgs]
    images: Input[ImagesArgs]
    gateway: Input[GatewayArgs]
    canary: Input[CanaryArgs]
    canary_percent: Input[int]
    mirror_percent: Input[int]
    canary_gate: Input[CanaryGateArgs]


class RollingArgs(TypedDict, total=False):
    """A fleet file, where bundles go, and how sure a device must be to answer by itself.

    releases_per_month: for the cost of shipping.
    """

    fleet: Input[str]
    releases_per_month: Input[float]
    deadline_seconds: Input[int]
    min_confidence: Input[float]
    fallback_timeout_ms: Input[int]


class CloudModelServiceArgs(SourceArgs, ServingArgs, total=False):
    """A model served in the cloud role."""


class EdgeFleetRolloutArgs(SourceArgs, RollingArgs, total=False):
    """A model on a fleet of devices. fallback_url: whom a device asks when it is not sure."""

    fallback_url: Input[str]


class HybridDeploymentArgs(SourceArgs, ServingArgs, RollingArgs, total=False):
    """Both roles of one model. The devices' fallback is the cloud role."""


class Store(Checked):
    """Values may be Outputs of other resources, so nothing but their presence is checked here."""

    endpoint: Any
    region: Any = "us-east-1"
    access_key: Any
    secret_key: Any
    pull_endpoint: Any = None
    pull_access_key: Any = None
    pull_secret_key: Any = None
    prefix: Annotated[str, Field(pattern=r"^([A-Za-z0-9._-]+/)*$")] = ""

    def problems(self, path: str) -> Sequence[Problem]:
        if (self.pull_access_key is None) == (self.pull_secret_key is None):
            return ()
        return [Problem(path, "has one of pull_access_key and pull_secret_key", "both or neither", "add the other")]


class Source(Checked):
    model: Annotated[str, Field(min_length=1)]
    model_name: Name | None = None
    recipe: RecipeText = "int8"
    version: Annotated[int, Field(ge=1, lt=2**31)] = 1
    evaluation: str | None = None
    min_accuracy: Share | None = None
    training_deadline_seconds: Seconds = TRAINING_DEADLINE_SECONDS
    allow_unsafe: bool = False
    signature: Annotated[str, Field(min_length=1)] | None = None
    custom_objects: Annotated[str, Field(min_length=1)] | None = None
    platform: Annotated[str, one_of(PLATFORMS, "platform")] = "local"
    local: Local = Local()
    bucket: BUCKET = "models"
    store: Store | None = None
    prices: dict[str, Any] | None = None

    def problems(self, path: str) -> Sequence[Problem]:
        try:
            self.price_table(f"{path}.prices")
        except InputError as error:
            return error.problems
        return ()

    def price_table(self, path: str = "prices") -> PriceTable:
        """The prices to plan with. Raises InputError with everything that is wrong with those given."""
        return DEFAULT_PRICES if self.prices is None else price_table(self.prices, path=path)


class Serving(Checked):
    requests_per_second: Positive
    p95_ms: Positive
    min_replicas: Annotated[int, Field(ge=1, le=MOST_REPLICAS)] = 1
    max_replicas: Annotated[int, Field(ge=1, le=MOST_REPLICAS)] = 100
    balancing: Annotated[str, one_of(BALANCING, "balancing policy")] = "least_request"
    profile: Profile = Profile()
    headroom: HeadroomCases = HeadroomCases()
    edge_requests_per_second: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    server_kind: str | None = None
    docker: Docker = Docker()
    kubernetes: Kubernetes = Kubernetes()
    images: Images = Images()
    gateway: Gateway = Gateway()
    canary: Canary | None = None
    canary_percent: Annotated[int, Field(ge=0, le=99)] = 10
    mirror_percent: Percent = 0
    canary_gate: CanaryGate = CanaryGate()

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
        return found


class Rolling(Checked):
    fleet: str
    releases_per_month: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 1.0
    deadline_seconds: Annotated[int, Field(ge=1, le=7 * 86400)] = DEFAULT_DEADLINE_SECONDS
    min_confidence: Share | None = None
    fallback_timeout_ms: Annotated[int, Field(ge=1, le=60_000)] = DEFAULT_FALLBACK_TIMEOUT_MS


class Cloud(Source, Serving):
    """CloudModelService, checked."""

    def problems(self, path: str) -> Sequence[Problem]:
        return [
            *(problems := Source.problems(self, path)),
            *Serving.problems(self, path),
            *platform_rules.problems(self, path),
            *gateway_options.problems(self.gateway, f"{path}.gateway"),
            *([] if problems else self._kind_problems(path)),
        ]

    def kind_of_server(self) -> str:
        """Of all servers that do not say it themselves."""
        return self.server_kind or ("local" if self.platform == "local" else DEFAULT_SERVER_KIND)

    def _kind_problems(self, path: str) -> Iterator[Problem]:
        priced = self.price_table().servers
        given = {"server_kind": self.kind_of_server()}
        given |= {f"docker.hosts.{index}.server_kind": it.server_kind or "" for index, it in enumerate(self.docker.hosts)}
        given |= {f"kubernetes.pools.{index}.server_kind": it.server_kind or "" for index, it in enumerate(self.kubernetes.pools)}
        for where, kind in given.items():
            if kind and kind not in priced:
                yield Problem(f"{path}.{where}", f"{kind!r} has no price", f"one of {', '.join(priced)}", "add it to prices.servers")


class Edge(Source, Rolling):
    """EdgeFleetRollout, checked. fallback_url may be an Output."""

    fallback_url: Any = None

    def problems(self, path: str) -> Sequence[Problem]:
        found = list(super().problems(path))
        if self.recipe == SERVING_ONLY:
            what, fix = f"{SERVING_ONLY} makes nothing that devices can run", "name another recipe, or use CloudModelService"
            found.append(Problem(f"{path}.recipe", what, "a recipe with an edge variant, such as int8", fix))
        if self.min_confidence is not None and self.fallback_url is None:
            found.append(Problem(f"{path}.min_confidence", "there is nobody to ask", "fallback_url beside it", "add fallback_url"))
        if self.platform != "local":
            found.append(Problem(f"{path}.platform", f"a fleet's agents do not run on {self.platform}", "local", "remove it"))
        return found


class Hybrid(Source, Serving, Rolling):
    """HybridDeployment, checked."""

    def problems(self, path: str) -> Sequence[Problem]:
        if self.platform == "kubernetes" and self.kubernetes.service_type == "ClusterIP":
            return [
                Problem(
                    f"{path}.kubernetes.service_type",
                    "devices cannot reach a ClusterIP, and ask the cloud role when they are not sure",
                    "NodePort or LoadBalancer",
                    "set service_type",
                )
            ]
        return ()


class Device(Checked):
    """One device of a fleet. port: of its REST server on loopback; 0: any free one."""

    name: Name
    port: Port = 0


class Fleet(Checked):
    name: Name
    devices: Annotated[tuple[Device, ...], Field(min_length=1, max_length=1000)]

    def problems(self, path: str) -> Sequence[Problem]:
        names = [device.name for device in self.devices]
        return [
            Problem(f"{path}.devices", f"two devices are named {name!r}", "different names")
            for name in sorted({name for name in names if names.count(name) > 1})
        ]


def check(model: type[M], raw: object, path: str) -> M:
    """The checked arguments. Raises InputError with all problems at once."""
    checked, problems = problems_of(model, raw, path)
    if checked is None or problems:
        raise InputError(problems)
    return checked


def load_fleet(text: str, base_directory: Path, path: str) -> Fleet:
    """The fleet of a fleet file (YAML).

    Raises:
        InputError: no such file, not YAML, or wrong content; all problems at once.
    """
    file = base_directory / text
    try:
        raw = yaml.safe_load(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(
            [Problem(path, f"cannot read fleet file {text!r}: {error.strerror}", "a YAML file with `name` and `devices`")]
        ) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        mark = getattr(error, "problem_mark", None)
        line = f" (line {mark.line + 1})" if mark else ""
        raise InputError([Problem(path, f"fleet file {text!r} is not YAML{line}", "a YAML file with `name` and `devices`")]) from error
    return check(Fleet, raw, path)
