"""What a plan costs a month: prices as data with a date, one line for each thing that is paid for, and the change.

Nothing is asked of a network. `DEFAULT_PRICES` is a starting point of the size of on-demand list prices of a large cloud,
not a quotation: a stack that decides by cost brings its own table (`price_table`).
"""

import datetime
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

from isthmus.errors import GateError, InputError, Problem, property_path
from isthmus.sizing.headroom import number_problem

HOURS_PER_MONTH = 730
SECONDS_PER_MONTH = HOURS_PER_MONTH * 3600
BYTES_PER_GIGABYTE = 10**9

_MIDNIGHT = " 00:00:00 +0000 UTC"
_RATES = ("per_gigabyte_shipped", "per_million_requests")


@dataclass(frozen=True)
class PriceTable:
    """as_of: the day the prices were valid. servers: price of one server of a kind per hour. All in `currency`, all from 0 on."""

    as_of: datetime.date
    servers: Mapping[str, float]
    per_gigabyte_shipped: float = 0.0
    per_million_requests: float = 0.0
    currency: str = "USD"
    source: str = ""


DEFAULT_PRICES = PriceTable(
    as_of=datetime.date(2026, 11, 23),
    servers=MappingProxyType({"local": 0.0, "cpu-2": 0.09, "cpu-4": 0.18, "cpu-8": 0.36, "gpu-1": 0.53}),
    per_gigabyte_shipped=0.09,
    per_million_requests=0.0,
    source="round figures, not a quotation; the kinds name virtual CPUs or GPUs",
)


@dataclass(frozen=True)
class Usage:
    """What a plan uses. servers: how many of each kind run all month. requests_per_second: mean over the month."""

    servers: Mapping[str, float] = field(default_factory=dict)
    requests_per_second: float = 0.0
    gigabytes_shipped_per_month: float = 0.0


@dataclass(frozen=True)
class CostLine:
    """quantity: in `unit`, a month. price: of one unit. cost: a month."""

    name: str
    quantity: float
    unit: str
    price: float
    cost: float


@dataclass(frozen=True)
class MonthlyCost:
    """lines: what costs something or is used, servers first. total: their sum."""

    lines: tuple[CostLine, ...]
    total: float
    currency: str
    prices_as_of: datetime.date

    def explain(self) -> str:
        """The total in one line, then the arithmetic of each line that costs something."""
        lines = [f"{self.total:,.2f} {self.currency} a month (prices of {self.prices_as_of.isoformat()})"]
        lines += [
            f"  {line.name}: {line.quantity:,.6g} {line.unit} × {line.price:g} = {line.cost:,.2f}" for line in self.lines if line.cost
        ]
        return "\n".join(lines)


def monthly_cost(usage: Usage, prices: PriceTable = DEFAULT_PRICES, *, path: str = "") -> MonthlyCost:
    """What the usage costs a month, line by line.

    Raises:
        GateError: a number is not finite or negative, or a kind of server has no price; all of it at once.
    """
    at = f"{path}." if path else ""
    problems = number_problem(f"{at}requests_per_second", usage.requests_per_second, "from 0 on")
    problems += number_problem(f"{at}gigabytes_shipped_per_month", usage.gigabytes_shipped_per_month, "from 0 on")
    for kind, count in usage.servers.items():
        problems += number_problem(f"{at}servers.{kind}", count, "from 0 on")
        if kind not in prices.servers:
            known = ", ".join(sorted(prices.servers)) or "none"
            problems.append(
                Problem(f"{at}servers.{kind}", "this kind of server has no price", f"one of: {known}", "add it to prices.servers")
            )
    if problems:
        raise GateError(problems)
    asked = [(f"servers {kind}", count * HOURS_PER_MONTH, "hours", prices.servers[kind]) for kind, count in usage.servers.items()]
    asked += [
        ("shipped", usage.gigabytes_shipped_per_month, "GB", prices.per_gigabyte_shipped),
        ("requests", usage.requests_per_second * SECONDS_PER_MONTH / 1e6, "million", prices.per_million_requests),
    ]
    lines = tuple(CostLine(name, quantity, unit, price, quantity * price) for name, quantity, unit, price in asked if quantity)
    return MonthlyCost(lines, math.fsum(line.cost for line in lines), prices.currency, prices.as_of)


