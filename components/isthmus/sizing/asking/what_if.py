"""What would be if: the deployed servers under another demand or with some of them lost, and what would be needed then.

Everything is asked of the plan's own arithmetic, with the inputs that were kept beside what is deployed; nothing is measured or
deployed. `What if nothing?` is the plan itself.
"""

import difflib
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from isthmus.errors import GateError, InputError, Problem
from isthmus.limits import MOST_REPLICAS
from isthmus.sizing.autoscaling import highest_utilisation
from isthmus.sizing.queueing import response_time_quantile_ms
from isthmus.sizing.replicas import OBJECTIVE_QUANTILE, Demand, fewest_replicas
from isthmus.sizing.service import ServiceInputs, ServicePlan, cost_of, left_of, plan_service
from isthmus.sizing.unequal import predict_unequal

OPTION = "--what-if"
EXAMPLES = "demand=2x, lose=zone, lose=server, lose=3 (servers) or offline=30%"
CURVE_POINTS = 61
# A curve ends at twice the demand, and beyond what the deployed servers carry, so that one sees where they break.
_FACTOR_SHOWN, _CARRIED_SHOWN = 2.0, 1.25
_STEPS = 50
# A thousandth of an axis is less than a line is wide.
_DRAWN_WIDTH = 1e-4


@dataclass(frozen=True)
class Scenario:
    """demand_factor: of the requests of every day. lost_servers, lost_zones: gone. offline_percent: of the edge's requests that
    come to the cloud. asked: the words that it was asked in.
    """

    demand_factor: float = 1.0
    lost_servers: int = 0
    lost_zones: int = 0
    offline_percent: float = 0.0
    asked: tuple[str, ...] = ()

    def rate(self, inputs: ServiceInputs) -> float:
        """Requests per second that the service gets then."""
        return inputs.requests_per_second * self.demand_factor + inputs.edge_requests_per_second * self.offline_percent / 100

    def serving(self, inputs: ServiceInputs, servers: int) -> int:
        """How many of so many servers are left then."""
        zones = replace(inputs.headroom, lost_zones=self.lost_zones).in_lost_zones(servers) if self.lost_zones else 0
        return max(0, servers - zones - self.lost_servers)

    def applied(self, inputs: ServiceInputs) -> ServiceInputs:
        """The inputs of a plan that keeps the objective then. No bound of the program's holds it back."""
        headroom = replace(
            inputs.headroom,
            lost_servers=max(inputs.headroom.lost_servers, self.lost_servers),
            lost_zones=max(inputs.headroom.lost_zones, self.lost_zones),
        )
        autoscale = inputs.autoscale and replace(inputs.autoscale, max_replicas=None)
        most = MOST_REPLICAS if self.asked else inputs.max_replicas
        changed = replace(inputs, requests_per_second=self.rate(inputs), headroom=headroom, max_replicas=most)
        return replace(changed, autoscale=autoscale) if self.asked else changed


def _demand(text: str) -> dict[str, float]:
    factor = float(re.fullmatch(r"([^x×]+)[x×]", text)[1])  # type: ignore[index]
    if not (math.isfinite(factor) and factor > 0):
        raise ValueError
    return {"demand_factor": factor}


def _lose(text: str) -> dict[str, float]:
    if text == "zone":
        return {"lost_zones": 1}
    count = 1 if text == "server" else int(text)
    if not 1 <= count <= MOST_REPLICAS:
        raise ValueError
    return {"lost_servers": count}


def _offline(text: str) -> dict[str, float]:
    percent = float(text.removesuffix("%")) if text.endswith("%") else math.nan
    if not 0 <= percent <= 100:
        raise ValueError
    return {"offline_percent": percent}


# What may be asked: how its value is read (ValueError, TypeError where it is none), and what is expected.
_KINDS: dict[str, tuple[Callable[[str], dict[str, float]], str]] = {
    "demand": (_demand, "a positive number of times, such as demand=2x"),
    "lose": (_lose, f"lose=zone, lose=server, or a number of servers from 1 to {MOST_REPLICAS}"),
    "offline": (_offline, "a share of the edge's requests from 0 to 100 %, such as offline=30%"),
}


def scenario_of(asked: Sequence[str]) -> Scenario:
    """What several texts ask for together, such as `demand=2x` and `lose=zone`.

    Raises:
        InputError: all of what is unknown, no sensible value, or asked for twice with two values.
    """
    problems: list[Problem] = []
    found: dict[str, float] = {}
    for text in dict.fromkeys(asked):
        key, _, value = text.replace(" ", "").partition("=")
        if key not in _KINDS:
            close = difflib.get_close_matches(key, _KINDS, n=1)
            problems.append(Problem(OPTION, f"{text!r} is unknown", EXAMPLES, f"did you mean {close[0]!r}?" if close else ""))
            continue
        read, expected = _KINDS[key]
        try:
            values = read(value)
        except (ValueError, TypeError):
            problems.append(Problem(OPTION, f"{text!r} cannot be asked", expected))
            continue
        problems += [Problem(OPTION, f"{text!r} contradicts another {key}", f"one {key}") for name in values if name in found]
        found |= values
    if problems:
        raise InputError(problems)
    whole = {key: int(value) if key.startswith("lost") else value for key, value in found.items()}
    return Scenario(**whole, asked=tuple(dict.fromkeys(asked)))  # type: ignore[arg-type]


