"""What a fleet costs: the bytes that its releases ship. Its devices are the user's own, so that nothing else of it is planned."""

from dataclasses import dataclass
from typing import Any

from isthmus.sizing.classes import Choice
from isthmus.sizing.cost import MonthlyCost, PriceTable, Usage, monthly_cost, shipped_gigabytes
from isthmus.sizing.rollout import WavePlan, wave_lines


@dataclass(frozen=True)
class FleetPlan:
    """p50_ms, p95_ms: of one run as measured when the release was made. bundle_bytes: what one device fetches of one release, on
    average where classes of devices get different ones.

    waves: in which it reaches the devices; empty where that is not known. choices: what each class gets; empty: all get the same.
    """

    devices: int
    p50_ms: float
    p95_ms: float
    bundle_bytes: int
    releases_per_month: float
    cost: MonthlyCost
    waves: tuple[WavePlan, ...] = ()
    choices: tuple[Choice, ...] = ()

    def explain(self) -> str:
        """One line, what each class gets and why, and the waves."""
        said = (
            f"{self.devices} devices fetch {self.bundle_bytes / 1e6:.4g} MB of each of {self.releases_per_month:g} releases a month: "
            f"{self.cost.explain()}"
        )
        return "\n".join(
            [said, *(it.explain() for it in self.choices), *wave_lines([wave.output() for wave in self.waves], self.cost.currency)]
        )

    def output(self) -> dict[str, Any]:
        """The component's output `plan`, of JSON's types alone."""
        return {
            "devices": self.devices,
            "p50_ms": self.p50_ms,
            "p95_ms": self.p95_ms,
            "bundle_bytes": self.bundle_bytes,
            "releases_per_month": self.releases_per_month,
            "price_per_gigabyte_shipped": next((line.price for line in self.cost.lines), 0.0),
            "cost_per_month": round(self.cost.total, 2),
            "currency": self.cost.currency,
            "prices_as_of": self.cost.prices_as_of.isoformat(),
            "waves": [wave.output() for wave in self.waves],
            "variants": [{"class": it.device_class, "digest": it.offer.digest, "reasons": list(it.reasons)} for it in self.choices],
        }


def plan_fleet(
    devices: int, *, p50_ms: float, p95_ms: float, bundle_bytes: int, releases_per_month: float, prices: PriceTable, path: str = ""
) -> FleetPlan:
    """Raises GateError where a number is not finite or negative."""
    usage = Usage(gigabytes_shipped_per_month=shipped_gigabytes(bundle_bytes, devices, releases_per_month))
    return FleetPlan(devices, p50_ms, p95_ms, bundle_bytes, releases_per_month, monthly_cost(usage, prices, path=path))
