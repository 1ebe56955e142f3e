"""CloudModelService: a model served behind a gateway, with as many replicas as its demand needs."""

from pathlib import Path
from typing import Any, Optional

import pulumi
from pulumi import Output, ResourceOptions

from isthmus import arguments, compiling
from isthmus.arguments import CloudModelServiceArgs
from isthmus.errors import Problem
from isthmus.platforms import local
from isthmus.platforms.gateway import live_files
from isthmus.platforms.local_stack import LocalStack, loopback_url
from isthmus.release.manifest import SERVING, Release
from isthmus.resources import ModelFolder
from isthmus.sizing.replicas import Demand, ReplicaPlan, plan_replicas

OUTPUTS = ("endpoint", "grpc_endpoint", "digest", "replicas", "plan", "model_name")


class CloudModelService(pulumi.ComponentResource):
    """A model in the cloud role.

    At preview the model is compiled and measured, and the replicas are sized by M/M/c from the demand, the p95
    objective and the measured service rate; the numbers are logged on the component's row.

    Outputs:
        endpoint: base URL of the gateway; REST predict calls go to `{endpoint}/v1/models/{model_name}:predict`.
        grpc_endpoint: host:port of the gateway's gRPC listener.
        digest: of the release that is served.
        replicas: planned number of replicas.
        plan: the sizing's inputs and results.
    """

    endpoint: Output[str]
    grpc_endpoint: Output[str]
    digest: Output[str]
    replicas: Output[int]
    plan: Output[dict[str, Any]]
    model_name: Output[str]

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
        served = SERVE[checked.platform](self, name, model_name, args=checked, made=made, plan=plan)
        self.endpoint, self.grpc_endpoint = served
        self.digest = made.digest()
        self.replicas = plan.apply(lambda found: found.replicas)
        self.plan = plan.apply(_plan_output)
        self.model_name = Output.from_input(model_name)
        self.register_outputs({key: getattr(self, key) for key in OUTPUTS})


def check(name: str, args: object, path: str) -> tuple[arguments.Cloud | None, list[Problem]]:
    """The checked arguments, and everything that can be seen to be wrong before anything is built."""
    checked, problems = arguments.problems_of(arguments.Cloud, args, path)
    if checked is not None:
        problems = problems + compiling.source_problems(checked, checked.model_name or name, path)
    return checked, problems


def plan_of(args: arguments.Cloud, release: Release, path: str) -> ReplicaPlan:
    """The replica plan for a release. Raises GateError where no plan keeps the objective."""
    service_ms = args.profile.service_ms
    return plan_replicas(
        Demand(args.requests_per_second, args.p95_ms),
        1000 / service_ms if service_ms else release.record.service_rate_per_second,
        min_replicas=args.min_replicas,
        max_replicas=args.max_replicas,
        path=path,
    )


def _judge(args: arguments.Cloud, release: Release, path: str) -> str:
    source = "profile" if args.profile.service_ms else f"measured on {release.record.machine_class}"
    return f"{compiling.describe(release, SERVING)}\n{plan_of(args, release, path).explain()}; μ: {source}"


def _plan_output(plan: ReplicaPlan) -> dict[str, Any]:
    return {
        "formula": "M/M/c",
        "requests_per_second": plan.requests_per_second,
        "service_rate_per_second": round(plan.service_rate_per_second, 3),
        "replicas": plan.replicas,
        "utilisation": round(plan.utilisation, 4),
        "p50_ms": round(plan.p50_ms, 3),
        "p95_ms": round(plan.p95_ms, 3),
        "p95_objective_ms": plan.p95_objective_ms,
    }


def _serve_locally(
    component: CloudModelService,
    name: str,
    model_name: str,
    *,
    args: arguments.Cloud,
    made: compiling.Compiling,
    plan: Output[ReplicaPlan],
) -> tuple[Output[str], Output[str]]:
    """Replicas of the embedded server under the stack's supervisor, Envoy in front."""
    stack = LocalStack.of(args.local.directory)
    models = Path(stack.directory) / "models" / name
    folder = ModelFolder(
        f"{name}-model",
        digest=made.digest(),
        cache_directory=made.cache_directory,
        directory=made.digest().apply(lambda digest: str(models / digest.removeprefix("sha256:")[:12])),
        opts=ResourceOptions(parent=component, depends_on=[stack.supervisor]),
    )
    servers = stack.processes(
        f"{name}-server",
        Output.all(folder.directory, plan).apply(
            lambda known: local.server(f"{name}-server", model_name, known[0], replicas=known[1].replicas)
        ),
        parent=component,
        depends_on=[folder],
    )
    gateway = stack.processes(
        f"{name}-gateway",
        local.envoy(f"{name}-gateway", model_name, port=args.local.port, grpc_port=args.local.grpc_port),
        apart={"live_files": servers.endpoints.apply(lambda found: live_files(model_name, found, args.balancing))},
        parent=component,
        depends_on=[servers],
    )
    grpc = gateway.endpoints.apply(lambda found: f"127.0.0.1:{int(found[0]['grpc'])}")
    return loopback_url(gateway.endpoints), grpc


SERVE = {"local": _serve_locally}
