"""What the advisor is told: one table of inputs with their units, limits and defaults, and one place that checks it."""

import dataclasses
import difflib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from isthmus.errors import InputError, Problem

# p95 of exponential service times is this many means: −ln(1 − 0.95).
P95_OF_MEAN = -math.log(0.05)

_DAY_MS = 86_400_000.0
_PETABYTE = 10**15


def _number(least: float, most: float, unit: str, text: str, default: Any = dataclasses.MISSING, *, whole: bool = False) -> Any:
    """An input that is a number in [least, most]; whole: an integer."""
    return field(default=default, metadata={"least": least, "most": most, "unit": unit, "help": text, "whole": whole})


@dataclass(frozen=True, kw_only=True)
class Situation:
    """Promises, demand, network, cloud, device and prices of one model's deployment.

    Percentages may have a fraction here: they are measured, or promised as 99.9. Times are milliseconds. Money is in any
    one currency. Making one does not check it: `situation_of` and `advise` do.
    """

    # Promises
    p95_ms: float = _number(0.001, _DAY_MS, "ms", "objective: 95 % of the requests are answered within it")
    availability_percent: float = _number(0.001, 100, "percent", "objective: share of the requests that get an answer", 99.0)
    max_unsure_percent: float = _number(0, 100, "percent", "objective: share of the answers that may stay unsure", 5.0)
    data_must_stay: bool = field(default=False, metadata={"help": "no request's raw data may leave the device"})
    # Demand
    devices: int = _number(1, 10**9, "devices", "size of the fleet: devices that ask, or would answer", whole=True)
    requests_per_second: float = _number(1e-6, 1e9, "requests/s", "mean rate of the whole fleet in its busy hour")
    request_bytes: int = _number(0, 10**12, "bytes", "size of one request on the wire", whole=True)
    # Network, as a device sees it
    round_trip_p95_ms: float = _number(0, _DAY_MS, "ms", "p95 of a round trip from a device to the cloud")
    uplink_megabits_per_second: float = _number(1e-6, 1e6, "Mbit/s", "what one device can send", 10.0)
    offline_percent: float = _number(0, 100, "percent", "share of the time in which a device cannot reach the cloud", 0.0)
    # Compute in the cloud
    cloud_service_ms: float = _number(0.001, _DAY_MS, "ms", "mean time of one request at one server")
    cloud_service_p95_ms: float | None = _number(
        0.001, _DAY_MS, "ms", "p95 at the service, waiting included, as its plan says; without it: 3 × cloud_service_ms", None
    )
    # Compute on the device
    device_p95_ms: float = _number(0.001, _DAY_MS, "ms", "p95 of one answer, measured on a device")
    device_slowdown: float = _number(0.001, 1e6, "times", "how many times slower the fleet's class is than the device measured", 1.0)
    device_memory_bytes: int = _number(1, _PETABYTE, "bytes", "memory that a device has for the model", whole=True)
    model_bytes: int = _number(1, _PETABYTE, "bytes", "size of the edge variant", whole=True)
    unsure_percent: float = _number(0, 100, "percent", "share of the requests for which the edge variant is not good enough", 0.0)
    # Prices, 2026-11: round figures of the kind that price lists show; give your own
    price_per_server_hour: float = _number(0, 1e6, "money", "one server in the cloud (0.20: a 4-core machine on demand)", 0.20)
    price_per_gb_sent: float = _number(0, 1e6, "money", "what a GB of requests costs on the devices' network", 0.0)
    price_per_gb_shipped: float = _number(0, 1e6, "money", "what a GB of bundles costs to ship (0.09: a usual price of egress)", 0.09)
    device_cost_per_month: float = _number(
        0, 1e6, "money", "what a device costs a month because it runs the model: hardware written off, energy, care", 1.0
    )
    releases_per_month: float = _number(0, 1e4, "releases", "how often every device gets a new bundle", 1.0)

    @property
    def service_p95_ms(self) -> float:
        """p95 at the cloud service: as given, else that of exponential service times without waiting."""
        return self.cloud_service_ms * P95_OF_MEAN if self.cloud_service_p95_ms is None else self.cloud_service_p95_ms


INPUTS: Mapping[str, "dataclasses.Field[Any]"] = {each.name: each for each in dataclasses.fields(Situation)}


def situation_of(values: Mapping[str, Any], path: str = "") -> Situation:
    """A checked situation from a plain mapping of input names to values, as a file or a preset has them.

    Args:
        path: property path of the mapping, for the messages.

    Raises:
        InputError: unknown, missing or bad inputs; all of them at once.
    """
    problems = []
    for name in values:
        if name not in INPUTS:
            near = difflib.get_close_matches(str(name), INPUTS, n=1)
            problems.append(Problem(_at(path, str(name)), "is no input of the advisor", fix=f"write {near[0]}" if near else "remove it"))
    for name, each in INPUTS.items():
        if name in values:
            problems.extend(_problems_of(name, values[name], path))
        elif each.default is dataclasses.MISSING:
            problems.append(Problem(_at(path, name), "is missing", _expected(each), f"give it: {each.metadata['help']}"))
    if problems:
        raise InputError(problems)
    return Situation(**{name: _converted(name, value) for name, value in values.items()})


def check_situation(situation: Situation, path: str = "") -> None:
    """Checks a situation that was made directly.

    Raises:
        InputError: bad inputs; all of them at once.
    """
    problems = [problem for name in INPUTS for problem in _problems_of(name, getattr(situation, name), path)]
    if problems:
        raise InputError(problems)


def _problems_of(name: str, value: Any, path: str) -> list[Problem]:
    each = INPUTS[name]
    if name == "data_must_stay":
        return [] if isinstance(value, bool) else [Problem(_at(path, name), f"{value!r} is neither true nor false", "true or false")]
    if value is None and each.default is None:
        return []
    if isinstance(value, bool) or not isinstance(value, int | float):
        return [Problem(_at(path, name), f"{value!r} is not a number", _expected(each))]
    limits = each.metadata
    if not limits["least"] <= value <= limits["most"]:  # a NaN is neither
        return [Problem(_at(path, name), f"{value} is out of range", _expected(each))]
    if limits["whole"] and value != int(value):
        return [Problem(_at(path, name), f"{value} is not whole", _expected(each))]
    return []


def _converted(name: str, value: Any) -> Any:
    whole = INPUTS[name].metadata.get("whole")
    if whole is None or value is None:
        return value
    return int(value) if whole else float(value)


def _expected(each: "dataclasses.Field[Any]") -> str:
    limits = each.metadata
    kind = "a whole number" if limits["whole"] else "a number"
    return f"{kind} from {limits['least']:g} to {limits['most']:g} ({limits['unit']})"


def _at(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
