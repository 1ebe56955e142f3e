"""EdgeFleetRollout: a signed bundle brought to every device of a fleet."""

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Optional, cast

import pulumi
from pulumi import Input, Output, ResourceOptions

from isthmus import compiling
from isthmus.arguments.checking import problems_of
from isthmus.arguments.components import EdgeSettings
from isthmus.arguments.fleet_file import FleetSettings, load_fleet
from isthmus.arguments.rolling import RollingArgs
from isthmus.arguments.source import SourceArgs
from isthmus.compiling import Sought, Sources
from isthmus.errors import InputError, IsthmusError, Problem, SourceError
from isthmus.fleet.gates import Gate
from isthmus.fleet.waves import Wave
from isthmus.grouping import SeenExamples, group_plans, read_group, tell
from isthmus.names import WAVE_PASSED, program
from isthmus.offloading import offload_plans
from isthmus.parting import explained_ways, signed_halves
from isthmus.planning import PlannedRollout, choose_variants, fleet_plan_of, foreseen_rollout
from isthmus.platforms.fleet_place import FleetPlace, access_secret
from isthmus.platforms.local import desired as local
from isthmus.platforms.local.declare import loopback_url
from isthmus.platforms.local.settings import LocalArgs
from isthmus.platforms.rosters import downloads, signed_roster
from isthmus.platforms.rules import with_platforms
from isthmus.release.manifest import EDGE, Release
from isthmus.resources import FleetRepository, FleetWave, LocalDevices, LocalProcesses
from isthmus.rolled import Planned
from isthmus.routing import Policies, deadline_of, read_counts, read_policy, route_plans
from isthmus_agent.formats.bundle import AS_SIGNED, GROUP, HALVES, MIN_CONFIDENCE, POLICY
from isthmus_agent.formats.roster import Device


class EdgeFleetRolloutArgs(SourceArgs, RollingArgs, total=False):
    """A model on a fleet of devices. fallback_url: whom a device asks when it is not sure."""

    local: Input[LocalArgs]
    fallback_url: Input[str]


@dataclass(frozen=True)
class CheckedRollout:
    """What `check` found: the arguments, the model's source, and the fleet.

    sought: by recipe, of each variant that is offered. devices: as far as they are known. rollout: None where none is. policy: the file's
    policies; None: there is none. seen: what a group's views show. server_kind: of the cloud role's servers, where devices may ask it;
    empty: not known. same_version: whom devices ask serves the versions that they do. first: what must be there before a wave opens.
    cloud: of `FleetWave`, where the same release is in the cloud role. promote: declares what the last wave waits for beside the wave
    before it; None: nothing.
    """

    settings: EdgeSettings
    sought: Mapping[str, Sought]
    fleet: FleetSettings
    devices: Sequence[Device]
    rollout: PlannedRollout | None = None
    policy: Policies | None = None
    seen: SeenExamples | None = None
    server_kind: str = ""
    same_version: bool = False
    first: Sequence[pulumi.Resource] = ()
    cloud: Mapping[str, Any] = field(default_factory=dict)
    promote: Callable[[Sequence[pulumi.Resource]], pulumi.Resource] | None = None

    @property
    def waves(self) -> Sequence[Wave]:
        """From the first to the last."""
        return self.settings.wave_list(len(self.fleet.devices))

    @property
    def gates(self) -> Sequence[Gate]:
        """Of each wave."""
        return self.settings.gates(len(self.fleet.devices))

    @property
    def is_split(self) -> bool:
        """Whether its network is split between devices and cloud role, where that is worth it."""
        return any(it.request.partition is not None for it in self.sought.values())

    @property
    def model_name(self) -> str:
        """The name that devices serve it under."""
        return next(iter(self.sought.values())).request.model


