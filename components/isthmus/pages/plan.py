"""One page about a stack's plan: the table, what p95 and cost do when the demand grows, and each number's arithmetic."""

from collections.abc import Sequence
from dataclasses import dataclass

from isthmus.pages.axes import FRAME
from isthmus.pages.lines import LinePlot, Spot, line
from isthmus.pages.rendering import style, template
from isthmus.sizing.asking.deployed import ServiceNow, StackPlan, answer_lines
from isthmus.sizing.asking.explain import Explanation
from isthmus.sizing.asking.table import CLOUD, COLUMNS, EDGE, total
from isthmus.sizing.asking.what_if import CurvePoint
from isthmus.sizing.rollout import WAVE_COLUMNS
from isthmus.words import money, plain

# The p95's axis ends at this multiple of the objective: beyond it the line only says `no`.
P95_AXIS = 2.5


@dataclass(frozen=True)
class Figure:
    """needed: it shows what would be needed, not what is deployed."""

    title: str
    y_axis: str
    plot: LinePlot
    needed: bool


@dataclass(frozen=True)
class Section:
    """What the page says of one service."""

    name: str
    answer: tuple[str, ...]
    figures: tuple[Figure, ...]
    explanations: tuple[Explanation, ...]


def html(plan: StackPlan) -> str:
    """The page, complete. Raises PlatformError where the template engine is not installed."""
    line_below = total(plan.rows)
    return template("isthmus.pages", "plan.html.j2").render(
        plan=plan,
        columns=[column for column in COLUMNS if column.head != "change"],
        line=line_below,
        total=line_below.removeprefix("all: ").removesuffix(" a month") or "nothing",
        servers=sum(row.servers for row in plan.rows if row.role == CLOUD),
        devices=sum(row.servers for row in plan.rows if row.role == EDGE),
        services=[_section(name, service, asked=bool(plan.scenario.asked)) for name, service in plan.services.items()],
        fleets=[(name, explanations, plan.waves.get(name, ())) for name, explanations in plan.fleets.items()],
        wave_columns=WAVE_COLUMNS,
        frame=FRAME,
        css=style(),
    )


def _section(name: str, service: ServiceNow, *, asked: bool) -> Section:
    objective, currency = service.plan.inputs.p95_ms, service.answer.currency
    now, points = service.plan.inputs.requests_per_second, service.curve
    servers = f"{service.answer.serving} servers"
    p95 = _spots(points, [point.p95_ms for point in points], now, servers, currency)
    cost = _spots(points, [point.cost for point in points], now, servers, currency)
    return Section(
        name,
        tuple(answer_lines(service.answer, asked)),
        (
            Figure(
                f"p95 of {servers}",
                "p95, ms",
                line(p95, now=now, x_text=plain, y_text=plain, level=objective, y_top=P95_AXIS * objective),
                needed=False,
            ),
            Figure(
                "Cost of the servers needed",
                f"{currency} a month",
                line(cost, now=now, x_text=plain, y_text=plain, steps=True),
                needed=True,
            ),
        ),
        service.explanations,
    )


def _spots(points: Sequence[CurvePoint], values: Sequence[float | None], now: float, servers: str, currency: str) -> list[Spot]:
    return [
        Spot(point.requests_per_second, value, _about(point, servers, currency), point.requests_per_second == now)
        for point, value in zip(points, values, strict=True)
    ]


def _about(point: CurvePoint, servers: str, currency: str) -> tuple[str, ...]:
    p95 = "cannot keep up" if point.p95_ms is None else f"p95 {plain(point.p95_ms)} ms"
    needed = "no plan" if point.replicas is None else f"{point.replicas} needed, {money(point.cost or 0.0)} {currency} a month"
    return (f"{plain(point.requests_per_second)} requests/s", f"{servers}: {p95}", needed)
