"""From a service's or a fleet's arguments and its release to the plan, and to what a stack shows of it."""

import math
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from isthmus.arguments.components import CloudSettings, EdgeSettings
from isthmus.arguments.fleet_file import ClassSettings, FleetSettings
from isthmus.errors import InputError, Problem
from isthmus.fleet.budgets import WaveTurns, budget_problems, figure, wave_turns
from isthmus.fleet.gates import WaveGate, plan_gates
from isthmus.fleet.waves import PlannedWave, plan_waves
from isthmus.limits import SCV
from isthmus.platforms.registry import PLATFORMS
from isthmus.platforms.rules import kind_of_server, named_servers
from isthmus.release.manifest import EDGE, SERVING, Release
from isthmus.sizing.classes import Choice, Offer, choose
from isthmus.sizing.fleet import FleetPlan, plan_fleet
from isthmus.sizing.headroom import Headroom
from isthmus.sizing.offload import Asking
from isthmus.sizing.rollout import Download, Pace, WavePlan, plan_wave
from isthmus.sizing.service import ServiceInputs, ServicePlan, plan_service
from isthmus.tflite.operators import operators
from isthmus.words import duration
from isthmus_agent.formats.contents import ANY_CLASS
from isthmus_agent.formats.numbers import MINUTE_SECONDS
from isthmus_agent.formats.pace import Pace as WavePace
from isthmus_agent.formats.roster import Device
from isthmus_agent.formats.turns import Budget

# The variance of fewer times than these says nothing; then, as without a measurement, times are taken as exponential.
LEAST_TIMES = 30
LOOK_SECONDS: Final = 60
"""How long after a device's word the gate has looked at it: as often as devices say that they live."""
# Of membership where that of the rollout is not known yet: how many devices a wave has does not depend on it, where waves add up.
_ANY_SALT: Final = "0" * 16


@dataclass(frozen=True)
class PlannedRollout:
    """The waves of a rollout and their gates. classes: of each wave, how many devices are of each class.

    turns: of each wave, by a budget; empty: there is none.
    """

    waves: tuple[PlannedWave, ...]
    gates: tuple[WaveGate, ...]
    classes: tuple[Mapping[str, int], ...]
    turns: tuple[WaveTurns, ...] = ()


def plan_of(args: CloudSettings, release: Release, path: str, asking: Asking | None = None) -> ServicePlan:
    """The plan for a release. Raises GateError where no plan keeps the objective.

    asking: what devices ask, where the arguments do not say.
    """
    return plan_service(inputs_of(args, release, asking), path)


def inputs_of(args: CloudSettings, release: Release, asking: Asking | None = None) -> ServiceInputs:
    """What the plan is computed from: the arguments, and what was measured where they do not say. asking: as in `plan_of`."""
    rate, scv, measured_on = _measured(args, release)
    fallback = args.edge_requests_per_second * args.headroom.offline_percent / 100
    headroom = Headroom(**args.headroom.model_dump(exclude={"offline_percent"}), fallback_requests_per_second=fallback)
    servers, offload = named_servers(args), args.offload.pure() if args.offload else None
    return ServiceInputs(
        requests_per_second=args.requests_per_second,
        p95_ms=args.p95_ms,
        service_rate_per_second=rate,
        scv=scv,
        measured_on=measured_on,
        min_replicas=args.min_replicas,
        max_replicas=args.max_replicas,
        headroom=headroom,
        edge_requests_per_second=args.edge_requests_per_second,
        speeds=tuple(speed for speed, _ in servers),
        kinds=tuple(kind for _, kind in servers) or (kind_of_server(args),),
        balancing=args.balancing,
        autoscale=PLATFORMS[args.platform].autoscale(args),
        prices=args.price_table(),
        offload=offload.asked_by(asking) if offload and asking and offload.unsure_share is None else offload,
    )


def _measured(args: CloudSettings, release: Release) -> tuple[float, float, str]:
    """μ of one server, the scv of its service time, and where they were measured (empty: the program's own figures)."""
    if args.profile.service_ms:
        return 1000 / args.profile.service_ms, 1.0 if args.profile.scv is None else args.profile.scv, ""
    timing = release.record.timing(SERVING)
    measured = min(timing.scv, SCV.most) if timing.requests >= LEAST_TIMES else 1.0
    return release.record.service_rate_per_second, measured if args.profile.scv is None else args.profile.scv, release.record.machine_class


