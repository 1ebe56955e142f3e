"""HybridDeployment: one model in the cloud role, on a fleet, or both, from one set of arguments."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Optional, cast

import pulumi
from pulumi import Output, ResourceOptions

from isthmus import cloud, compiling, edge
from isthmus.advising import advice_of, measured_by, otherwise
from isthmus.arguments.checking import problems_of
from isthmus.arguments.components import CloudSettings, EdgeSettings, HybridSettings
from isthmus.arguments.mode import AUTO, CLOUD, EDGE, ModeArgs
from isthmus.arguments.offload import OffloadSettings
from isthmus.arguments.partition import PartitionArgs
from isthmus.arguments.rolling import RollingArgs
from isthmus.arguments.serving import ServingArgs
from isthmus.arguments.source import SourceArgs, SourceSettings
from isthmus.cloud import CheckedService, CloudModelService
from isthmus.compiling import Sought, Sources
from isthmus.edge import CheckedRollout, EdgeFleetRollout
from isthmus.errors import GateError, Problem
from isthmus.fleet import together
from isthmus.names import STAYS_IN_GROUP, cloud_part, edge_part
from isthmus.offloading import measured_plan
from isthmus.partition.wanted import Wanted
from isthmus.platforms.registry import DEFAULT_PLATFORM, PlatformArgs
from isthmus.platforms.rules import kind_of_server, with_platforms
from isthmus.platforms.served import Served
from isthmus.release.manifest import Release
from isthmus.resources import RetiredVersions
from isthmus.routing import answers_of, asking
from isthmus.sizing.advisor.advice import Advice
from isthmus.sizing.advisor.requirements import Mode
from isthmus.sizing.offload import Asking, Offload
from isthmus.words import in_bytes

# What an argument that only the other half needs is taken for where a mode has no such half: it is used for nothing.
_NOT_NEEDED: Mapping[str, Mapping[str, Any]] = {CLOUD: {"fleet": "-"}, EDGE: {"requests_per_second": 1, "p95_ms": 1000}}
# What is for devices that ask the cloud role; without one it says nothing.
_OF_ASKING = ("min_confidence", "max_device_error", "policy", "deadline_ms")
_NONE_FITS = "that no mode fits"


class HybridDeploymentArgs(SourceArgs, ServingArgs, RollingArgs, ModeArgs, PartitionArgs, PlatformArgs, total=False):
    """Both roles of one model. The devices' fallback is the cloud role, where `data` or `min_confidence` says that they may ask it."""


@dataclass(frozen=True)
class CheckedHybrid:
    """What `check` found of each half; None: the mode has none. advice: None where the program describes no situation. canary_percent: of
    the cloud role's plain requests, that a canary gets which leads the fleet; 0: none does."""

    mode: Mode
    cloud: CheckedService | None
    edge: CheckedRollout | None
    advice: Advice | None = None
    canary_percent: int = 0

    @property
    def goes_together(self) -> bool:
        """Whether a release comes to the cloud role beside the one before: always without a canary. One is promoted before the last wave,
        where there is a wave before that, and by its gate otherwise."""
        return not self.canary_percent or (self.edge is not None and len(self.edge.waves) > 1)


