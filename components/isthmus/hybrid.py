"""HybridDeployment: one model in the cloud role and on a fleet, from one set of arguments."""

from dataclasses import dataclass, replace
from typing import Any, Optional

import pulumi
from pulumi import Output, ResourceOptions

from isthmus import cloud, compiling, edge
from isthmus.arguments.checking import problems_of
from isthmus.arguments.components import CloudSettings, EdgeSettings, HybridSettings
from isthmus.arguments.rolling import RollingArgs
from isthmus.arguments.serving import ServingArgs
from isthmus.arguments.source import SourceArgs, SourceSettings
from isthmus.cloud import CheckedService, CloudModelService
from isthmus.compiling import Sources
from isthmus.edge import CheckedRollout, EdgeFleetRollout
from isthmus.errors import Problem
from isthmus.names import cloud_part, edge_part
from isthmus.platforms.registry import DEFAULT_PLATFORM, PlatformArgs
from isthmus.platforms.rules import kind_of_server, with_platforms


class HybridDeploymentArgs(SourceArgs, ServingArgs, RollingArgs, PlatformArgs, total=False):
    """Both roles of one model. The devices' fallback is the cloud role, where `data` or `min_confidence` says that they may ask it."""


@dataclass(frozen=True)
class CheckedHybrid:
    """What `check` found of each half."""

    cloud: CheckedService
    edge: CheckedRollout


class HybridDeployment(pulumi.ComponentResource):
    """Both roles of one model, compiled once.

    A device answers by itself, and what it is asked stays there. With `min_confidence` (or `data: may_leave_device`) it asks the cloud
    role where its answer is less sure, or where it has none; while the cloud is away its own answer stands.

    Outputs: `cloud` and `edge`, the outputs of the two components that it is made of.
    """

    cloud: Output[dict[str, Any]]
    edge: Output[dict[str, Any]]

    # Optional[...] rather than `|`: Pulumi's component analyzer reads these annotations.
    def __init__(
        self,
        name: str,
        args: HybridDeploymentArgs,
        opts: Optional[ResourceOptions] = None,  # noqa: UP045
        *,
        path: str = "",
        checked: Optional[CheckedHybrid] = None,  # noqa: UP045
    ) -> None:
        """checked: what `check` made of the arguments, where that was done already; path: of the arguments, for messages."""
        super().__init__("isthmus:index:HybridDeployment", name, {}, opts)
        path = path or f"hybrids.{name}"
        known = checked or compiling.sound(*check(name, args, path))
        child = ResourceOptions(parent=self)
        service = CloudModelService(cloud_part(name), {}, child, path=path, checked=known.cloud)
        devices = known.edge
        if devices.settings.fallback_url is not None:
            settings = devices.settings.model_copy(update={"fallback_url": service.endpoint})
            devices = replace(devices, settings=settings, server_kind=kind_of_server(known.cloud.settings))
        fleet = EdgeFleetRollout(edge_part(name), {}, child, path=path, checked=devices)
        self.cloud = Output.all(**{key: getattr(service, key) for key in cloud.OUTPUTS})
        self.edge = Output.all(**{key: getattr(fleet, key) for key in edge.OUTPUTS})
        self.parts = (service, fleet)
        self.register_outputs({"cloud": self.cloud, "edge": self.edge})


def check(name: str, args: object, path: str, sources: Sources | None = None) -> tuple[CheckedHybrid | None, list[Problem]]:
    """The checked arguments, and everything that can be seen to be wrong before anything is built. sources: that were found already."""
    settings, problems = problems_of(with_platforms(HybridSettings), args, path)
    if settings is None:
        return None, problems
    sources = sources or Sources()
    service, wrong = cloud.check(name, _part(CloudSettings, args, name), path, sources)
    asked = {"fallback_url": "cloud"} if settings.asks_cloud() else {}
    fleet, more = edge.check(name, {**_part(EdgeSettings, args, name), **asked}, path, sources)
    problems = list(dict.fromkeys([*problems, *wrong, *more]))  # both halves see the same source
    return (None if service is None or fleet is None else CheckedHybrid(service, fleet)), problems


def _part(model: type[SourceSettings], args: Any, name: str) -> Any:
    """The arguments that one half takes, served under the whole's name."""
    part = {"model_name": name, **{key: value for key, value in args.items() if key in with_platforms(model).model_fields}}
    return {**part, "platform": DEFAULT_PLATFORM} if model is EdgeSettings else part  # the agents run here, wherever the cloud role is
