"""Head-room: what must be able to go wrong with a service while its objective is kept, as cases to plan for."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce
from typing import Literal

from isthmus.errors import Problem

EVERY_DAY = "the demand"
DEVICES_ASK = "as many devices ask as planned for"

Sign = Literal["positive", "from 0 on", "from 1 on"]
_HOLDS: dict[Sign, Callable[[float], bool]] = {
    "positive": lambda value: value > 0,
    "from 0 on": lambda value: value >= 0,
    "from 1 on": lambda value: value >= 1,
}


@dataclass(frozen=True)
class Headroom:
    """What must be able to go wrong while the objective is kept: each on its own, or `together` all at once.

    lost_servers: replicas that fail. zones, lost_zones: replicas are spread evenly over so many zones, and the fullest may
    fail. burst_factor: the demand grows to this multiple. max_unavailable, max_surge: of a rollout in progress, as in a
    Kubernetes Deployment: a number of replicas, or a share such as "25%" (rounded down and up, as there; if both come to 0,
    one is unavailable, as there). Surged replicas are paid for and not counted on. fallback_requests_per_second: what the
    edge devices send when they fall back to the cloud, on top of the demand. device_requests_per_second: what unsure devices send at
    the quantile that is planned for, on top of it too.
    """

    lost_servers: int = 0
    zones: int = 1
    lost_zones: int = 0
    burst_factor: float = 1.0
    max_unavailable: int | str | None = None
    max_surge: int | str | None = None
    fallback_requests_per_second: float = 0.0
    device_requests_per_second: float = 0.0
    together: bool = False

    def surge(self, planned: int) -> int:
        """Replicas that a rollout may start on top of the planned ones."""
        return _count(self.max_surge, planned, up=True)

    def unavailable(self, planned: int) -> int:
        """Replicas that a rollout may stop; 0 where no rollout is planned for."""
        if self.max_unavailable is None and self.max_surge is None:
            return 0
        down = _count(self.max_unavailable, planned, up=False)
        return max(down, 1) if self.surge(planned) == 0 else down

    def in_lost_zones(self, planned: int) -> int:
        """Replicas in the fullest `lost_zones` zones."""
        each, over = divmod(max(planned, 0), self.zones)
        return self.lost_zones * each + min(self.lost_zones, over)


@dataclass(frozen=True)
class Case:
    """serving: planned replicas → those that serve. It never falls as its argument grows, so that a plan can be bisected."""

    name: str
    requests_per_second: float
    serving: Callable[[int], int]


def cases(requests_per_second: float, headroom: Headroom) -> list[Case]:
    """The demand itself, then what the head-room asks for, then (`together`) all of it at once.

    Together, losses are taken one after the other: zones, servers, and a rollout of what is left. (A Deployment counts lost
    replicas as unavailable, so that a rollout takes no more than this.)
    """
    rate = requests_per_second
    lost = headroom.lost_servers
    losses: list[tuple[bool, str, Callable[[int], int]]] = [
        (headroom.lost_zones > 0, f"{headroom.lost_zones} of {headroom.zones} zones lost", lambda n: n - headroom.in_lost_zones(n)),
        (lost > 0, f"{lost} server{'s' if lost != 1 else ''} lost", lambda n: n - lost),
        (headroom.unavailable(1) > 0 or headroom.max_surge is not None or headroom.max_unavailable is not None,
         "rollout in progress", lambda n: n - headroom.unavailable(n)),
    ]  # fmt: skip
    extra, unsure = headroom.fallback_requests_per_second, headroom.device_requests_per_second
    growth = [
        (headroom.burst_factor > 1, f"burst of {headroom.burst_factor:g} times", rate * headroom.burst_factor),
        (extra > 0, "edge falls back to the cloud", rate + extra),
        (unsure > 0, DEVICES_ASK, rate + unsure),
    ]
    found = [Case(EVERY_DAY, rate, lambda n: n)]
    found += [Case(name, rate, serving) for asked, name, serving in losses if asked]
    found += [Case(name, grown, lambda n: n) for asked, name, grown in growth if asked]
    if headroom.together and len(found) > 2:
        each = [case.serving for case in found]
        most = rate * headroom.burst_factor + extra + unsure
        found.append(Case("all of these together", most, lambda n: reduce(lambda left, serving: serving(left), each, n)))
    return found


def headroom_problems(headroom: Headroom, path: str) -> list[Problem]:
    """Everything that is wrong with it."""
    numbers: list[tuple[str, float, Sign]] = [
        ("lost_servers", headroom.lost_servers, "from 0 on"),
        ("zones", headroom.zones, "from 1 on"),
        ("lost_zones", headroom.lost_zones, "from 0 on"),
        ("burst_factor", headroom.burst_factor, "from 1 on"),
        ("fallback_requests_per_second", headroom.fallback_requests_per_second, "from 0 on"),
        ("device_requests_per_second", headroom.device_requests_per_second, "from 0 on"),
    ]
    problems = [problem for key, value, sign in numbers for problem in number_problem(f"{path}.{key}", value, sign)]
    if headroom.lost_zones > 0 and headroom.lost_zones >= headroom.zones >= 1:
        problems.append(
            Problem(
                f"{path}.lost_zones",
                f"nothing is left when {headroom.lost_zones} of {headroom.zones} zones are lost",
                f"less than zones ({headroom.zones})",
                "spread the replicas over more zones",
            )
        )
    problems += _count_problem(f"{path}.max_unavailable", headroom.max_unavailable, most=99)
    problems += _count_problem(f"{path}.max_surge", headroom.max_surge, most=100)
    if headroom.max_unavailable in (0, "0%") and headroom.max_surge in (None, 0, "0%"):
        what = "a rollout with neither unavailable nor surged replicas cannot move"
        problems.append(Problem(f"{path}.max_unavailable", what, "max_unavailable or max_surge above 0"))
    return problems


def number_problem(path: str, value: float, sign: Sign) -> list[Problem]:
    """A problem, unless the value is finite and of that sign."""
    if isinstance(value, (int, float)) and math.isfinite(value) and _HOLDS[sign](value):
        return []
    kind = "positive number" if sign == "positive" else f"number {sign}"
    return [Problem(path, f"{value} is not a {kind}", f"a finite number, {sign}")]


def _count(value: int | str | None, planned: int, *, up: bool) -> int:
    if isinstance(value, str):
        hundredths = int(value.rstrip("%")) * max(planned, 0)
        return -(-hundredths // 100) if up else hundredths // 100
    return value or 0


def _count_problem(path: str, value: int | str | None, *, most: int) -> list[Problem]:
    digits = value[:-1] if isinstance(value, str) and value.endswith("%") else ""
    share = digits.isascii() and digits.isdigit() and int(digits) <= most
    if value is None or share or (isinstance(value, int) and value >= 0):
        return []
    return [Problem(path, f"{value!r} is neither a number of replicas nor a share", f'such as 1 or "25%", at most "{most}%"')]
