"""One service's whole plan, from everything it depends on: servers, weights, autoscaler, cost. The inputs travel with the plan.

They are kept as JSON beside what is deployed, so that `isthmus plan` can ask the same arithmetic what would be if.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

from isthmus.errors import GateError, InputError, Problem
from isthmus.limits import CLUSTER, MIN_REPLICAS, MOST_REPLICAS
from isthmus.sizing.autoscaling import AutoscalePlan, plan_autoscaling
from isthmus.sizing.cost import DEFAULT_PRICES, MonthlyCost, PriceTable, Usage, monthly_cost, price_data, price_table
from isthmus.sizing.devices import DevicePlan, plan_devices, plan_devices_at
from isthmus.sizing.headroom import Headroom, cases, headroom_problems
from isthmus.sizing.offload import Offload, OffloadedLoad, offloaded_load
from isthmus.sizing.replicas import Demand, ReplicaPlan, plan_replicas
from isthmus.sizing.unequal import UnequalPlan, plan_unequal, predict_unequal

# How far an autoscaler may go beyond the plan where the program does not say: twice the demand, with the same objective.
GROWTH = 2


@dataclass(frozen=True)
class Autoscale:
    """min_replicas, max_replicas: of the autoscaler; None: the planned number, and `GROWTH` times that."""

    min_replicas: int | None = None
    max_replicas: int | None = None
    scale_down_seconds: int = CLUSTER["scale_down_seconds"].default


@dataclass(frozen=True)
class ServiceInputs:
    """What a plan is computed from, and nothing else.

    service_rate_per_second: μ of a server of speed 1. scv: of its service time. measured_on: class of the machine on which both
    were measured; empty: the program gave them. speeds: one a server where the program names the servers, else empty. kinds: for
    the prices, one a server, or one for all replicas. edge_requests_per_second: what all the devices together are asked, 0 if
    that is not known. offload: of devices that may ask the service; None: none may.
    """

    requests_per_second: float
    p95_ms: float
    service_rate_per_second: float
    scv: float = 1.0
    measured_on: str = ""
    min_replicas: int = MIN_REPLICAS.default
    max_replicas: int = MOST_REPLICAS
    headroom: Headroom = field(default_factory=Headroom)
    edge_requests_per_second: float = 0.0
    speeds: tuple[float, ...] = ()
    kinds: tuple[str, ...] = ("local",)
    balancing: str = "least_request"
    autoscale: Autoscale | None = None
    prices: PriceTable = DEFAULT_PRICES
    offload: Offload | None = None

    def offloaded(self) -> OffloadedLoad | None:
        """What devices send; None where that is not known, or none may."""
        return None if self.offload is None else offloaded_load(self.offload, self.edge_requests_per_second)

    def planned_headroom(self) -> Headroom:
        """With what devices send at their quantile."""
        load = self.offloaded()
        return self.headroom if load is None else replace(self.headroom, device_requests_per_second=load.quantile_per_second)

    def to_json(self) -> dict[str, Any]:
        """Of JSON's types alone, without what is as usual: it is shown among a stack's outputs.

        `from_json` takes it back, also where whole numbers became floats.
        """
        found = _unusual(self)
        found["headroom"] = _unusual(self.headroom)
        found["autoscale"] = {"on": self.autoscale is not None, **_unusual(self.autoscale or Autoscale())}
        found["offload"] = {"on": self.offload is not None, **_unusual(self.offload or Offload())}
        prices = price_data(self.prices)
        # The prices of this plan's kinds alone. They are always there: another version may know others.
        found["prices"] = {**prices, "servers": {kind: prices["servers"][kind] for kind in dict.fromkeys(self.kinds)}}
        return {key: list(value) if isinstance(value, tuple) else value for key, value in found.items() if value not in ({}, {"on": False})}

    @classmethod
    def from_json(cls, raw: Mapping[str, Any], path: str = "") -> "ServiceInputs":
        """Raises InputError where this is not what a plan of this version keeps."""
        try:
            known: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else _whole(value) for key, value in raw.items()}
            known["headroom"] = Headroom(**{key: _whole(value) for key, value in raw.get("headroom", {}).items()})
            autoscale = {key: _whole(value) for key, value in raw.get("autoscale", {}).items()}
            known["autoscale"] = Autoscale(**autoscale) if autoscale.pop("on", False) else None
            offload = {key: _whole(value) for key, value in raw.get("offload", {}).items()}
            known["offload"] = Offload(**offload) if offload.pop("on", False) else None
            known["prices"] = price_table(raw["prices"])
            return cls(**known)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            what = "its plan was deployed by another version of Isthmus"
            raise InputError([Problem(path, what, "a plan of this version", "run `pulumi up` once")]) from error


def _unusual(it: Any) -> dict[str, Any]:
    """The fields of a dataclass that are not as they are by default."""
    named = {each.name: (getattr(it, each.name), each) for each in fields(it)}
    return {name: value for name, (value, each) in named.items() if value != each.default and value is not None}


def _whole(value: Any) -> Any:
    """Pulumi knows one kind of number; counts come back as floats."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