class EdgeFleetRollout(pulumi.ComponentResource):
    """A model on a fleet of devices.

    At preview the model is compiled and measured. The bundle (TFLite file, manifest, golden vectors) goes into the fleet's signed
    repository; wave by wave devices fetch it, verify it, test it, switch, and say how it goes.

    Outputs:
        devices: device → base URL of its REST server, of the devices that run on this machine.
        digest: of the release that is rolled out.
        number: of the assignment that the devices follow.
        waves: name, outcome and number of confirmed devices of each.
        confirmed: how many devices serve it.
        root_sha256: of the root metadata that devices are enrolled with.
        plan: what was measured, and what shipping costs a month.
    """

    devices: Output[dict[str, str]]
    digest: Output[str]
    number: Output[int]
    waves: Output[list[dict[str, Any]]]
    confirmed: Output[int]
    root_sha256: Output[str]
    model_name: Output[str]
    plan: Output[dict[str, Any]]

    # Optional[...] rather than `|`: Pulumi's component analyzer reads these annotations.
    def __init__(
        self,
        name: str,
        args: EdgeFleetRolloutArgs,
        opts: Optional[ResourceOptions] = None,  # noqa: UP045
        *,
        path: str = "",
        checked: Optional[CheckedRollout] = None,  # noqa: UP045
    ) -> None:
        """checked: what `check` made of the arguments, where that was done already; path: of the arguments, for messages."""
        super().__init__("isthmus:index:EdgeFleetRollout", name, {}, opts)
        path = path or f"fleets.{name}"
        known = checked or compiling.sound(*check(name, args, path))
        settings = known.settings
        made = [
            compiling.start(self, settings.model_copy(update={"recipe": recipe}), sought, path, partial(_described, path=path))
            for recipe, sought in known.sought.items()
        ]
        place = FleetPlace.of(settings, known.fleet)
        # Where the store is not known before an update, the plan is all the same; and nothing secret is part of it.
        where: Output[Any] = Output.from_input(cast(Any, Output.from_input(place.inputs).future()))
        planned: Output[Planned] = Output.all(where, *(it.release for it in made)).apply(partial(_planned, self, known, path))

        repository = FleetRepository(
            f"{name}-repository",
            **place.inputs,
            make_keys=settings.keys is None,
            check_at_preview=settings.store is not None,
            opts=ResourceOptions(parent=self, depends_on=place.ready),
        )
        here = self._devices_here(name, known, place, repository) if known.fleet.devices else {}
        what = {"releases": planned.apply(lambda it: it.releases), "cache_directory": made[0].cache_directory}
        if settings.seeks_confidence:
            what["min_confidence"] = planned.apply(lambda it: it.min_confidence)
        if known.policy:
            what["policies"] = planned.apply(lambda it: it.policies)
        if known.seen:
            what["groups"] = planned.apply(lambda it: {name: its.signed for name, its in it.groups.items()})
        if known.is_split:
            what["halves"] = planned.apply(lambda it: it.halves)
        waves = self._waves(name, known, {**place.inputs, **what}, [repository, *here.values(), *known.first])

        # Of none, `all` makes a list.
        self.devices = Output.all(**{device: loopback_url(process.endpoints) for device, process in here.items()}).apply(dict)
        self.digest = planned.apply(lambda it: it.main.digest)
        self.number = waves[-1].number
        self.waves = Output.all(*(Output.all(name=it.name, outcome=it.outcome, confirmed=it.confirmed) for it in waves))
        self.confirmed = Output.all(*(it.confirmed for it in waves)).apply(sum)
        self.passed = waves[-1].outcome.apply(lambda outcome: outcome == WAVE_PASSED)
        self.root_sha256 = repository.root_sha256
        self.model_name = Output.from_input(known.model_name)
        self.plan = planned.apply(lambda it: it.output())
        self.register_outputs({output: getattr(self, output) for output in OUTPUTS})

    def _devices_here(self, name: str, known: CheckedRollout, place: FleetPlace, repository: FleetRepository) -> dict[str, LocalProcesses]:
        """The devices that run on this machine: enrolled, and started."""
        settings, fleet, stack = known.settings, known.fleet, place.stack
        stack.claim({f"{name}, device {device.name}": device.port for device in fleet.devices})
        enrolled = LocalDevices(
            f"{name}-devices",
            **place.inputs,
            directory=str(stack.directory / "fleets" / fleet.name / "devices"),
            devices=[{"name": it.name, "class": it.device_class, "labels": dict(it.labels)} for it in fleet.roster()],
            identities=place.identities,
            samples=None if settings.samples is None else {"labels": dict(settings.samples.labels)},
            access=None if settings.device_access is None else access_secret(settings.device_access.model_dump()),
            opts=ResourceOptions(parent=self, depends_on=[repository]),
        )
        groups = stack.broker(name, fleet.groups, self) if fleet.groups else None
        told = Output.all(enrolled.folders, enrolled.marks, settings.fallback_url or "", groups.told if groups else None)
        return {
            device.name: stack.processes(
                f"{name}-{device.name}",
                local.device(program(name, device.name), device.port),
                apart=_device_inputs(known, device.name, told),
                parent=self,
                depends_on=[enrolled, *([groups.process] if groups else [])],
            )
            for device in fleet.devices
        }

    def _waves(self, name: str, known: CheckedRollout, inputs: Mapping[str, Any], first: list[pulumi.Resource]) -> list[FleetWave]:
        """Each opens when the gate of the one before it has passed."""
        settings, found, after = known.settings, [], first
        window, budget = settings.window_of(), settings.budget_of()
        waves = [{**_written(wave), "gate": _written(gate)} for wave, gate in zip(known.waves, known.gates, strict=True)]
        for index in range(len(waves)):
            if known.promote and index == len(waves) - 1:
                after = [*after, known.promote(after)]
            wave = FleetWave(
                f"{name}-wave-{index + 1}",
                **inputs,
                waves=waves,
                wave=index,
                probation=_written(settings.probation_of()),
                window=_written(window) if window else None,
                encrypt=settings.encrypt,
                budget=_written(budget) if budget else None,
                samples=settings.samples.signed().to_value() if settings.samples else None,
                counts=settings.share_counts or None,
                **known.cloud,
                wait=settings.wait,
                opts=ResourceOptions(parent=self, depends_on=after),
            )
            found.append(wave)
            after = [*first, wave]
        return found