@dataclass(frozen=True)
class Answer:
    """What a scenario does to one service.

    serving, of: servers that are left, of those deployed. p95_ms, utilisation: predicted for them; None where they cannot keep up.
    carried_per_second: the highest demand at which those left keep the objective. needed: the plan that would keep it; None where
    there is none, `problem` says why then.
    """

    requests_per_second: float
    p95_objective_ms: float
    serving: int
    of: int
    utilisation: float | None
    p95_ms: float | None
    carried_per_second: float
    cost_now: float
    currency: str
    needed: ServicePlan | None
    problem: str = ""

    @property
    def kept(self) -> bool:
        """Whether what is deployed keeps the objective."""
        return self.p95_ms is not None and self.p95_ms <= self.p95_objective_ms

    @property
    def change(self) -> float | None:
        """Of the cost a month, if what is needed were deployed."""
        return None if self.needed is None else self.needed.cost.total - self.cost_now


@dataclass(frozen=True)
class CurvePoint:
    """p95_ms: of the servers that the scenario leaves; None where they cannot keep up. replicas, cost: what a plan for this demand
    needs and costs a month; None where there is none.
    """

    requests_per_second: float
    p95_ms: float | None
    replicas: int | None
    cost: float | None


def ask(deployed: ServicePlan, scenario: Scenario, path: str = "") -> Answer:
    """The scenario's consequences. deployed: the plan of what runs. path: property path of the service, for `problem`."""
    inputs = deployed.inputs
    servers = len(deployed.weights)
    serving, rate = scenario.serving(inputs, servers), scenario.rate(inputs)
    utilisation, p95 = _predict(deployed, serving, rate)
    needed, problem = None, ""
    try:
        needed = plan_service(scenario.applied(inputs), path)
    except GateError as error:
        problem = str(error)
    return Answer(
        requests_per_second=rate,
        p95_objective_ms=inputs.p95_ms,
        serving=serving,
        of=servers,
        utilisation=utilisation,
        p95_ms=p95,
        carried_per_second=carried_per_second(deployed, serving),
        cost_now=deployed.cost.total,
        currency=deployed.cost.currency,
        needed=needed,
        problem=problem,
    )


def _predict(deployed: ServicePlan, serving: int, rate: float, **precision: float) -> tuple[float | None, float | None]:
    """Utilisation and p95 of so many of the deployed servers at that demand; None where they cannot keep up."""
    inputs = deployed.inputs
    if deployed.unequal:
        rates, weights = left_of(deployed.unequal, serving)
        found = predict_unequal(Demand(rate, inputs.p95_ms), rates, weights, deployed.formula) if rates else None
        return (None, None) if found is None else (found.utilisation, found.p95_ms)
    mu = inputs.service_rate_per_second
    if serving < 1 or rate / mu >= serving:
        return None, None
    return rate / (serving * mu), response_time_quantile_ms(OBJECTIVE_QUANTILE, serving, rate, mu, inputs.scv, **precision)


def carried_per_second(deployed: ServicePlan, serving: int) -> float:
    """The highest demand at which so many of the deployed servers keep the objective; 0 if there is none."""
    inputs = deployed.inputs
    if serving < 1:
        return 0.0
    if not deployed.unequal:
        mu = inputs.service_rate_per_second
        return highest_utilisation(serving, inputs.p95_ms, mu, inputs.scv) * serving * mu
    low, high = 0.0, sum(deployed.unequal.service_rates_per_second)
    for _ in range(_STEPS):
        middle = (low + high) / 2
        p95 = _predict(deployed, serving, middle)[1]
        low, high = (middle, high) if p95 is not None and p95 <= inputs.p95_ms else (low, middle)
    return low


def curve(deployed: ServicePlan, scenario: Scenario, points: int = CURVE_POINTS) -> list[CurvePoint]:
    """p95 and cost at demands from little to more than the deployed servers carry; the everyday demand is one of them."""
    inputs = deployed.inputs
    serving = scenario.serving(inputs, len(deployed.weights))
    base = inputs.requests_per_second
    top = max(_FACTOR_SHOWN * base, _FACTOR_SHOWN * scenario.rate(inputs), _CARRIED_SHOWN * carried_per_second(deployed, serving))
    applied = scenario.applied(inputs)
    # Servers that are named cost what they cost, as far as they carry; others are planned anew.
    most = carried_per_second(deployed, len(deployed.weights)) if inputs.speeds else math.inf
    rates = sorted({base, scenario.rate(inputs), *(top * step / points for step in range(1, points + 1))})
    found = []
    for rate in rates:
        replicas, cost = _cost_at(applied, rate) if rate <= most else (None, None)
        found.append(CurvePoint(rate, _predict(deployed, serving, rate, relative_width=_DRAWN_WIDTH)[1], replicas, cost))
    return found


def _cost_at(inputs: ServiceInputs, rate: float) -> tuple[int | None, float | None]:
    """Replicas and cost a month of a plan for that demand, without an autoscaler."""
    at = replace(inputs, requests_per_second=rate)
    if inputs.speeds:
        return len(inputs.speeds), cost_of(at, 0).total
    fewest = fewest_replicas(Demand(rate, inputs.p95_ms), inputs.service_rate_per_second, inputs.scv, inputs.planned_headroom())
    if fewest is None:
        return None, None
    replicas = max(fewest, inputs.min_replicas)
    return replicas, cost_of(at, replicas).total