class HybridDeployment(pulumi.ComponentResource):
    """Both roles of one model, compiled once; or one of them, as `mode` says, or the advisor with `mode: auto`.

    A device answers by itself, and what it is asked stays there. With `min_confidence` (or `data: may_leave_device`) it asks the cloud
    role where its answer is less sure, or where it has none; while the cloud is away its own answer stands. With a `policy` the cloud role
    is asked first where that says so.

    Outputs:
        cloud, edge: the outputs of the two components that it is made of; empty for one that the mode has not.
        mode: `cloud`, `edge` or `hybrid`.
        reasons: why, in sentences with their figures, where the program describes its situation.
    """

    cloud: Output[dict[str, Any]]
    edge: Output[dict[str, Any]]
    mode: Output[str]
    reasons: Output[list[str]]

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
        beside = replace(known.cloud, keeps_before=known.goes_together) if known.cloud else None
        service = CloudModelService(cloud_part(name), {}, child, path=path, checked=beside) if beside else None
        devices = known.edge
        if devices and service and known.cloud and devices.settings.fallback_url is not None:
            settings = devices.settings.model_copy(update={"fallback_url": service.endpoint})
            devices = replace(devices, settings=settings, server_kind=kind_of_server(known.cloud.settings), same_version=True)
        if devices and service:
            devices = replace(devices, first=service.served.parts, cloud=_cloud_side(service.served, known.canary_percent))
            devices = replace(devices, promote=service.served.promote)
        fleet = EdgeFleetRollout(edge_part(name), {}, child, path=path, checked=devices) if devices else None
        if service and service.served.versions:
            _retire(name, service, fleet, child)
        self.cloud = _outputs(service, cloud.OUTPUTS)
        self.edge = _outputs(fleet, edge.OUTPUTS)
        self.mode = Output.from_input(known.mode)
        self.reasons = Output.from_input(list(known.advice.reasons) if known.advice else [])
        self.parts = (service, fleet)
        self._tell(known, service, fleet)
        if service and fleet:
            self._tell_steps(known.canary_percent, service, fleet)
        self.register_outputs({"cloud": self.cloud, "edge": self.edge, "mode": self.mode, "reasons": self.reasons})

    def _tell(self, known: CheckedHybrid, service: CloudModelService | None, fleet: EdgeFleetRollout | None) -> None:
        """Says what the advisor does, and again when the model has been measured, if that changes what it says."""
        advice = known.advice
        if advice is None:
            return
        pulumi.log.info(_lines(f"mode {known.mode}; the advisor says {advice.mode or _NONE_FITS}", advice), self)

        def compare(plans: list[Any]) -> None:
            if found := otherwise(advice, known.mode, measured_by(*plans)):
                said = f"mode {known.mode} is made; with what was measured the advisor says {found.mode or _NONE_FITS}"
                pulumi.log.warn(_lines(said, found), self)

        Output.all(service.plan if service else None, fleet.plan if fleet else None).apply(compare)

    def _tell_steps(self, canary_percent: int, service: CloudModelService, fleet: EdgeFleetRollout) -> None:
        """Says in which steps both sides go over to a release, and what the cloud role holds meanwhile."""

        def say(plans: list[Any]) -> None:
            if not (waves := plans[1].get("waves")):
                return
            keeps = bool(service.served.versions or canary_percent)
            said = together.lines(together.steps(canary_percent, waves, keeps_before=keeps))
            if service.served.versions:
                said.append(f"until the last step servers hold two models: of {in_bytes(plans[0]['size_bytes'])}, and the version before")
            pulumi.log.info("\n".join(said), self)

        Output.all(service.plan, fleet.plan).apply(say)


def _cloud_side(served: Served, canary_percent: int) -> dict[str, Any]:
    """What a fleet's waves are told of the same release in the cloud role."""
    if served.versions:
        return {"cloud_versions": served.versions}
    return {"cloud_split": served.split} if served.split and canary_percent else {}


def _retire(name: str, service: CloudModelService, fleet: EdgeFleetRollout | None, child: ResourceOptions) -> None:
    """Takes the versions before from the cloud role once the last wave has left them."""
    RetiredVersions(
        f"{name}-retired",
        **service.served.versions,
        passed=fleet.passed if fleet else True,
        opts=ResourceOptions.merge(child, ResourceOptions(depends_on=[*service.served.parts])),
    )


def check(name: str, args: object, path: str, sources: Sources | None = None) -> tuple[CheckedHybrid | None, list[Problem]]:
    """The checked arguments, and everything that can be seen to be wrong before anything is built. sources: that were found already."""
    given = args if isinstance(args, Mapping) else {}
    filler = _NOT_NEEDED.get(str(given.get("mode")), {})
    settings, problems = problems_of(with_platforms(HybridSettings), {**filler, **given} if filler else args, path)
    if settings is None:
        return None, problems
    sources = sources or Sources()
    service, wrong = (None, []) if settings.mode == EDGE else cloud.check(name, _part(CloudSettings, args, name), path, sources)
    fleet, more = (None, []) if settings.mode == CLOUD else edge.check(name, _edge_part(settings, args, name), path, sources)
    problems = list(dict.fromkeys([*problems, *wrong, *_placed(more, settings, path)]))  # both halves see the same source
    if (service is None and settings.mode != EDGE) or (fleet is None and settings.mode != CLOUD):
        return None, problems
    devices = len(fleet.fleet.devices) if fleet else 0
    advice, wrong = advice_of(settings, given.keys(), service.settings if service else None, devices, path)
    mode, more = _chosen(settings.mode, advice, f"{path}.situation")
    problems = [*problems, *wrong, *more]
    if problems or mode is None:
        return None, problems
    if fleet and mode == EDGE:
        if settings.leading():  # no canary leads a fleet without a cloud role
            fleet = edge.check(name, _part(EdgeSettings, args, name), path, sources)[0] or fleet
        fleet = _asking_nobody(fleet)
    fleet, service = (None if mode == CLOUD else fleet), (None if mode == EDGE else service)
    if service is not None and fleet is not None:
        service, fleet = _in_halves(service, fleet, settings.wanted(fleet.fleet))
    if service is not None:
        service, more = _asked_by(service, fleet, settings, path)
        problems = [*problems, *more]
    return CheckedHybrid(mode, service, fleet, advice, settings.leading_percent), problems