def planned_rollout(args: EdgeSettings, roster: Sequence[Device], path: str, salt: str = _ANY_SALT) -> PlannedRollout:
    """The waves and gates of a rollout to these devices.

    What can be said without the roster was said when the arguments were checked. Raises InputError with everything else that is wrong:
    waves that bring the release to nobody or not to all, gates that can never pass or never abort, and waves that are too small.

    Args:
        salt: of the rollout's membership, where it is known.
    """
    devices = len(roster)
    if not devices:
        what, fix = "the fleet has no devices", "enrol one first (`isthmus fleet enrol`), or name some in the fleet file"
        raise InputError([Problem(f"{path}.fleet", what, "at least one device", fix)])
    waves, planned, problems = tuple[PlannedWave, ...](), tuple[WaveGate, ...](), list[Problem]()
    try:
        waves = plan_waves(args.wave_list(devices), roster, salt, f"{path}.waves")
        gates = args.gates(devices)
        sizes = [(wave.signed.name, len(wave.devices), gate) for wave, gate in zip(waves, gates, strict=True)]
        planned = plan_gates(sizes, f"{path}.waves")
    except InputError as error:
        problems += args.placed(error.problems, path)
    budget = args.budget_of()
    problems += budget_problems(budget, roster, [it.devices for it in waves], f"{path}.budget")
    if problems:
        raise InputError(problems)
    of = {device.name: device.device_class for device in roster}
    classes = tuple(Counter(of[name] for name in wave.devices) for wave in waves)
    turns = wave_turns(budget, roster, [it.devices for it in waves]) if budget else ()
    return PlannedRollout(waves, planned, classes, turns)


def foreseen_rollout(
    args: EdgeSettings, fleet: FleetSettings, path: str, roster: Sequence[Device] = (), salt: str = _ANY_SALT
) -> tuple[PlannedRollout | None, list[Problem]]:
    """What a preview can know of a rollout, and everything that is wrong with it.

    Args:
        roster: as it is signed; empty: where it cannot be read, the devices that the stack runs. Without those, too, nothing is planned.
    """
    problems = variant_problems(args, fleet, path)
    devices = roster or fleet.roster()
    try:
        return (planned_rollout(args, devices, path, salt) if devices else None), problems
    except InputError as error:
        return None, [*problems, *error.problems]


def variant_problems(args: EdgeSettings, fleet: FleetSettings, path: str) -> list[Problem]:
    """Variants for classes that the fleet does not have."""
    known = (ANY_CLASS, *fleet.classes)
    said = " or ".join(f'"{name}"' if name == ANY_CLASS else name for name in known)
    return [
        Problem(f"{path}{place}.class", f"the fleet file has no class {name!r}", said, "add it to its `classes`, or name another")
        for name, _, place in args.offered()
        if name not in known
    ]


def choose_variants(
    args: EdgeSettings, fleet: FleetSettings, releases: Mapping[str, Release], path: str, used: Collection[str] = ()
) -> tuple[Choice, ...]:
    """Which release the devices of each class get: of the fleet file's classes, then of every other where a variant is for those.

    Raises GateError where nothing that is offered to a class fits its devices.

    Args:
        releases: by recipe, one for each that `args.offered()` names.
        used: classes of devices that there are.
    """
    asked = any(it.operators is not None for it in fleet.classes.values())
    offers = [_offer(releases[recipe], name, f"{path}{place}", asks_operators=asked) for name, recipe, place in args.offered()]
    classes = [it.pure(name) for name, it in fleet.classes.items() if name != ANY_CLASS]
    if ANY_CLASS in (*fleet.classes, *used, *(offer.device_class for offer in offers)):
        classes.append(fleet.classes.get(ANY_CLASS, ClassSettings()).pure(ANY_CLASS))
    return choose(classes, offers, path, args.probation.max_p95_ms)


def downloads_of(choices: Sequence[Choice]) -> dict[str, Download]:
    """What one device of each class fetches, without deltas."""
    return {it.device_class: Download(it.offer.shipped_bytes) for it in choices}


def _offer(release: Release, device_class: str, place: str, *, asks_operators: bool) -> Offer:
    manifest, record = release.manifest, release.record
    variant = manifest.variant(EDGE)
    measured = next((it for it in record.candidates if it.recipe == variant.recipe and not it.problem), None)
    found = measured.operators if measured else ()
    if asks_operators and not found:  # of a release that an earlier version made
        found = operators(release.path(variant.files[0]).read_bytes())
    return Offer(
        device_class=device_class,
        digest=release.digest,
        recipe=variant.recipe,
        bundle_bytes=variant.size_bytes + manifest.golden.size_bytes + len(manifest.to_bytes()),
        shipped_bytes=(measured.shipped_bytes if measured else 0) or variant.size_bytes,
        memory_bytes=measured.peak_memory_bytes if measured else 0,
        operators=found,
        p95_ms=record.timing(EDGE).p95_ms,
        architecture=record.machine_class.partition(" ")[0],
        accuracy=variant.accuracy,
        place=place,
    )


