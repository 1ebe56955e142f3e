"""From a rollout's policy file to the policies that travel with its releases, and what each brings."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from isthmus.arguments.components import EdgeSettings
from isthmus.arguments.fleet_file import FleetSettings
from isthmus.arguments.policy_file import PolicySettings, load_policy
from isthmus.errors import InputError, Problem, property_path
from isthmus.migration.learning.relearning import Documents, Learned, documents
from isthmus.migration.learning.relearning import learned as learned_from
from isthmus.migration.policy_file import policy_of
from isthmus.migration.situation import Situation
from isthmus.migration.study import Solved, solved, solved_of
from isthmus.pages.learned import lines
from isthmus.platforms.rosters import told_counts
from isthmus.release.manifest import EDGE, Release
from isthmus.repository.counts import MOST_DEVICES
from isthmus.words import percent, plain
from isthmus_agent.formats.contents import ANY_CLASS
from isthmus_agent.formats.policy import CLOUD


@dataclass(frozen=True)
class Counts:
    """What a preview has read of what devices have told. documents: None: nothing, and the file's own figures hold. warning: what of it
    could not be read, or why nothing could; empty: nothing is to be said."""

    documents: Documents | None = None
    warning: str = ""


@dataclass(frozen=True, eq=False)
class RoutePlan:
    """The policy of a class of devices. text: as it is signed. mean_ms, p95_ms: of the release, as measured here. learned: what devices'
    counts change; None: nobody has asked for them, or they could not be read."""

    solved: Solved
    text: str
    mean_ms: float
    p95_ms: float
    learned: Learned | None = None

    def explain(self) -> str:
        """What it gains, where requests run, and how far its figures are from what was measured."""
        found, device = self.solved, self.solved.built.situation.device
        gains = [f"{percent(found.gain(name))} less than {name} ({plain(cost)} ms)" for name, cost in found.rivals.items()]
        shares = [f"{name} {percent(share)}" for name, share in found.shares.items()]
        return "\n".join(
            [
                f"a request costs {plain(found.cost)} ms: {', '.join(gains)}",
                f"in the long run: {', '.join(shares)}",
                f"with the file's figures: {plain(device.service_ms)} ms on the device (p95 {plain(device.p95_ms)}); the release took "
                f"{plain(self.mean_ms)} ms (p95 {plain(self.p95_ms)}) where it was measured",
                *([f"{what}: {much}" for what, much in lines(self.learned)] if self.learned else []),
            ]
        )

    def output(self) -> dict[str, Any]:
        """For the component's output `plan`, of JSON's types alone."""
        found = self.solved
        return {
            "cost_ms": round(found.cost, 4),
            "rivals_ms": {name: round(cost, 4) for name, cost in found.rivals.items()},
            "shares": {name: round(share, 6) for name, share in found.shares.items()},
            "bytes": len(self.text),
            **({"learned": self.learned.data()} if self.learned else {}),
        }


def read_policy(args: EdgeSettings, fleet: FleetSettings, path: str) -> tuple[PolicySettings | None, list[Problem]]:
    """The policy file of a rollout, where it names one, and what is wrong with it for this fleet. path: of the arguments, for messages."""
    if args.policy is None:
        return None, []
    where = f"{path}.policy"
    try:
        found = load_policy(args.policy, Path.cwd(), where)
    except InputError as error:
        return None, [*error.problems]
    problems = []
    if found.cloud is None:
        what, fix = "has no `cloud`, and devices reach no other place", "give the cloud's figures, or remove `policy`"
        problems.append(Problem(where, what, "`cloud` with its figures", fix))
    known = " or ".join(map(repr, fleet.classes)) or "no `classes`"
    problems += [
        Problem(property_path(["classes", name], where), "the fleet has no such class", known)
        for name in found.classes
        if name not in (ANY_CLASS, *fleet.classes)
    ]
    return found, problems


def read_counts(args: EdgeSettings, fleet: str, place: Mapping[str, Any] | None) -> Counts:
    """What the fleet's devices have told, where the rollout asks for it. Never raises IsthmusError: without, the file's own figures hold.

    Args:
        place: inputs of the fleet's resources; None: they are not all known yet.
    """
    if not args.share_counts or args.policy is None:
        return Counts()
    found, why = told_counts(fleet, place)
    if found is None:
        return Counts(None, f"what devices have counted could not be read ({why}), so the policy file's own figures hold")
    told = documents(found.contents)
    told = replace(told, broken={**told.broken, **found.broken})
    left = f"{found.left_out:,} devices beyond the first {MOST_DEVICES:,} were not asked" if found.left_out else ""
    return Counts(told, "; ".join(it for it in (told.warning, left) if it))


def routed_share(policy: PolicySettings, devices: Mapping[str, int]) -> float:
    """The share of the devices' requests, 0 to 1, that the cloud role is asked first, in the long run: each device asks as its class does.

    Raises InputError where the process is not sound.

    Args:
        devices: how many there are, by class; empty where that is not known: as many of each class that the file is for.
    """
    situations = policy.situations()
    counts = devices or dict.fromkeys(situations, 1)
    shares = {name: _solved(policy, name, it).requests_at(CLOUD) for name, it in situations.items()}
    of = {name: shares.get(name, shares.get(ANY_CLASS, 0.0)) for name in counts}
    return sum(count * of[name] for name, count in counts.items()) / sum(counts.values())


def route_plans(
    policy: PolicySettings | None, releases: Mapping[str, Release], path: str, told: Documents | None = None
) -> dict[str, RoutePlan]:
    """By class of devices, of those that the file is for: by name, or as any other.

    Args:
        policy: None: there is none.
        releases: by class.
        path: property path of the arguments, for messages.
        told: what devices have counted; None: the file's own figures hold.

    Raises:
        InputError: the process is not sound, or no device could read the policy.
    """
    situations = policy.situations() if policy else {}
    found: dict[str, RoutePlan] = {}
    for name, release in releases.items():
        situation = situations.get(name, situations.get(ANY_CLASS))
        if policy is None or situation is None:
            continue
        timing = release.record.timing(EDGE)
        try:
            its, learned = _relearned(policy, _solved(policy, name, situation), told)
            text = policy_of(its, release.digest).to_json().decode()
        except InputError as error:
            raise InputError([Problem(f"{path}.policy", str(it)) for it in error.problems]) from error
        found[name] = RoutePlan(its, text, timing.mean_ms, timing.p95_ms, learned)
    return found


def _solved(policy: PolicySettings, name: str, situation: Situation) -> Solved:
    """Without peers: a device's server reaches the cloud role alone."""
    return solved(name, replace(situation, peers=None), policy.margin_ms)


def _relearned(policy: PolicySettings, planned: Solved, told: Documents | None) -> tuple[Solved, Learned | None]:
    """The policy of a class as its devices' counts have it, and what they change."""
    if told is None:
        return planned, None
    knowledge = learned_from(planned.built, planned.device_class, told)
    found = solved_of(planned.device_class, knowledge.built, policy.margin_ms) if knowledge.devices else planned
    return found, Learned.of(planned, found, knowledge)