def _placed(problems: Sequence[Problem], settings: HybridSettings, path: str) -> list[Problem]:
    """The edge half's problems, where the program says what is wrong: what the canary says stands there."""
    moved = {f"{path}.{key}": f"{path}.canary.{key}" for key in settings.leading()}
    return [replace(it, path=moved.get(it.path, it.path)) for it in problems]


def _asking_nobody(fleet: CheckedRollout) -> CheckedRollout:
    """The fleet, as it is without a cloud role: its devices ask peers of their groups at most."""
    if fleet.settings.data == STAYS_IN_GROUP:
        return fleet
    none = {**dict.fromkeys((*_OF_ASKING, "fallback_url")), "share_counts": False}
    return replace(fleet, settings=fleet.settings.model_copy(update=none), policy=None)


def _in_halves(service: CheckedService, fleet: CheckedRollout, wanted: Wanted | None) -> tuple[CheckedService, CheckedRollout]:
    """Both, with the release's network split as the program wants it."""

    def split(it: Sought) -> Sought:
        return replace(it, request=replace(it.request, partition=wanted))

    return replace(service, sought=split(service.sought)), replace(fleet, sought={name: split(it) for name, it in fleet.sought.items()})


def _asked_by(
    service: CheckedService, fleet: CheckedRollout | None, settings: HybridSettings, path: str
) -> tuple[CheckedService, list[Problem]]:
    """The service, with what is known of the devices that may ask it; without any where there is no fleet."""
    known = settings.offload if fleet else None
    if fleet and settings.asks_cloud():
        known = known or OffloadSettings()
        # Of devices that were enrolled elsewhere the fleet file knows nothing.
        known = known if known.devices else known.model_copy(update={"devices": len(fleet.fleet.devices) or None})
        service = replace(service, asking=partial(_asking, fleet, known.pure()))
    elif known:
        what, fix = "the devices ask nobody", "add min_confidence or `data: may_leave_device`, or remove it"
        return service, [Problem(f"{path}.offload", what, fix=fix)]
    return replace(service, settings=service.settings.model_copy(update={"offload": known})), []


def _asking(fleet: CheckedRollout, offload: Offload, release: Release) -> Asking | None:
    """What devices with this release have the cloud role answer, first or because they are unsure; None: not known."""
    plan = measured_plan(fleet.settings, release)
    unsure = plan.rows[plan.chosen].share if plan else None
    if fleet.policy is None:
        return None if unsure is None else Asking(unsure)
    answers = answers_of(release, plan, fleet.settings.fallback_timeout_ms)
    return asking(fleet.policy, Counter(it.device_class for it in fleet.devices), answers, unsure or 0.0, offload)


def _chosen(mode: str, advice: Advice | None, path: str) -> tuple[Mode | None, list[Problem]]:
    """The mode that is said, or that the advisor says; what none keeps, where none fits."""
    if mode != AUTO:
        return cast(Mode, mode), []
    try:
        return (advice.require_mode(path) if advice else None), []
    except GateError as error:
        return None, [
            replace(it, fix="relax a promise, or say `mode` yourself; `isthmus advise` shows what would change it") for it in error.problems
        ]


def _lines(said: str, advice: Advice) -> str:
    return "\n".join([said, *(f"  {reason}" for reason in advice.reasons)])


def _outputs(part: CloudModelService | EdgeFleetRollout | None, names: tuple[str, ...]) -> Output[dict[str, Any]]:
    return Output.all(**{name: getattr(part, name) for name in names}) if part else Output.from_input({})


def _edge_part(settings: HybridSettings, args: Any, name: str) -> Any:
    """The fleet's arguments. Where there is a cloud role, that is whom devices ask, if they may; where there is none, they ask nobody. With
    a canary the release is the canary's."""
    part = _part(EdgeSettings, args, name)
    if settings.mode == EDGE and settings.data != STAYS_IN_GROUP:
        return {key: value for key, value in part.items() if key not in _OF_ASKING}
    return {**part, **settings.leading(), **({"fallback_url": "cloud"} if settings.asks_cloud() else {})}


def _part(model: type[SourceSettings], args: Any, name: str) -> Any:
    """The arguments that one half takes, served under the whole's name."""
    part = {"model_name": name, **{key: value for key, value in args.items() if key in with_platforms(model).model_fields}}
    return {**part, "platform": DEFAULT_PLATFORM} if model is EdgeSettings else part  # the agents run here, wherever the cloud role is
