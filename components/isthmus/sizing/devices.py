"""A fleet's devices in a service's plan: what they send, what it costs to answer them, and how many are let in at a time."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from isthmus.sizing.admission import most_in_flight
from isthmus.sizing.headroom import Headroom, cases
from isthmus.sizing.offload import Offload, OffloadedLoad, erlang_b, storm_per_second
from isthmus.sizing.queueing import mean_response_ms
from isthmus.sizing.replicas import Demand, fewest_replicas
from isthmus.words import duration, money, percent, plain


@dataclass(frozen=True)
class DevicePlan:
    """in_flight: requests of devices that the service takes at a time, 1 at the least. keeps_others: whether the others' p95 is kept with
    so many always there.

    load: None where it is not known; then nothing is sized for it. replicas_without, replicas_at_mean: of the same service without
    devices, and for what they send on average; storm_replicas: that could answer the storm at once, None beyond what is planned for;
    all 0 where the servers are named one by one or the load is not known. shed_share: of devices' requests at the quantile, about.
    extra_per_month: what the quantile costs more than no devices, and more than their mean.
    """

    offload: Offload
    in_flight: int
    keeps_others: bool
    load: OffloadedLoad | None = None
    replicas: int = 0
    replicas_without: int = 0
    replicas_at_mean: int = 0
    storm_replicas: int | None = 0
    shed_share: float = 0.0
    extra_per_month: tuple[float, float] = (0.0, 0.0)
    currency: str = ""

    @property
    def storm_per_second(self) -> float:
        """That come at most when an outage ends; 0 where the number of devices is not known."""
        return storm_per_second(self.offload.devices) if self.offload.devices else 0.0

    def explain(self) -> str:
        """As the preview shows it, a line for each part."""
        lines = [self._load_text()]
        if self.replicas_without:
            more, than_mean = (money(amount) for amount in self.extra_per_month)
            lines.append(
                f"  replicas: {self.replicas_without} without devices, {self.replicas_at_mean} for their mean, {self.replicas} for the "
                f"quantile, which costs {more} {self.currency} a month more than none, {than_mean} more than the mean"
            )
        kept = "others keep their p95" if self.keeps_others else "others' p95 may suffer by that one: add a replica, or relax p95_ms"
        shed = "" if self.load is None else f"; at the quantile about {percent(self.shed_share)} of theirs are sent away"
        lines.append(f"  admission: {self.in_flight} of their requests at a time, whatever they send: {kept}{shed}")
        if self.storm_per_second:
            most = "more replicas than can be planned" if self.storm_replicas is None else f"{self.storm_replicas} replicas"
            needs = f", for which {most} would be needed" if self.replicas_without else ""
            lines.append(f"  after an outage: {plain(self.storm_per_second)}/s of them at first{needs}; who is sent away answers by itself")
        return "\n".join(lines)

    def _load_text(self) -> str:
        known, load = self.offload, self.load
        if load is None:
            unknown = [
                text
                for text, there in (
                    ("how many there are (offload.devices)", known.devices),
                    ("how many are unsure (offload.unsure_percent)", known.unsure_share is not None),
                )
                if not there
            ] or ["what they are asked (edge_requests_per_second)"]
            return f"devices: not sized for, since it is not known {' and '.join(unknown)}; they get what is left"
        by = f"beta-binomial, p = {known.unsure_share:g}, ρ = {known.correlation:g}"
        if known.simulated_devices is not None:
            by = f"{duration(known.simulated_seconds)} of all of them by their policy, simulated; {by}: {plain(load.closed_devices)}"
        return (
            f"devices: {plain(load.mean_devices)} of {known.devices:,} ask at a time on average, {plain(load.quantile_devices)} at the "
            f"{known.quantile_percent:g} % quantile ({by}): "
            f"{plain(load.mean_per_second)}/s and {plain(load.quantile_per_second)}/s"
        )

    def output(self) -> dict[str, Any]:
        """In the component's output `plan`."""
        found: dict[str, Any] = {"in_flight": self.in_flight, "storm_per_second": round(self.storm_per_second, 3)}
        if self.load is None:
            return found
        found |= {
            "mean_per_second": round(self.load.mean_per_second, 3),
            "quantile_per_second": round(self.load.quantile_per_second, 3),
            "quantile_percent": self.offload.quantile_percent,
            **({} if self.offload.simulated_devices is None else {"closed_form_per_second": round(self.load.closed_per_second, 3)}),
            "shed_percent": round(100 * self.shed_share, 3),
        }
        if self.replicas_without:
            found |= {
                "replicas_without": self.replicas_without,
                "replicas_at_mean": self.replicas_at_mean,
                "cost_per_month_more": round(self.extra_per_month[0], 2),
            }
        return found