def fleet_plan_of(
    args: EdgeSettings,
    devices: int,
    release: Release,
    path: str,
    *,
    rollout: PlannedRollout | None = None,
    choices: Sequence[Choice] = (),
    downloads: Mapping[str, Download] | None = None,
) -> FleetPlan:
    """What the fleet costs, and what its rollout will do. What a store of the stack's own ships never leaves this machine, and is free.

    Args:
        rollout: None: no waves are shown.
        choices: what each class gets; empty: the release for all.
        downloads: what one device of a class fetches, `*` for every other class, where more is known than the releases' records say.
    """
    variant, timing = release.manifest.variant(EDGE), release.record.timing(EDGE)
    shipped = {it.recipe: it.shipped_bytes for it in release.record.candidates if not it.problem}
    prices = args.price_table()
    prices = prices if args.store else replace(prices, per_gigabyte_shipped=0.0)
    bundle_bytes = shipped.get(variant.recipe) or variant.size_bytes
    fetched = {ANY_CLASS: Download(bundle_bytes), **downloads_of(choices), **(downloads or {})}
    waves = _wave_plans(args, rollout, fetched, prices.per_gigabyte_shipped) if rollout else ()
    plan = plan_fleet(
        devices,
        p50_ms=timing.p50_ms,
        p95_ms=timing.p95_ms,
        bundle_bytes=round(sum(wave.full_bytes for wave in waves) / sum(wave.devices for wave in waves)) if waves else bundle_bytes,
        releases_per_month=args.releases_per_month,
        prices=prices,
        path=path,
    )
    return replace(plan, waves=waves, choices=tuple(choices))


def _wave_plans(
    args: EdgeSettings, rollout: PlannedRollout, downloads: Mapping[str, Download], price_per_gigabyte: float
) -> tuple[WavePlan, ...]:
    found, budget = [], args.budget_of()
    for index, (wave, gate, classes) in enumerate(zip(rollout.waves, rollout.gates, rollout.classes, strict=True)):
        its = wave.signed.pace
        turns = rollout.turns[index] if rollout.turns else WaveTurns(1, gate.devices, gate.devices)
        unreported = min(_unreported(args, gate.devices, its), turns.at_once)
        pace = Pace(
            args.device_megabits_per_second,
            args.probation.seconds,
            gate.gate.soak_seconds,
            float(args.longest_wait_seconds()),
            float(its.seconds) if its else 0.0,
            turns.turns,
        )
        fetched = [(count, downloads.get(name, downloads[ANY_CLASS])) for name, count in classes.items()]
        hurt, said = gate.most_hurt(unreported=unreported), gate.explain(unreported)
        said += f"; {its.most_per_minute:,} begin in a minute at most, the last after {duration(its.seconds)}" if its else ""
        said += f"; {_turns_text(budget, turns)}" if budget else ""
        found.append(plan_wave(wave.signed.name, fetched, pace, price_per_gigabyte=price_per_gigabyte, most_hurt=hurt, gate=said))
    return tuple(found)


def _turns_text(budget: Budget, its: WaveTurns) -> str:
    """Such as `2 with the same site at once, 8 in all: 5 turns at the least`."""
    turns = f"{its.turns:,} turn{'' if its.turns == 1 else 's'} at the least"
    return f"{figure(budget)} with the same {budget.label} at once, {its.at_once:,} in all: {turns}"


def _unreported(args: EdgeSettings, devices: int, pace: WavePace | None) -> int:
    """How many of a wave's devices may have begun before the first of them have said how it goes: all, unless a window or a pace spreads
    them."""
    seconds = args.probation.seconds + LOOK_SECONDS
    jitter = args.window.jitter_seconds if args.window else 0
    most = math.ceil(devices * min(1.0, seconds / jitter)) if jitter else devices
    # Without a window: those who waited for it begin together, however their downloads were spread.
    return min(most, pace.most_per_minute * (math.ceil(seconds / MINUTE_SECONDS) + 1)) if pace and not args.window else most


def shown(plan: ServicePlan | FleetPlan, release: Release, kind: str) -> dict[str, Any]:
    """The component's output `plan`: the plan, and what its row in the table needs of the release's variant of that kind."""
    variant, metric = release.manifest.variant(kind), release.record.metric
    known = {"accuracy": variant.accuracy} if variant.accuracy is not None else {}
    return {
        **plan.output(),
        **known,
        "metric": metric,
        "evaluation_examples": release.manifest.evaluation_examples,
        "size_bytes": variant.size_bytes,
        "recipe": variant.recipe,
        "measured_on": release.record.machine_class,
    }