@dataclass(frozen=True)
class ServicePlan:
    """One service's plan.

    equal: of replicas of one kind behind one queue; None where the servers are of unequal speed, then `unequal` has it.
    devices: that may ask the service; None: none may. weights: one a server, in the order of the hosts or of the pools' replicas; 0: not
    listed in the gateway.
    """

    inputs: ServiceInputs
    replicas: int
    equal: ReplicaPlan | None
    unequal: UnequalPlan | None
    autoscaling: AutoscalePlan | None
    cost: MonthlyCost
    devices: DevicePlan | None = None

    @property
    def device_requests(self) -> int:
        """That all gateways together let in at a time; 0: nobody is told apart."""
        return self.devices.in_flight if self.devices else 0

    @property
    def weights(self) -> tuple[int, ...]:
        return self.unequal.weights if self.unequal else (1,) * self.replicas

    @property
    def part(self) -> ReplicaPlan | UnequalPlan:
        """The one that there is."""
        found = self.equal or self.unequal
        assert found is not None  # noqa: S101
        return found

    @property
    def formula(self) -> str:
        return self.unequal.formula if self.unequal else "M/M/c" if self.inputs.scv == 1 else "M/G/c"

    def explain(self) -> str:
        """The arithmetic as the preview shows it, one line a part."""
        parts = [part.explain() for part in (self.equal, self.unequal, self.autoscaling, self.devices) if part is not None]
        source = f"measured on {self.inputs.measured_on}" if self.inputs.measured_on else "as the program says (profile)"
        what = "μ" if self.unequal else f"μ and scv {self.inputs.scv:g}" if self.inputs.scv != 1 else "μ"
        return "\n".join([*parts, f"{what}: {source}", self.cost.explain()])

    def output(self) -> dict[str, Any]:
        """The component's output `plan`, of JSON's types alone."""
        part = self.part
        found: dict[str, Any] = {
            "formula": self.formula,
            "requests_per_second": part.requests_per_second,
            "replicas": self.replicas,
            "utilisation": round(part.utilisation, 4),
            "p50_ms": round(part.p50_ms, 3),
            "p95_ms": round(part.p95_ms, 3),
            "p95_objective_ms": part.p95_objective_ms,
            "cost_per_month": round(self.cost.total, 2),
            "currency": self.cost.currency,
            "prices_as_of": self.cost.prices_as_of.isoformat(),
            "inputs": self.inputs.to_json(),
        }
        if self.equal:
            found["service_rate_per_second"] = round(self.equal.service_rate_per_second, 3)
        if self.unequal:
            found["weights"] = list(self.unequal.weights)
        if self.devices:
            found["devices"] = self.devices.output()
        if self.autoscaling:
            found["autoscaling"] = {
                "min_replicas": self.autoscaling.min_replicas,
                "max_replicas": self.autoscaling.max_replicas,
                "target_cpu_millis": self.autoscaling.target_cpu_millis,
                "replicas_at_demand": self.autoscaling.planned_replicas,
            }
        return found


