"""CloudModelService: a model served behind a gateway, with as many replicas as its demand needs."""

import importlib
from collections.abc import Callable
from typing import Any, Optional

import pulumi
from pulumi import Output, ResourceOptions

from isthmus import compiling
from isthmus.arguments.checking import problems_of
from isthmus.arguments.components import CloudModelServiceArgs, CloudSettings
from isthmus.compile.sources.source import TFLITE, no_serving_variant
from isthmus.errors import Problem, SourceError
from isthmus.planning import plan_of, shown
from isthmus.platforms.registry import PLATFORMS
from isthmus.platforms.served import Served
from isthmus.release.manifest import SERVING, Release

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
    def __init__(self, name: str, args: CloudModelServiceArgs, opts: Optional[ResourceOptions] = None, *, path: str = "") -> None:  # noqa: UP045
        super().__init__("isthmus:index:CloudModelService", name, {}, opts)
        path = path or f"services.{name}"
        checked, problems = check(name, args, path)
        if checked is None or problems:
            raise compiling.run_error(problems)
        model_name = checked.model_name or name
        made = compiling.start(self, checked, model_name, path, lambda release: _judge(checked, release, path))
        plan = made.release.apply(lambda release: plan_of(checked, release, path))
        served = SERVE[checked.platform](
            self, name, model_name, args=checked, made=made, plan=plan, canary=_canary(self, checked, model_name, path)
        )
        self.endpoint, self.grpc_endpoint, self.place = served.endpoint, served.grpc_endpoint, served.place
        self.digest = made.digest()
        self.replicas = plan.apply(lambda found: found.replicas)
        self.plan = Output.all(plan, made.release).apply(lambda both: shown(both[0], both[1], SERVING))
        self.model_name = Output.from_input(model_name)
        self.register_outputs({key: getattr(self, key) for key in OUTPUTS})


def check(name: str, args: object, path: str) -> tuple[CloudSettings | None, list[Problem]]:
    """The checked arguments, and everything that can be seen to be wrong before anything is built."""
    checked, problems = problems_of(CloudSettings, args, path)
    if checked is not None:
        model_name = checked.model_name or name
        problems = problems + compiling.source_problems(checked, model_name, path)
        source, _ = compiling.request_of(checked, model_name).find(path)
        if source is not None and source.kind == TFLITE:
            problems.append(no_serving_variant(repr(checked.model), f"{path}.model"))
    return checked, problems


def _judge(args: CloudSettings, release: Release, path: str) -> str:
    return f"{_describe(release, path)}\n{plan_of(args, release, path).explain()}"


def _describe(release: Release, path: str) -> str:
    if not release.manifest.has(SERVING):  # one that is named by its digest, say
        raise SourceError([no_serving_variant(f"release {release.digest}", f"{path}.model")])
    return compiling.describe(release, SERVING)


def _canary(component: pulumi.Resource, args: CloudSettings, model_name: str, path: str) -> compiling.Compiling | None:
    """The canary's release, compiled beside the stable one; what it does not say is as for that."""
    if args.canary is None:
        return None
    given = {key: value for key, value in args.canary.model_dump().items() if value is not None}
    path = f"{path}.canary"
    return compiling.start(component, args.model_copy(update=given), model_name, path, lambda release: _describe(release, path))


def _serve_on(module: str) -> Callable[..., Served]:
    """A platform's own side, loaded when a program uses it: the Kubernetes SDK alone takes most of a second."""

    def serve(*args: Any, **named: Any) -> Served:
        found: Served = importlib.import_module(f"isthmus.platforms.{module}").serve(*args, **named)
        return found

    return serve


SERVE = {platform: _serve_on(f"{platform}.declare") for platform in PLATFORMS}
