"""A whole stack's plan as it is deployed, from the outputs of its components, and what a scenario does to it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from isthmus.errors import InputError, Problem
from isthmus.sizing.asking.explain import Explanation, explain_fleet, explain_service
from isthmus.sizing.asking.table import CLOUD, EDGE, Row, rows_of
from isthmus.sizing.asking.what_if import Answer, CurvePoint, Scenario, ask, curve
from isthmus.sizing.service import ServiceInputs, ServicePlan, plan_service
from isthmus.words import money

Components = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class ServiceNow:
    """A deployed service: its plan, what a scenario does to it, and its curve in that scenario."""

    plan: ServicePlan
    answer: Answer
    curve: tuple[CurvePoint, ...]
    explanations: tuple[Explanation, ...]


@dataclass(frozen=True)
class StackPlan:
    """rows: of the table. services, fleets: by name. waves: of each fleet's rollout, as the output `plan` has them."""

    name: str
    rows: tuple[Row, ...]
    services: Mapping[str, ServiceNow]
    fleets: Mapping[str, tuple[Explanation, ...]]
    scenario: Scenario
    waves: Mapping[str, tuple[Mapping[str, Any], ...]] = field(default_factory=dict)


def stack_plan(
    name: str, services: Mapping[str, Mapping[str, Any]], fleets: Mapping[str, Mapping[str, Any]], scenario: Scenario
) -> StackPlan:
    """The plan of what is deployed.

    Args:
        services, fleets: name → outputs of the component.

    Raises:
        InputError: outputs of another version, or a scenario that no service of the stack knows enough for.
        GateError: the arithmetic of this version refuses a plan that was deployed.
    """
    rows = rows_of(services, fleets)
    known = {role: sorted(row.name for row in rows if row.role == role) for role in (CLOUD, EDGE)}
    old = [key for role, items in ((CLOUD, services), (EDGE, fleets)) for key in items if key not in known[role]]
    if old:
        what = "were deployed by a version of Isthmus that kept no plan"
        raise InputError([Problem("", f"{', '.join(sorted(set(old)))} {what}", "a plan in the stack's outputs", "run `pulumi up` once")])
    plans = {key: plan_service(ServiceInputs.from_json(services[key]["plan"].get("inputs") or {}, key), key) for key in known[CLOUD]}
    if scenario.offline_percent and not any(plan.inputs.edge_requests_per_second for plan in plans.values()):
        what = "no service knows what its devices are asked, so that a share of it cannot be told"
        raise InputError([Problem("--what-if", what, "edge_requests_per_second", "give it to the service in the stack file")])
    return StackPlan(
        name,
        tuple(rows),
        {
            key: ServiceNow(
                plan,
                ask(plan, scenario, key),
                tuple(curve(plan, scenario)),
                tuple(explain_service(plan, services[key]["plan"])),
            )
            for key, plan in plans.items()
        },
        {key: tuple(explain_fleet(fleets[key]["plan"])) for key in known[EDGE]},
        scenario,
        {key: tuple(fleets[key]["plan"].get("waves") or ()) for key in known[EDGE]},
    )


def answer_lines(answer: Answer, asked: bool) -> list[str]:
    """An answer in words: what is left does, how much it carries, and what would keep the objective."""
    rate, left = f"{answer.requests_per_second:g} requests/s", f"{answer.serving} of {answer.of} servers"
    if not answer.serving:
        first = f"none of {answer.of} servers is left"
    elif answer.p95_ms is None:
        first = f"{left} cannot keep up with {rate}"
    else:
        verdict = "keeps" if answer.kept else "misses"
        first = f"{left} at {rate}: load {answer.utilisation:.0%}, p95 {answer.p95_ms:.1f} ms {verdict} the objective of "
        first += f"{answer.p95_objective_ms:g} ms"
    lines = [first, *([f"they keep the objective up to {answer.carried_per_second:.4g} requests/s"] if answer.serving else [])]
    if not asked:
        return lines
    if answer.needed is None:
        return [*lines, f"no plan: {answer.problem}"]
    needed, change = answer.needed, answer.change or 0.0
    cost = f"{money(needed.cost.total)} {answer.currency} a month ({change:+,.2f})"
    servers = len(needed.weights)
    return [*lines, f"needed: {servers} server{'s' * (servers != 1)}, p95 {needed.part.p95_ms:.1f} ms, {cost}"]