# What a stack shows of a fleet.
OUTPUTS = ("devices", "digest", "number", "waves", "confirmed", "root_sha256", "model_name", "plan")


def check(name: str, args: object, path: str, sources: Sources | None = None) -> tuple[CheckedRollout | None, list[Problem]]:
    """The checked arguments, and everything that can be seen to be wrong before anything is built. sources: that were found already."""
    settings, problems = problems_of(with_platforms(EdgeSettings), args, path)
    if settings is None:
        return None, problems
    sources = sources or Sources()
    recipes = dict.fromkeys(recipe for _, recipe, _ in settings.offered())
    sought = {it: sources.find(settings.model_copy(update={"recipe": it}), settings.model_name or name, path) for it in recipes}
    problems = [*dict.fromkeys([*problems, *(problem for it in sought.values() for problem in it.problems)])]  # of one source
    try:
        fleet = load_fleet(settings.fleet, Path.cwd(), f"{path}.fleet")
    except InputError as error:
        return None, [*problems, *error.problems]
    wrong = [*_elsewhere(settings, fleet, path)]
    devices = fleet.roster() if fleet.devices or problems or wrong else signed_roster(settings, fleet.name)
    rollout, more = foreseen_rollout(settings, fleet, path, devices)
    policy, unsound = read_policy(settings, fleet, path)
    if policy and settings.deadline_ms is None:  # what the policy was solved for is what devices keep
        settings = settings.model_copy(update={"deadline_ms": deadline_of(policy.settings)})
    seen, unlike = read_group(settings, fleet, path)
    problems = [*problems, *more, *wrong, *unsound, *unlike]
    return CheckedRollout(settings, sought, fleet, devices, rollout, policy, seen), problems


def _elsewhere(settings: EdgeSettings, fleet: FleetSettings, path: str) -> Iterator[Problem]:
    """What has to be said of a store that is not the stack's own."""
    if settings.store is None:
        return
    if settings.keys is None:
        what, fix = "nobody says who signs in a store of your own", f"isthmus keys init {fleet.name} --keys keys, then `keys: keys`"
        yield Problem(f"{path}.keys", what, "the folder of a key ring", fix)
    if fleet.devices and settings.device_access is None:
        what = f"nobody says by which credentials the {len(fleet.devices)} devices of this machine reach the store"
        fix = "`isthmus fleet access` shows what they have to allow"
        yield Problem(f"{path}.device_access", what, "access_key and secret_key", fix)


def _described(release: Release, path: str) -> tuple[Release, str]:
    if not release.manifest.has(EDGE):  # one that is named by its digest
        what = f"release {release.digest} was compiled for servers alone, and devices need an edge variant (.tflite)"
        fix = "compile the model with another recipe, or serve the release with CloudModelService"
        raise SourceError([Problem(f"{path}.model", what, "a release with an edge variant", fix)])
    return release, compiling.describe(release, EDGE)


