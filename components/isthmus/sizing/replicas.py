"""How many equal servers a demand needs, with head-room, and the numbers that say why."""

import math
from collections.abc import Callable
from dataclasses import dataclass

from isthmus.errors import GateError, Problem
from isthmus.limits import MOST_REPLICAS, SCV
from isthmus.sizing.headroom import EVERY_DAY, Case, Headroom, cases, headroom_problems, number_problem
from isthmus.sizing.queueing import mean_response_ms, response_time_quantile_ms, response_time_tail, service_time_quantile_ms

OBJECTIVE_QUANTILE = 0.95


@dataclass(frozen=True)
class Demand:
    """requests_per_second: λ, mean arrival rate. p95_ms: 95 % of the requests are to be answered within it."""

    requests_per_second: float
    p95_ms: float


@dataclass(frozen=True)
class CasePlan:
    """One case of the head-room, for the number of replicas that was planned.

    needed: replicas that this case alone needs. serving: of the planned ones, those that still serve in it.
    """

    name: str
    requests_per_second: float
    needed: int
    serving: int
    p95_ms: float


@dataclass(frozen=True)
class ReplicaPlan:
    """The smallest number of replicas that keeps the objective, with what is predicted for it.

    utilisation: λ/(cμ), in [0, 1). p95_with_one_less_ms: None where one less could not keep up at all. bound: what made it
    this many. cases: the demand itself, then each case of the head-room. peak_replicas: with a rollout's surge.
    """

    replicas: int
    requests_per_second: float
    p95_objective_ms: float
    service_rate_per_second: float
    utilisation: float
    mean_ms: float
    p50_ms: float
    p95_ms: float
    p95_with_one_less_ms: float | None
    bound: str
    scv: float = 1.0
    cases: tuple[CasePlan, ...] = ()
    peak_replicas: int = 0

    def explain(self) -> str:
        """The arithmetic in one line, as the preview shows it; with head-room, one more line a case."""
        less = (
            "" if self.replicas == 1
            else f"; with {self.replicas - 1}: "
            + ("cannot keep up" if self.p95_with_one_less_ms is None else f"p95 {self.p95_with_one_less_ms:.1f} ms")
        )  # fmt: skip
        model = "M/M/c" if self.scv == 1 else f"M/G/c, scv {self.scv:g}"
        text = (
            f"{model}: λ = {self.requests_per_second:g}/s, μ = {self.service_rate_per_second:.1f}/s per replica "
            f"→ {self.replicas} replica{'s' if self.replicas != 1 else ''} ({self.bound}): utilisation {self.utilisation:.0%}, "
            f"p50 {self.p50_ms:.1f} ms, p95 {self.p95_ms:.1f} ms (objective {self.p95_objective_ms:g} ms){less}"
        )
        for case in self.cases[1:]:
            text += (
                f"\n  {case.name}: {case.serving} of {self.replicas} serve {case.requests_per_second:g}/s, "
                f"p95 {case.p95_ms:.1f} ms; needs {case.needed}" + (" (binding)" if case.name == self.bound else "")
            )
        return text


def plan_replicas(
    demand: Demand,
    service_rate_per_second: float,
    *,
    scv: float = 1.0,
    headroom: Headroom | None = None,
    min_replicas: int = 1,
    max_replicas: int = MOST_REPLICAS,
    path: str = "",
) -> ReplicaPlan:
    """The smallest c in [min_replicas, max_replicas] whose predicted p95 is within the objective, in each case of the head-room.

    Args:
        scv: squared coefficient of variation of the service time; 1 is M/M/c.
        path: property path of the service, for the messages.

    Raises:
        GateError: a number is not one, no number of replicas can meet the objective, or more than `max_replicas` would be
            needed (it says how many).
    """
    headroom = headroom or Headroom()
    problems = demand_problems(demand, path) + headroom_problems(headroom, _at(path, "headroom"))
    problems += number_problem(_at(path, "service_rate_per_second"), service_rate_per_second, "positive")
    problems += scv_problems(_at(path, "scv"), scv) + number_problem(_at(path, "min_replicas"), min_replicas, "from 0 on")
    if min_replicas > max_replicas:
        problems.append(Problem(_at(path, "min_replicas"), f"{min_replicas} is more than max_replicas", f"at most {max_replicas}"))
    if problems:
        raise GateError(problems)
    mu = service_rate_per_second
    alone_ms = service_time_quantile_ms(OBJECTIVE_QUANTILE, mu, scv)
    if demand.p95_ms <= alone_ms:
        raise GateError(
            [
                Problem(
                    _at(path, "p95_ms"),
                    f"a p95 of {demand.p95_ms:g} ms cannot be met by any number of replicas: one request alone takes "
                    f"{1000 / mu:.2f} ms on average, {alone_ms:.2f} ms at p95",
                    f"more than {alone_ms:.2f} ms",
                    "relax p95_ms, or make the model faster (a smaller model, a lighter recipe)",
                )
            ]
        )
    planned_for = cases(demand.requests_per_second, headroom)
    needs = [_needed(case, demand, mu, scv) for case in planned_for]
    short = [(case, need) for case, need in zip(planned_for, needs, strict=True) if need is None or need > max_replicas]
    if short:
        raise GateError([_too_many(case, need, mu, max_replicas=max_replicas, path=path) for case, need in short])
    needed = [need for need in needs if need is not None]
    fewest = max(needed)
    replicas = max(fewest, min_replicas)
    rate = demand.requests_per_second

    def p95(servers: int, arrivals: float) -> float:
        return response_time_quantile_ms(OBJECTIVE_QUANTILE, servers, arrivals, mu, scv)

    # The name of the first case that needs them all: the demand comes first, so that head-room binds only where it adds.
    binding = "the fewest that keep the objective" if needed[0] == fewest else planned_for[needed.index(fewest)].name
    return ReplicaPlan(
        replicas=replicas,
        requests_per_second=rate,
        p95_objective_ms=demand.p95_ms,
        service_rate_per_second=mu,
        utilisation=rate / (replicas * mu),
        mean_ms=mean_response_ms(replicas, rate, mu, scv),
        p50_ms=response_time_quantile_ms(0.5, replicas, rate, mu, scv),
        p95_ms=p95(replicas, rate),
        p95_with_one_less_ms=p95(replicas - 1, rate) if rate / mu < replicas - 1 else None,
        bound=binding if replicas == fewest else "min_replicas",
        scv=scv,
        cases=tuple(
            CasePlan(case.name, case.requests_per_second, need, serving, p95(serving, case.requests_per_second))
            for case, need in zip(planned_for, needed, strict=True)
            for serving in [case.serving(replicas)]
        ),
        peak_replicas=replicas + headroom.surge(replicas),
    )


