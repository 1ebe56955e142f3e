"""A stack's plan in a terminal: the table, the answers to a scenario, curves drawn in blocks, and the arithmetic."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from isthmus.sizing.asking.deployed import ServiceNow, StackPlan, answer_lines
from isthmus.sizing.asking.explain import Explanation
from isthmus.sizing.asking.table import COLUMNS, WORDS, total
from isthmus.sizing.asking.what_if import CurvePoint
from isthmus.sizing.rollout import WAVE_COLUMNS
from isthmus.words import money, plain

_EIGHTHS = " ▁▂▃▄▅▆▇█"
P95_ROWS, COST_ROWS = 6, 4
# The p95's axis ends at this multiple of the objective.
P95_AXIS = 2.0
MARGIN = 11


def rendered(plan: StackPlan, *, explain: bool = False) -> RenderableType:
    """Everything; fits a terminal of 80 columns. The curves come with a scenario."""
    parts: list[RenderableType] = [_table(plan), Text(total(plan.rows)), ""]
    for name, service in plan.services.items():
        if plan.scenario.asked:
            head = Text.assemble((name, "bold"), f": what if {', '.join(plan.scenario.asked)}?")
            style = "green" if service.answer.kept else "red"
            lines = answer_lines(service.answer, asked=True)
            parts += [head, *(Padding(Text(text, style if not index else ""), (0, 0, 0, 2)) for index, text in enumerate(lines)), ""]
            parts += [*_curves(service), ""]
        if explain:
            parts += [Text(name, "bold"), _explained(service.explanations), ""]
    for name, explanations in plan.fleets.items():
        if waves := plan.waves.get(name, ()):
            parts += [Text(f"{name}: waves of a rollout", "bold"), _waves(waves), *(Text(f"  {wave['gate']}", "dim") for wave in waves), ""]
        if explain:
            parts += [Text(f"{name} (devices)", "bold"), _explained(explanations), ""]
    return Group(*parts[:-1])


def _table(plan: StackPlan) -> Table:
    shown = [column for column in COLUMNS if column.head != "change"]
    found = Table(box=None, padding=(0, 1, 0, 0), header_style="dim")
    for index, column in enumerate(shown):
        found.add_column(column.head, justify="left" if index < WORDS else "right", overflow="fold", no_wrap=index >= 1)
    for row in plan.rows:
        found.add_row(*(Text(column.text(row)) for column in shown))
    return found


def _waves(waves: Sequence[Mapping[str, Any]]) -> RenderableType:
    found = Table(box=None, padding=(0, 1, 0, 0), header_style="dim")
    for index, column in enumerate(WAVE_COLUMNS):
        found.add_column(column.head, justify="right" if index else "left", overflow="fold")
    for wave in waves:
        found.add_row(*(Text(column.text(wave)) for column in WAVE_COLUMNS))
    return Padding(found, (0, 0, 0, 2))


def _explained(explanations: Sequence[Explanation]) -> RenderableType:
    """One number on a line, and below it how it came about."""
    found = Table.grid(padding=(0, 2))
    found.add_column(style="bold", overflow="fold")
    found.add_column(overflow="fold")
    for it in explanations:
        found.add_row(Text(it.number), Text.assemble((it.result, "bold"), f" = {it.formula}\n", (it.inputs, "dim")))
    return Padding(found, (0, 0, 0, 2))


def _curves(service: ServiceNow) -> list[RenderableType]:
    points, now = service.curve, service.plan.inputs.requests_per_second
    objective, currency = service.plan.inputs.p95_ms, service.answer.currency
    p95 = [None if point.p95_ms is None else point.p95_ms for point in points]
    costs = [point.cost for point in points]
    most = max((cost for cost in costs if cost is not None), default=0.0)
    needed = [None if point.replicas is None else float(point.replicas) for point in points]
    heights, top = (costs, money(most)) if most else (needed, f"{max((it for it in needed if it), default=0.0):g}")
    what = f"cost of the servers needed, {currency} a month" if most else "servers needed (they cost nothing)"
    return [
        Text(f"  p95 of {service.answer.serving} servers, ms (red: beyond {objective:g} ms; ×: cannot keep up)", "dim"),
        *bars(p95, P95_AXIS * objective, P95_ROWS, plain(P95_AXIS * objective), limit=objective),
        _axis(points, now),
        Text(f"  {what}", "dim"),
        *bars(heights, max((it for it in heights if it), default=1.0), COST_ROWS, top),
        _axis(points, now),
    ]


def bars(values: Sequence[float | None], top: float, rows: int, top_text: str, *, limit: float | None = None) -> list[Text]:
    """One column a value, from the bottom up to `top`; what is higher is cut off.

    Args:
        values: None is drawn as × in the lowest row.
        top_text: what stands beside the highest row.
        limit: values above it are red.
    """
    lines = []
    for row in range(rows - 1, -1, -1):
        line = Text(f"{top_text if row == rows - 1 else '0' if row == 0 else '':>{MARGIN - 2}} ", "dim")
        line.append("│")
        for value in values:
            if value is None:
                line.append("×" if row == 0 else " ", "red")
                continue
            eighths = round(8 * rows * min(value, top) / top) if top else 0
            block = _EIGHTHS[max(0, min(8, max(eighths, 1 if value > 0 else 0) - 8 * row))]
            line.append(block, "red" if limit is not None and value > limit else "cyan")
        lines.append(line)
    return lines


def _axis(points: Sequence[CurvePoint], now: float) -> Text:
    """The demands at both ends, and a mark below the one that was planned for."""
    at = next(index for index, point in enumerate(points) if point.requests_per_second == now)
    last, mark = f"{plain(points[-1].requests_per_second)}/s", f"▲ {plain(now)}/s"
    width = len(points)
    left = mark.rjust(at + 1) if at + len(mark) > width - len(last) - 1 else " " * at + mark
    if at + len(mark) > width - len(last) - 1:
        left = f"{plain(now)}/s ▲".rjust(at + 1)
    return Text(" " * MARGIN + left + last.rjust(max(0, width - len(left))), "dim", no_wrap=True)