def shipped_gigabytes(bundle_bytes: int, devices: int, releases_per_month: float) -> float:
    """GB (10⁹ bytes) that a fleet fetches a month, each release whole.

    Raises:
        GateError: a number is not finite or negative.
    """
    numbers = {"bundle_bytes": bundle_bytes, "devices": devices, "releases_per_month": releases_per_month}
    problems = [problem for name, value in numbers.items() for problem in number_problem(name, value, "from 0 on")]
    if problems:
        raise GateError(problems)
    return bundle_bytes * devices * releases_per_month / BYTES_PER_GIGABYTE


def price_table(data: Mapping[str, object], base: PriceTable = DEFAULT_PRICES, *, path: str = "prices") -> PriceTable:
    """A table from a stack's data; what it leaves out is taken from `base`, server kinds one by one.

    Args:
        data: keys as in `PriceTable`; `as_of` a date or "YYYY-MM-DD". It must be given: prices without a day mean nothing.

    Raises:
        InputError: everything that is wrong with it at once: unknown keys, no or a bad date, prices that are not numbers from 0 on.
    """
    known = ("as_of", "servers", *_RATES, "currency", "source")
    problems = [Problem(property_path([str(key)], path), "unknown key", f"one of: {', '.join(known)}") for key in data if key not in known]
    day = _day(data.get("as_of"))
    if day is None:
        problems.append(Problem(f"{path}.as_of", f"{data.get('as_of')!r} is not a day", "YYYY-MM-DD, the day the prices were valid"))
    servers = data.get("servers", {})
    if not isinstance(servers, Mapping):
        problems.append(Problem(f"{path}.servers", f"{servers!r} is not a table", "a price per hour for each kind of server"))
        servers = {}
    prices = {property_path(("servers", str(kind))): price for kind, price in servers.items()}
    prices |= {key: data[key] for key in _RATES if key in data}
    for key, price in prices.items():
        problems += _price_problem(f"{path}.{key}", price)
    for key in ("currency", "source"):
        if not isinstance(data.get(key, ""), str):
            problems.append(Problem(f"{path}.{key}", f"{data[key]!r} is not text", "text"))
    if data.get("currency", base.currency) != base.currency:
        missing = [key for key in _RATES if key not in data and getattr(base, key)]
        problems += [
            Problem(f"{path}.{key}", f"missing; the default is in {base.currency}", f"a price in {data['currency']}") for key in missing
        ]
        base = replace(base, servers={})
    if problems or day is None:
        raise InputError(problems)
    return PriceTable(
        as_of=day,
        servers=MappingProxyType({**base.servers, **{str(kind): float(price) for kind, price in servers.items()}}),
        per_gigabyte_shipped=_number(data.get("per_gigabyte_shipped", base.per_gigabyte_shipped)),
        per_million_requests=_number(data.get("per_million_requests", base.per_million_requests)),
        currency=str(data.get("currency", base.currency)),
        source=str(data.get("source", base.source)),
    )


def price_data(prices: PriceTable) -> dict[str, Any]:
    """A table as data, of JSON's types alone: `price_table(price_data(it)) == it` for a table on top of the default one."""
    plain = {key: getattr(prices, key) for key in (*_RATES, "currency", "source")}
    return {"as_of": prices.as_of.isoformat(), "servers": dict(prices.servers), **plain}


def _day(value: object) -> datetime.date | None:
    if isinstance(value, datetime.date):
        return value.date() if isinstance(value, datetime.datetime) else value
    try:
        # A day that YAML itself takes for one comes through Pulumi's configuration as `2027-01-02 00:00:00 +0000 UTC`.
        return datetime.date.fromisoformat(value.removesuffix(_MIDNIGHT)) if isinstance(value, str) else None
    except ValueError:
        return None


def _price_problem(path: str, price: object) -> list[Problem]:
    if isinstance(price, bool) or not isinstance(price, (int, float)):
        return [Problem(path, f"{price!r} is not a number", "a price from 0 on")]
    return number_problem(path, price, "from 0 on")


def _number(value: object) -> float:
    return float(value) if isinstance(value, (int, float)) else math.nan