async def _planned(component: pulumi.Resource, known: CheckedRollout, path: str, found: Sequence[Any]) -> Planned:
    """What each class of devices gets, and the plan; said on the component's row. found: inputs of the fleet's resources, None where they
    are not known; then the releases that were made."""
    (place, *made), settings, fleet = found, known.settings, known.fleet
    releases = dict(zip(known.sought, made, strict=True))
    try:
        choices = choose_variants(settings, fleet, releases, path, {device.device_class for device in known.devices})
        main = next(it for it in made if it.digest == choices[-1].offer.digest)
        said = choices if settings.variants or fleet.classes else ()
        chosen = {it.device_class: it.offer.digest for it in choices}
        with closing(compiling.Progress(component)) as say:
            if settings.share_counts:
                say("what devices have told")
            digests = {it.digest: it for it in made}
            wanted = {name: digests[digest] for name, digest in chosen.items()}
            offload = offload_plans(settings, wanted, path, known.server_kind)
            counts = await asyncio.to_thread(read_counts, settings, fleet.name, place)
            routes = route_plans(known.policy, wanted, counts.documents, offload=offload, timeout_ms=settings.fallback_timeout_ms)
            groups = await asyncio.to_thread(group_plans, settings, known.seen, wanted, path)
            halves = {name: text for name, it in wanted.items() if known.is_split and (text := signed_halves(it)) is not None}
            say("what devices will fetch")
            values: dict[str, dict[str, Any]] = {name: {POLICY: it.text} for name, it in routes.items()}
            for name, group in groups.items():
                values.setdefault(name, {})[GROUP] = group.signed
            for name, text in halves.items():
                values.setdefault(name, {})[HALVES] = text
            for name, it in offload.items() if settings.seeks_confidence else ():
                values.setdefault(name, {})[MIN_CONFIDENCE] = it.min_confidence
            fetched = await asyncio.to_thread(downloads, fleet.name, place, wanted, encrypt=settings.encrypt, gate_values=values)
        plan = fleet_plan_of(settings, len(known.devices), main, path, rollout=known.rollout, choices=said, downloads=fetched)
    except IsthmusError as error:
        raise pulumi.RunError(str(error)) from None
    pulumi.log.info(plan.explain(), component)
    for digest in dict.fromkeys(chosen[name] for name in offload):
        classes = [name for name in offload if chosen[name] == digest]
        pulumi.log.info(f"asking the cloud role ({', '.join(classes)}): {offload[classes[0]].explain()}", component)
    if counts.warning:
        pulumi.log.warn(counts.warning, component)
    for name, route in routes.items():
        pulumi.log.info(f"policy {known.settings.policy} ({name}): {route.explain()}", component)
    tell(groups, lambda text: pulumi.log.info(text, component), lambda text: pulumi.log.warn(text, component))
    if known.is_split:
        pulumi.log.info(explained_ways(main), component)
    return Planned(plan, chosen, main, offload, routes, groups, halves)


def _written(value: Any) -> dict[str, Any]:
    """A value as a resource's input: what is not said is left out."""
    return {name: it for name, it in asdict(value).items() if it is not None and it not in ("", (), {})}


def _group(known: CheckedRollout, device: str, broker: Mapping[str, Any]) -> local.GroupAsked:
    """One device's group. broker: as `Groups.told` has it."""
    settings, name = known.settings, known.fleet.group_of(device) or ""
    return local.GroupAsked(
        name,
        int(broker["port"]),
        broker["certificate"],
        broker["passwords"][name][device],
        settings.asks_peers(),
        settings.fallback_timeout_ms,
        settings.deadline_ms,
    )


def _device_inputs(known: CheckedRollout, device: str, told: Output[list[Any]]) -> dict[str, Any]:
    """One device's files, and what makes it start anew when it was enrolled anew."""
    settings = known.settings

    def files(values: list[Any]) -> dict[str, str]:
        folders, _, fallback_url, broker = values
        least = AS_SIGNED if settings.seeks_confidence else settings.min_confidence
        asked = local.CloudAsked(
            fallback_url,
            least,
            settings.fallback_timeout_ms,
            settings.deadline_ms,
            known.same_version,
            known.policy is not None,
            known.is_split,
        )
        group = _group(known, device, broker) if broker and known.fleet.group_of(device) else None
        return local.device_files(local.DeviceConfig(folders[device], known.model_name, asked if fallback_url else None, group))

    return {"files": told.apply(files), "environment": told.apply(lambda values: {local.ENROLMENT_MARK: values[1][device]})}
