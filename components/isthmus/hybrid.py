"""HybridDeployment: one model in the cloud role and on a fleet, from one set of arguments."""

from typing import Any, Optional

import pulumi
from pulumi import Output, ResourceOptions

from isthmus import cloud, compiling, edge
from isthmus.arguments.checking import problems_of
from isthmus.arguments.components import CloudSettings, EdgeSettings, HybridDeploymentArgs, HybridSettings
from isthmus.arguments.source import SourceSettings
from isthmus.cloud import CloudModelService
from isthmus.edge import EdgeFleetRollout
from isthmus.errors import Problem
from isthmus.names import cloud_part, edge_part


class HybridDeployment(pulumi.ComponentResource):
    """Both roles of one model, compiled once.

    A device answers by itself. Where its answer is less sure than `min_confidence`, or its interpreter fails, it asks the
    cloud role; while the cloud is away its own answer stands.

    Outputs: `cloud` and `edge`, the outputs of the two components that it is made of.
    """

    cloud: Output[dict[str, Any]]
    edge: Output[dict[str, Any]]

    # Optional[...] rather than `|`: Pulumi's component analyzer reads these annotations.
    def __init__(self, name: str, args: HybridDeploymentArgs, opts: Optional[ResourceOptions] = None) -> None:  # noqa: UP045
        super().__init__("isthmus:index:HybridDeployment", name, {}, opts)
        path = f"hybrids.{name}"
        problems = check(name, args, path)
        if problems:
            raise compiling.run_error(problems)
        child = ResourceOptions(parent=self)
        service = CloudModelService(cloud_part(name), _part(CloudSettings, args, name), child, path=path)
        edge_args: Any = {**_part(EdgeSettings, args, name), "fallback_url": service.endpoint}
        fleet = EdgeFleetRollout(edge_part(name), edge_args, child, path=path)
        self.cloud = Output.all(**{key: getattr(service, key) for key in cloud.OUTPUTS})
        self.edge = Output.all(**{key: getattr(fleet, key) for key in FLEET_OUTPUTS})
        self.parts = (service, fleet)
        self.register_outputs({"cloud": self.cloud, "edge": self.edge})


# What a stack shows of a fleet; its public key stays the component's own output.
FLEET_OUTPUTS = ("devices", "digest", "confirmed", "attempt", "model_name", "plan")


def check(name: str, args: object, path: str) -> list[Problem]:
    """Everything that can be seen to be wrong before anything is built."""
    checked, problems = problems_of(HybridSettings, args, path)
    if checked is None:
        return problems
    found = [
        *problems,
        *cloud.check(name, _part(CloudSettings, args, name), path)[1],
        *edge.check(name, {**_part(EdgeSettings, args, name), "fallback_url": "cloud"}, path)[2],
    ]
    return list(dict.fromkeys(found))  # both halves see the same source


def _part(model: type[SourceSettings], args: Any, name: str) -> Any:
    """The arguments that one half takes, served under the whole's name."""
    part = {"model_name": name, **{key: value for key, value in args.items() if key in model.model_fields}}
    return {**part, "platform": "local"} if model is EdgeSettings else part  # the agents run here, wherever the cloud role is
