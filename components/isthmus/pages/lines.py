"""Where the parts of a plot of one line lie, in the units of its drawing. Pure; `plan.html.j2` draws it. Both axes are linear, from 0."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from isthmus.pages.axes import BOTTOM, LEFT, RIGHT, TOP, Tick, linear_ticks

# Marks are this many, so that a keyboard gets past them.
MOST_MARKS = 13


@dataclass(frozen=True)
class Spot:
    """A point of the line. y None: there is none, and the line has a gap. about: lines that are shown when it is pointed at."""

    x: float
    y: float | None
    about: tuple[str, ...]
    chosen: bool = False


@dataclass(frozen=True)
class SpotMark:
    spot: Spot
    x: float
    y: float


@dataclass(frozen=True)
class LinePlot:
    """lines: points of each unbroken piece, as SVG has them. beyond: where nothing is in reach, from its left edge to the right."""

    lines: tuple[str, ...]
    marks: tuple[SpotMark, ...]
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    level: float | None
    now: float
    beyond: float | None


def line(
    spots: Sequence[Spot],
    *,
    now: float,
    x_text: Callable[[float], str],
    y_text: Callable[[float], str],
    level: float | None = None,
    y_top: float | None = None,
    steps: bool = False,
) -> LinePlot:
    """A plot of at least one spot, in the order of x, which is above 0.

    Args:
        now: x of a vertical line.
        level: y of a horizontal line to compare with.
        y_top: end of the y axis; the line leaves the plot there. None: a little above the highest spot.
        steps: the line keeps its height up to the next spot.
    """
    right = max(spot.x for spot in spots)
    top = y_top or 1.15 * max([spot.y for spot in spots if spot.y is not None] + [level or 0.0]) or 1.0

    def x_at(value: float) -> float:
        return LEFT + (RIGHT - LEFT) * value / right

    def y_at(value: float) -> float:
        return BOTTOM - (BOTTOM - TOP) * min(value, top) / top

    shown = [spot for spot in spots if spot.y is not None]
    chosen = _spread(shown)
    return LinePlot(
        lines=tuple(_pieces(spots, x_at, y_at, top, steps=steps)),
        marks=tuple(SpotMark(spot, x_at(spot.x), y_at(spot.y or 0.0)) for spot in chosen if (spot.y or 0.0) <= top),
        x_ticks=tuple(Tick(x_at(value), x_text(value)) for value in linear_ticks(0, right)),
        y_ticks=tuple(Tick(y_at(value), y_text(value)) for value in linear_ticks(0, top)),
        level=None if level is None else y_at(level),
        now=x_at(now),
        beyond=next((x_at(spot.x) for spot in spots if spot.y is None), None),
    )


def _spread(spots: Sequence[Spot]) -> list[Spot]:
    """At most `MOST_MARKS` of them at even distances, and those that are chosen."""
    every = max(1, -(-len(spots) // MOST_MARKS))
    return [spot for index, spot in enumerate(spots) if spot.chosen or index % every == 0]


def _pieces(spots: Sequence[Spot], x_at: Callable[[float], float], y_at: Callable[[float], float], top: float, *, steps: bool) -> list[str]:
    pieces: list[list[tuple[float, float]]] = [[]]
    for spot in spots:
        piece = pieces[-1]
        if spot.y is None:
            pieces.append([])
            continue
        if piece and piece[-1][1] <= TOP and spot.y > top:
            continue  # it has left the plot
        if piece and steps:
            piece.append((x_at(spot.x), piece[-1][1]))
        piece.append((x_at(spot.x), y_at(spot.y)))
    return [" ".join(f"{x:.1f},{y:.1f}" for x, y in piece) for piece in pieces if len(piece) > 1]