def plan_service(inputs: ServiceInputs, path: str = "") -> ServicePlan:
    """The plan. Raises GateError where none keeps the objective, or a number is not one (with what would do)."""
    demand, mu = Demand(inputs.requests_per_second, inputs.p95_ms), inputs.service_rate_per_second
    if inputs.speeds:
        unequal = plan_unequal(demand, [speed * mu for speed in inputs.speeds], inputs.balancing, path)
        problems = _given_servers_problems(unequal, inputs, path)
        if problems:
            raise GateError(problems)
        its = None
        if inputs.offload is not None:
            its = plan_devices_at(inputs.offload, inputs.offloaded(), demand, unequal.service_rates_per_second)
        return ServicePlan(inputs, unequal.servers, None, unequal, None, cost_of(inputs, len(inputs.speeds), path), its)
    equal = plan_replicas(
        demand,
        mu,
        scv=inputs.scv,
        headroom=inputs.planned_headroom(),
        min_replicas=inputs.min_replicas,
        max_replicas=inputs.max_replicas,
        path=path,
    )
    autoscaling = None
    if inputs.autoscale is not None:
        given = inputs.autoscale
        least = equal.replicas if given.min_replicas is None else given.min_replicas
        autoscaling = plan_autoscaling(
            equal,
            min_replicas=least,
            max_replicas=max(GROWTH * equal.replicas, least) if given.max_replicas is None else given.max_replicas,
            scale_down_seconds=given.scale_down_seconds,
            path=path,
        )
    # At the demand the autoscaler comes to rest at its own number, which is what is paid for.
    paid = max(equal.replicas, autoscaling.planned_replicas) if autoscaling else equal.replicas
    devices = None
    if inputs.offload is not None:
        devices = plan_devices(
            inputs.offload,
            inputs.offloaded(),
            demand,
            mu,
            inputs.scv,
            headroom=inputs.planned_headroom(),
            replicas=equal.replicas,
            least_serving=min(equal.replicas, autoscaling.min_replicas) if autoscaling else equal.replicas,
            min_replicas=inputs.min_replicas,
            cost=lambda replicas: _total_of(inputs, replicas, path),
        )
    return ServicePlan(inputs, equal.replicas, equal, None, autoscaling, cost_of(inputs, paid, path), devices)


def _total_of(inputs: ServiceInputs, servers: int, path: str) -> tuple[float, str]:
    found = cost_of(inputs, servers, path)
    return found.total, found.currency


def cost_of(inputs: ServiceInputs, servers: int, path: str = "") -> MonthlyCost:
    """What so many replicas cost a month (where the servers are named one by one: those), and the requests: of the demand, and what
    devices send on average.
    """
    counts = Counter(inputs.kinds) if inputs.speeds else {inputs.kinds[0]: servers}
    load = inputs.offloaded()
    requests_per_second = inputs.requests_per_second + (load.mean_per_second if load else 0.0)
    return monthly_cost(Usage(dict(counts), requests_per_second), inputs.prices, path=path)


def _given_servers_problems(plan: UnequalPlan, inputs: ServiceInputs, path: str) -> list[Problem]:
    """Head-room of servers that the program names: it can be held against them, not planned. The fastest are lost first."""
    headroom = inputs.headroom
    problems = [
        Problem(f"{path}.headroom.{key}", "these servers are named one by one: they have no zones, and no replicas to stop", fix=fix)
        for key, given, fix in (
            ("lost_zones", headroom.lost_zones, "use lost_servers"),
            ("max_unavailable", headroom.max_unavailable, "use lost_servers"),
            ("max_surge", headroom.max_surge, "leave it out"),
        )
        if given
    ]
    problems = problems or headroom_problems(headroom, f"{path}.headroom")
    if problems:
        return problems
    for case in cases(inputs.requests_per_second, inputs.planned_headroom())[1:]:
        left = left_of(plan, case.serving(len(plan.weights)))
        found = predict_unequal(Demand(case.requests_per_second, inputs.p95_ms), *left, plan.formula) if left[0] else None
        if found is None or found.p95_ms > inputs.p95_ms:
            p95 = "cannot keep up" if found is None else f"have a p95 of {found.p95_ms:.1f} ms"
            problems.append(
                Problem(
                    f"{path}.headroom",
                    f"{case.name}: {len(left[0])} of {len(plan.weights)} servers {p95} at {case.requests_per_second:g} requests/s",
                    f"at most {inputs.p95_ms:g} ms",
                    "add servers or faster ones, lower requests_per_second, relax p95_ms, or ask for less head-room",
                )
            )
    return problems


def left_of(plan: UnequalPlan, serving: int) -> tuple[tuple[float, ...], tuple[int, ...]]:
    """Rates and weights of the so many slowest servers: what is left when the fastest are lost. Weights stay as they are."""
    kept = sorted(zip(plan.service_rates_per_second, plan.weights, strict=True))[: max(serving, 0)]
    kept = [(rate, weight) for rate, weight in kept if weight]
    return tuple(rate for rate, _ in kept), tuple(weight for _, weight in kept)
