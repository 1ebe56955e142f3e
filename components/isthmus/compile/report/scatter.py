"""Where the parts of a scatter plot lie, in the units of its drawing. Pure: `page.html.j2` draws it.

x is logarithmic (sizes and times span decades), y is linear. Labels are placed greedily, each beside its mark or, joined by a
line, further away; one that finds no free place is left out, since the mark says it too when pointed at, and so does the table.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from isthmus.pages.axes import BOTTOM, LEFT, RADIUS, RIGHT, TOP, Tick, linear_ticks, log_ticks

CHARACTER = 7.0  # mean width of the bold face of the labels
LINE = 14.0
SMALLEST_SPAN = 1e-9
_NEAR, _FAR = (14.0,), (26.0, 40.0, 56.0)
# Directions in the order in which they are tried: beside the mark reads best.
_AROUND = ((1, 0), (-1, 0), (0.7, -0.7), (0.7, 0.7), (-0.7, -0.7), (-0.7, 0.7), (0, -1), (0, 1))

Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Point:
    """One variant. x > 0; x_to: end of a whisker to the right; about: lines that are shown when it is pointed at."""

    label: str
    x: float
    y: float
    about: tuple[str, ...]
    chosen: bool = False
    x_to: float | None = None


@dataclass(frozen=True)
class Label:
    """x, y: of its text, on the base line. anchor: SVG's text-anchor. line_to: where a line from its mark ends, if it lies far from it."""

    x: float
    y: float
    anchor: str
    line_to: tuple[float, float] | None


@dataclass(frozen=True)
class Mark:
    point: Point
    x: float
    y: float
    x_to: float | None
    label: Label | None


@dataclass(frozen=True)
class Plot:
    """x_ticks, y_ticks: positions and texts. level: y of the horizontal line, if there is one."""

    marks: tuple[Mark, ...]
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    level: float | None


def scatter(
    points: Sequence[Point],
    *,
    x_text: Callable[[float], str],
    y_text: Callable[[float], str],
    level: float | None = None,
    least_span: float = 0.0,
    y_most: float = math.inf,
) -> Plot:
    """A plot of at least one point.

    Args:
        x_text, y_text: a tick's value as text.
        level: y of a horizontal line to compare with.
        least_span: of the y axis, so that noise does not look like a difference.
        y_most: no tick is above this.
    """
    ends = [end for point in points for end in (point.x, point.x_to or point.x)]
    low, high = min(ends) / 1.35, max(ends) * 1.35
    bottom, top = _y_range([point.y for point in points] + ([] if level is None else [level]), least_span)

    def x_at(value: float) -> float:
        return LEFT + (RIGHT - LEFT) * math.log(value / low) / math.log(high / low)

    def y_at(value: float) -> float:
        return BOTTOM - (BOTTOM - TOP) * (value - bottom) / (top - bottom)

    line = None if level is None else y_at(level)
    marks = [Mark(point, x_at(point.x), y_at(point.y), x_at(point.x_to) if point.x_to else None, None) for point in points]
    return Plot(
        marks=tuple(_labelled(marks, line)),
        x_ticks=tuple(Tick(x_at(value), x_text(value)) for value in log_ticks(low, high)),
        y_ticks=tuple(Tick(y_at(value), y_text(value)) for value in linear_ticks(bottom, top) if value <= y_most * (1 + 1e-12)),
        level=line,
    )


def _y_range(values: Sequence[float], least_span: float) -> tuple[float, float]:
    low, high = min(values), max(values)
    # What is all but 0 has no digits left to divide a span of its own size by.
    missing = max(least_span - (high - low), 0.0) or (0.0 if high - low > SMALLEST_SPAN else max(abs(high), SMALLEST_SPAN))
    low, high = low - missing / 2, high + missing / 2
    return low - 0.1 * (high - low), high + 0.1 * (high - low)


def _labelled(marks: Sequence[Mark], level: float | None) -> Iterator[Mark]:
    taken = [_around(mark.x, mark.y) for mark in marks]
    taken += [] if level is None else [(LEFT, level - 1, RIGHT, level + 1)]
    taken += [(mark.x, mark.y - 2, mark.x_to, mark.y + 2) for mark in marks if mark.x_to]
    labels: dict[int, Label | None] = {}
    for index in sorted(range(len(marks)), key=lambda index: not marks[index].point.chosen):
        labels[index] = _free_place(marks[index], taken)
    for index, mark in enumerate(marks):
        yield Mark(mark.point, mark.x, mark.y, mark.x_to, labels[index])


def _free_place(mark: Mark, taken: list[Box]) -> Label | None:
    """The first free place; takes it."""
    width = CHARACTER * len(mark.point.label)
    for distance in (*_NEAR, *_FAR):
        for across, down in _AROUND:
            x, y = mark.x + across * distance, mark.y + down * distance
            left = min(max(x - width / 2, LEFT + 2), RIGHT - width) if across == 0 else x if across > 0 else x - width
            box = (left, y - LINE / 2, left + width, y + LINE / 2)
            inside = box[0] >= LEFT + 2 and box[2] <= RIGHT and box[1] >= TOP - 8 and box[3] <= BOTTOM - 1
            if inside and not any(_overlap(box, other) for other in taken):
                taken.append(box)
                anchor, at = ("end", x) if across < 0 else ("start", left)
                end = (x, y - down * LINE / 2 if across == 0 else y)
                return Label(at, y + LINE * 0.3, anchor, end if distance in _FAR else None)
    return None


def _around(x: float, y: float) -> Box:
    return (x - RADIUS, y - RADIUS, x + RADIUS, y + RADIUS)


def _overlap(one: Box, other: Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]