def fewest_replicas(demand: Demand, service_rate_per_second: float, scv: float, headroom: Headroom) -> int | None:
    """As `plan_replicas`, the number alone, for arguments that it has taken. None beyond MOST_REPLICAS."""
    needs = [_needed(case, demand, service_rate_per_second, scv) for case in cases(demand.requests_per_second, headroom)]
    known = [need for need in needs if need is not None]
    return max(known) if len(known) == len(needs) else None


def _needed(case: Case, demand: Demand, mu: float, scv: float) -> int | None:
    """The fewest planned replicas with which the case keeps the objective. None beyond MOST_REPLICAS."""
    rate = case.requests_per_second

    def meets(servers: int) -> bool:
        # Asking the tail at the objective costs one evaluation; the quantile itself costs a bisection.
        return rate / mu < servers and response_time_tail(demand.p95_ms, servers, rate, mu, scv) <= 1 - OBJECTIVE_QUANTILE

    if rate / mu >= MOST_REPLICAS:
        return None
    serving = smallest(math.floor(rate / mu) + 1, meets)
    return None if serving is None else smallest(serving, lambda planned: case.serving(planned) >= serving)


def smallest(start: int, meets: Callable[[int], bool]) -> int | None:
    """The smallest c ≥ start that meets the objective; p95 falls with c, so double, then bisect. None beyond MOST_REPLICAS."""
    if start > MOST_REPLICAS:
        return None
    high = start
    while not meets(high):
        if high >= MOST_REPLICAS:
            return None
        high = min(2 * high, MOST_REPLICAS)
    low = start
    while low < high:
        middle = (low + high) // 2
        if meets(middle):
            high = middle
        else:
            low = middle + 1
    return high


def _too_many(case: Case, need: int | None, mu: float, *, max_replicas: int, path: str) -> Problem:
    name = "" if case.name == EVERY_DAY else f" ({case.name})"
    busy = math.ceil(case.requests_per_second / mu)
    return Problem(
        _at(path, "requests_per_second" if case.name == EVERY_DAY else "headroom"),
        f"{case.requests_per_second:g} requests/s at {mu:.1f} requests/s per replica{name} need "
        + (f"{need} replicas" if need else f"more than {MOST_REPLICAS} replicas ({busy} of them busy all the time)"),
        f"at most {max_replicas} (max_replicas)",
        "raise max_replicas, lower requests_per_second, or relax p95_ms" + ("" if not name else ", or ask for less head-room"),
    )


def _at(path: str, key: str) -> str:
    return f"{path}.{key}".lstrip(".")


def demand_problems(demand: Demand, path: str) -> list[Problem]:
    """Everything that is wrong with the demand's own numbers."""
    rate = number_problem(_at(path, "requests_per_second"), demand.requests_per_second, "positive")
    return rate + number_problem(_at(path, "p95_ms"), demand.p95_ms, "positive")


def scv_problems(path: str, scv: float) -> list[Problem]:
    """What is wrong with a squared coefficient of variation."""
    problems = number_problem(path, scv, "from 0 on")
    if not problems and scv > SCV.most:
        problems.append(Problem(path, f"{scv:g} is beyond what two moments can describe", f"at most {SCV.most:g}"))
    return problems
