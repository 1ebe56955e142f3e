"""CloudModelService: a model served behind a gateway, with as many replicas as its demand needs."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Optional

import pulumi
from pulumi import Output, ResourceOptions

from isthmus import compiling
from isthmus.arguments.checking import problems_of
from isthmus.arguments.components import CloudSettings
from isthmus.arguments.serving import ServingArgs
from isthmus.arguments.source import SourceArgs
from isthmus.compile.sources.source import TFLITE, no_serving_variant
from isthmus.compiling import Compiling, Sought, Sources
from isthmus.errors import Problem, SourceError
from isthmus.planning import plan_of, shown
from isthmus.platforms.registry import PLATFORMS, PlatformArgs
from isthmus.platforms.rules import with_platforms
from isthmus.release.manifest import SERVING, Release
from isthmus.sizing.offload import Asking
from isthmus.sizing.service import ServicePlan


class CloudModelServiceArgs(SourceArgs, ServingArgs, PlatformArgs, total=False):
    """A model served in the cloud role."""


@dataclass(frozen=True)
class CheckedService:
    """What `check` found: the arguments, and the model's source.

    asking: of devices that ask: what they have a release answer; None: not known. keeps_before: the versions before a release are served
    until somebody retires them, where the platform can do that.
    """

    settings: CloudSettings
    sought: Sought
    asking: Callable[[Release], Asking | None] = lambda _: None
    keeps_before: bool = False


OUTPUTS = ("endpoint", "grpc_endpoint", "digest", "replicas", "plan", "model_name", "place")


class CloudModelService(pulumi.ComponentResource):
    """A model in the cloud role.

    At preview the model is compiled and measured, and the replicas are sized by M/M/c or M/G/c from the demand, the p95
    objective and the measured service time's mean and variance; the numbers are logged on the component's row.

    Outputs:
        endpoint: base URL of the gateway; REST predict calls go to `{endpoint}/v1/models/{model_name}:predict`.
        grpc_endpoint: host:port of the gateway's gRPC listener.
        digest: of the release that is served.
        replicas: planned number of replicas.
        plan: the sizing's inputs and results, and what it costs a month.
        place: platform, and where on it the parts run.
    """

    endpoint: Output[str]
    grpc_endpoint: Output[str]
    digest: Output[str]
    replicas: Output[int]
    plan: Output[dict[str, Any]]
    model_name: Output[str]
    place: Output[dict[str, Any]]

    # Optional[...] rather than `|`: Pulumi's component analyzer reads these annotations.
    def __init__(
        self,
        name: str,
        args: CloudModelServiceArgs,
        opts: Optional[ResourceOptions] = None,  # noqa: UP045
        *,
        path: str = "",
        checked: Optional[CheckedService] = None,  # noqa: UP045
    ) -> None:
        """checked: what `check` made of the arguments, where that was done already; path: of the arguments, for messages."""
        super().__init__("isthmus:index:CloudModelService", name, {}, opts)
        path = path or f"services.{name}"
        known = checked or compiling.sound(*check(name, args, path))
        settings, model_name = known.settings, known.sought.request.model
        made = compiling.start(self, settings, known.sought, path, lambda release: _judged(known, release, path))
        platform = PLATFORMS[settings.platform]
        more = {"keeps_before": True} if known.keeps_before and platform.keeps_before else {}
        self.served = served = platform.serve(
            self, name, model_name, args=settings, made=made, canary=_canary(self, known, path), path=path, **more
        )
        self.endpoint, self.grpc_endpoint, self.place = served.endpoint, served.grpc_endpoint, served.place
        self.digest = made.digest()
        self.replicas = made.plan.apply(lambda found: found.replicas)
        self.plan = Output.all(made.plan, made.release).apply(lambda both: shown(both[0], both[1], SERVING))
        self.model_name = Output.from_input(model_name)
        self.register_outputs({key: getattr(self, key) for key in OUTPUTS})


def check(name: str, args: object, path: str, sources: Sources | None = None) -> tuple[CheckedService | None, list[Problem]]:
    """The checked arguments, and everything that can be seen to be wrong before anything is built. sources: that were found already."""
    settings, problems = problems_of(with_platforms(CloudSettings), args, path)
    if settings is None:
        return None, problems
    sources, model_name = sources or Sources(), settings.model_name or name
    sought = sources.find(settings, model_name, path)
    problems = [*problems, *sought.problems]
    if sought.source is not None and sought.source.kind == TFLITE:
        problems.append(no_serving_variant(repr(settings.model), f"{path}.model"))
    return CheckedService(settings, sought), problems


def _judged(known: CheckedService, release: Release, path: str) -> tuple[ServicePlan, str]:
    description = _describe(release, path)
    offload = known.settings.offload
    asking = known.asking(release) if offload and offload.unsure_percent is None else None
    plan = plan_of(known.settings, release, path, asking)
    return plan, f"{description}\n{plan.explain()}"


def _describe(release: Release, path: str) -> str:
    if not release.manifest.has(SERVING):  # one that is named by its digest, say
        raise SourceError([no_serving_variant(f"release {release.digest}", f"{path}.model")])
    return compiling.describe(release, SERVING)


def _canary(component: pulumi.Resource, known: CheckedService, path: str) -> Compiling[None] | None:
    """The canary's release, compiled beside the stable one; what it does not say is as for that."""
    settings = known.settings
    if settings.canary is None:
        return None
    given = {key: value for key, value in settings.canary.model_dump().items() if value is not None}
    path, args = f"{path}.canary", settings.model_copy(update=given)
    request = replace(compiling.request_of(args, known.sought.request.model), partition=known.sought.request.partition)
    # What is wrong with its source the compile says: it has the canary's place in the program.
    return compiling.start(component, args, Sought(request, None), path, lambda release: (None, _describe(release, path)))
