"""From a rollout's policy file to the policies that travel with its releases, and what each brings."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from isthmus.arguments.components import EdgeSettings
from isthmus.arguments.fleet_file import FleetSettings
from isthmus.arguments.policy_file import PolicySettings, load_policy
from isthmus.errors import InputError, Problem, property_path
from isthmus.limits import DEADLINE_MS
from isthmus.migration.policy_file import policy_of
from isthmus.migration.situation import NOTHING_MEASURED, Answers
from isthmus.migration.study import Solved, solved
from isthmus.migration.together import Devices, asked_at_once
from isthmus.names import MAY_LEAVE_DEVICE, STAYS_IN_GROUP
from isthmus.offload.plan import OffloadPlan
from isthmus.release.manifest import EDGE, Release
from isthmus.sizing.offload import Asking, Offload
from isthmus.words import percent, plain
from isthmus_agent.formats.contents import ANY_CLASS
from isthmus_agent.formats.policy import CLOUD, DEVICE, THEN_CLOUD


@dataclass(frozen=True, eq=False)
class RoutePlan:
    """The policy of a class of devices. text: as it is signed. mean_ms, p95_ms: of the release, as measured here."""

    solved: Solved
    text: str
    mean_ms: float
    p95_ms: float

    def explain(self) -> str:
        """What it gains, where requests run, and how far its figures are from what was measured."""
        found, situation = self.solved, self.solved.built.situation
        device, worth = situation.device, situation.worth.wrong_answer_ms
        gains = [f"{percent(found.gain(name))} less than {name} ({plain(cost)} ms)" for name, cost in found.rivals.items()]
        shares = [f"{name} {percent(share)}" for name, share in found.shares.items()]
        wrong = [f"{name} {percent(it.error_rate)}" for name, it in situation.places.items()]
        return "\n".join(
            [
                f"a request costs {plain(found.cost)} ms: {', '.join(gains)}",
                f"in the long run: {', '.join(shares)}",
                *([f"wrong answers, each worth {plain(worth)} ms: {', '.join(wrong)}"] if worth else []),
                f"with the file's figures: {plain(device.service_ms)} ms on the device (p95 {plain(device.p95_ms)}); the release took "
                f"{plain(self.mean_ms)} ms (p95 {plain(self.p95_ms)}) where it was measured",
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
        }


@dataclass(frozen=True, eq=False)
class Policies:
    """A policy file, and the policies of its classes, each solved once however often it is asked for. where: its property path. reached: by
    class of devices, the classes of peers that their groups have."""

    settings: PolicySettings
    where: str
    reached: Mapping[str, frozenset[str]] = field(default_factory=dict)
    _found: dict[tuple[str, Answers], Solved] = field(default_factory=dict)

    def solved(self, device_class: str, measured: Answers = NOTHING_MEASURED) -> Solved | None:
        """Of a class, by its name or as any other; None: the file is for neither. Raises InputError where the process is not sound.

        With those peers alone that devices of the class may have in their group.
        """
        name = device_class if device_class in self.settings.factors else ANY_CLASS
        if name not in self.settings.factors:
            return None
        near = self.reached.get(device_class, frozenset())
        peers = {its: peer for its, peer in self.settings.peers.items() if its in near}
        measured = replace(measured, peers=tuple(it for it in measured.peers if it[0] in peers))
        key = (device_class, measured)
        if key not in self._found:
            reached = self.settings.model_copy(update={"peers": peers})
            try:
                self._found[key] = solved(device_class, reached.of_class(name, measured), self.settings.margin_ms)
            except InputError as error:
                raise _placed(error, self.where) from error
        return self._found[key]


def read_policy(args: EdgeSettings, fleet: FleetSettings, path: str) -> tuple[Policies | None, list[Problem]]:
    """The policy file of a rollout, where it names one, and what is wrong with it for this fleet. path: of the arguments, for messages."""
    if args.policy is None:
        return None, []
    where = f"{path}.policy"
    try:
        found = load_policy(args.policy, Path.cwd(), where)
    except InputError as error:
        return None, [*error.problems]
    problems = []
    reached = {name: fleet.peer_classes(name) for name in (ANY_CLASS, *fleet.classes)} if args.asks_peers() else {}
    if found.cloud is None and not any(name in it for name in found.peers for it in reached.values()):
        what = "has no `cloud`, and devices reach no other place"
        fix = "give the cloud's figures, or the fleet file's `groups` devices of the classes in `peers`; or remove `policy`"
        problems.append(Problem(where, what, "`cloud` with its figures", fix))
    if found.cloud is not None and args.data == STAYS_IN_GROUP:
        what, fix = f"contradicts `data: {args.data}`", f"remove it, or say {MAY_LEAVE_DEVICE}"
        problems.append(Problem(property_path([CLOUD], where), what, "peers alone", fix))
    if found.device_then_cloud is not None and args.min_confidence is None:
        what, fix = "devices pass nothing on: there is no `min_confidence`", "say `min_confidence: auto` beside the policy, or remove it"
        problems.append(Problem(property_path([THEN_CLOUD], where), what, "devices that pass on what they are not sure of", fix))
    if args.deadline_ms is not None and args.deadline_ms != deadline_of(found):
        what = f"found {args.deadline_ms:g}, and the policy is solved for another deadline ({found.deadline_ms:g})"
        problems.append(
            Problem(f"{path}.deadline_ms", what, "one deadline", "remove it: devices then keep the policy's; or change the file")
        )
    known = " or ".join(map(repr, fleet.classes)) or "no `classes`"
    problems += [
        Problem(property_path(["classes", name], where), "the fleet has no such class", known)
        for name in found.classes
        if name not in (ANY_CLASS, *fleet.classes)
    ]
    return Policies(found, where, reached), problems


def _placed(error: InputError, where: str) -> InputError:
    """The same, said of the policy file."""
    return InputError([Problem(where, str(it)) for it in error.problems])


def deadline_of(policy: PolicySettings) -> int:
    """What a rollout's `deadline_ms` is where it is not given: whole milliseconds, within the policy's."""
    return int(min(max(math.floor(policy.deadline_ms), DEADLINE_MS.least), DEADLINE_MS.most))


def answers_of(
    release: Release, passes_on: OffloadPlan | None, timeout_ms: float, peers: Mapping[str, Release] = MappingProxyType({})
) -> Answers:
    """How often a release's answers were wrong on the evaluation data; with nothing measured, nothing is known.

    Args:
        passes_on: the table of thresholds, with the one that devices go by; None: they pass nothing on, or nothing is known of it.
        timeout_ms: that devices wait for the cloud role.
        peers: what other devices serve, by class.
    """
    device, cloud = _wrong(release) or (None, None)
    near = tuple((name, it[0]) for name, other in peers.items() if (it := _wrong(other)))
    if passes_on is None:
        return Answers(device, cloud, peers=near, timeout_ms=timeout_ms)
    row = passes_on.rows[passes_on.chosen]
    return Answers(device, cloud, 1 - row.accuracy, row.share, near, timeout_ms)


def _wrong(release: Release) -> tuple[float, float] | None:
    """The shares of examples that the edge and the serving variant answer wrong; None: nobody counted."""
    measured = release.record.confidences
    if measured is None:
        return None
    groups = measured.groups
    examples = sum(it.examples for it in groups)
    return sum(it.serving + it.neither for it in groups) / examples, sum(it.edge + it.neither for it in groups) / examples


def route_plans(
    policies: Policies | None,
    releases: Mapping[str, Release],
    *,
    offload: Mapping[str, OffloadPlan] = MappingProxyType({}),
    timeout_ms: float = math.inf,
) -> dict[str, RoutePlan]:
    """By class of devices, of those that the file is for: by name, or as any other.

    Args:
        policies: None: there are none.
        releases: by class.
        offload: when devices pass on what they are not sure of, by class.
        timeout_ms: that devices wait for the cloud role.

    Raises:
        InputError: the process is not sound, no device could read the policy, or a wrong answer has a price and nobody knows how often
            there are some.
    """
    found: dict[str, RoutePlan] = {}
    if policies is None:
        return found
    for name, release in releases.items():
        its = policies.solved(name, answers_of(release, offload.get(name), timeout_ms, releases))
        if its is None:
            continue
        try:
            text = policy_of(its, release.digest).to_json().decode()
        except InputError as error:
            raise _placed(error, policies.where) from error
        timing = release.record.timing(EDGE)
        found[name] = RoutePlan(its, text, timing.mean_ms, timing.p95_ms)
    return found


def asking(policies: Policies, devices: Mapping[str, int], measured: Answers, unsure_share: float, offload: Offload) -> Asking:
    """What devices have the cloud role answer: in the long run, and, where it is known how many there are, at a quantile of their
    policies' own simulation.

    Raises InputError as `Policies.solved`.

    Args:
        devices: how many there are, by class; empty where that is not known: as many of each class that the file is for.
        unsure_share: of their requests, that they pass on where they do.
        offload: how many there are in all, how much alike they are in being unsure, and which quantile is asked for.
    """
    counts = devices or dict.fromkeys(policies.settings.factors, 1)
    found = {name: policies.solved(name, measured) for name in counts}
    whole = sum(counts.values())
    share = sum(count * _asked_share(found[name], unsure_share) for name, count in counts.items()) / whole
    if not offload.devices:
        return Asking(share)
    fleet = [Devices(found[name], count, unsure_share) for name, count in spread(offload.devices, counts).items()]
    at_once = asked_at_once(fleet, correlation=offload.correlation)
    return Asking(share, at_once.quantile(offload.quantile_percent), at_once.seconds)


def _asked_share(found: Solved | None, unsure_share: float) -> float:
    """The share of a class's requests that the cloud role answers, in the long run. found: None: devices without a policy."""
    if found is None:
        return unsure_share
    passing = THEN_CLOUD if THEN_CLOUD in found.built.process.places else DEVICE
    return min(1.0, found.requests_at(CLOUD) + found.requests_at(passing) * unsure_share)


def spread(devices: int, counts: Mapping[str, int]) -> dict[str, int]:
    """So many devices over the classes as they are spread now, by the largest remainder."""
    whole = sum(counts.values())
    exact = {name: devices * count / whole for name, count in counts.items()}
    found = {name: math.floor(it) for name, it in exact.items()}
    left = devices - sum(found.values())
    for name in sorted(exact, key=lambda it: (found[it] - exact[it], it))[:left]:
        found[name] += 1
    return found