def admitted(servers: int, demand: Demand, service_rate_per_second: float, scv: float, headroom: Headroom) -> tuple[int, bool]:
    """How many requests of devices are let in at a time, and whether the others keep their p95 beside so many.

    On every day; with `headroom.together` also when all else goes wrong. One is let in in any case: who asks for devices means some.
    """
    own = replace(headroom, fallback_requests_per_second=0.0, device_requests_per_second=0.0)
    planned_for = cases(demand.requests_per_second, own)
    considered = planned_for if headroom.together else planned_for[:1]
    found = min(
        most_in_flight(case.serving(servers), Demand(case.requests_per_second, demand.p95_ms), service_rate_per_second, scv)
        for case in considered
    )
    return max(found, 1), found >= 1


def plan_devices(
    offload: Offload,
    load: OffloadedLoad | None,
    demand: Demand,
    service_rate_per_second: float,
    scv: float,
    *,
    headroom: Headroom,
    replicas: int,
    least_serving: int,
    min_replicas: int,
    cost: Callable[[int], tuple[float, str]],
) -> DevicePlan:
    """Devices in the plan of equal servers, which has been made with `headroom`.

    Args:
        load: what they send; None: not known.
        headroom: with `device_requests_per_second`.
        replicas: as planned. least_serving: that there are at the least, where an autoscaler takes some away.
        cost: replicas → what they cost a month, and in which currency.
    """
    mu = service_rate_per_second
    in_flight, keeps_others = admitted(least_serving, demand, mu, scv, headroom)
    if load is None:
        return DevicePlan(offload, in_flight, keeps_others)

    def needed(devices_per_second: float) -> int | None:
        changed = replace(headroom, device_requests_per_second=devices_per_second)
        found = fewest_replicas(demand, mu, scv, changed)
        return None if found is None else max(found, min_replicas)

    # Less than was planned, so that there is a number.
    without, at_mean = needed(0.0) or replicas, needed(load.mean_per_second) or replicas
    (now, currency), (none, _), (mean, _) = cost(replicas), cost(without), cost(at_mean)
    at_quantile = demand.requests_per_second + load.quantile_per_second
    response_seconds = mean_response_ms(replicas, at_quantile, mu, scv) / 1000
    return DevicePlan(
        offload,
        in_flight,
        keeps_others,
        load,
        replicas=replicas,
        replicas_without=without,
        replicas_at_mean=at_mean,
        storm_replicas=needed(storm_per_second(offload.devices)),
        shed_share=erlang_b(in_flight, load.quantile_per_second * response_seconds),
        extra_per_month=(now - none, now - mean),
        currency=currency,
    )


def plan_devices_at(offload: Offload, load: OffloadedLoad | None, demand: Demand, rates_per_second: tuple[float, ...]) -> DevicePlan:
    """Devices before servers that the program names: let in as if all servers had the mean of their speeds, which they have not."""
    mu = math.fsum(rates_per_second) / len(rates_per_second)
    in_flight, keeps_others = admitted(len(rates_per_second), demand, mu, 1.0, Headroom())
    shed = erlang_b(in_flight, load.quantile_per_second / mu) if load else 0.0
    return DevicePlan(offload, in_flight, keeps_others, load, replicas=len(rates_per_second), shed_share=shed)
