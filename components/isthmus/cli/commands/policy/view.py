"""A migration policy on a terminal: what it is made from, its maps, what it gains, a simulated week. Fits 80 columns."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from rich.columns import Columns
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from isthmus.migration.learning.relearning import Learned
from isthmus.migration.study import Study
from isthmus.pages.learned import lines
from isthmus.pages.policy import HeatMap, figures, gains, heat_maps, period, short, week_lines

_STYLES: Final = ("black on bright_blue", "black on yellow", "black on green", "black on magenta", "black on cyan", "black on white")
_MAP_CELLS: Final = 64
"""Characters of a row of a map, without its name."""
_CELL: Final = 7
"""Of a place's name in a map, where there is room."""


def rendered(name: str, studies: Mapping[str, Study], learned: Mapping[str, Learned]) -> RenderableType:
    """Everything. Of the figures, a class shows those in which it differs from the first. learned: from what devices have told, by class;
    of a class that is not there nothing was asked."""
    parts: list[RenderableType] = []
    said: list[tuple[str, str]] = []
    for device_class, found in studies.items():
        title = "all devices" if device_class == "*" else f"class {device_class}"
        places, cells = found.built.process.shape
        parts.append(Text(f"policy · {name} · {title} · {places} places × {cells} cells = {places * cells:,} states", style="bold"))
        if device_class in learned:
            parts.append(Padding(_pairs(lines(learned[device_class])), (0, 0, 1, 2)))
        parts += [Padding(it, (0, 0, 1, 2)) for it in _study(found, said)]
        said = said or [*figures(found.built.situation)]
    return Group(*parts)


def _study(found: Study, said: Sequence[tuple[str, str]]) -> Iterator[RenderableType]:
    yield _pairs(it for it in figures(found.built.situation) if it not in said)
    places = found.built.process.places
    legend = Text("next place, by network (rows) and load  ")
    for index, place in enumerate(places):
        legend.append(f" {place} ", _STYLES[index % len(_STYLES)])
        legend.append(" ")
    yield legend
    yield Columns([_map(it) for it in heat_maps(found)], padding=(1, 3))
    yield _gains(found)
    yield Text(f"proven: no policy is cheaper by more than {found.best.misses / found.requests:.1g} ms a request", style="dim")
    yield Text(f"a simulated {period(found)} of one device: mean of {found.week.runs} runs ± its 95 % interval", style="dim")
    yield _pairs(week_lines(found))


def _pairs(lines: Iterable[tuple[str, str]]) -> Table:
    found = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    found.add_column(style="dim", no_wrap=True)
    found.add_column(overflow="fold")
    for what, much in lines:
        found.add_row(Text(what), Text(much))
    return found


def _gains(found: Study) -> Table:
    table = Table("policy", box=None, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("a request costs", justify="right")
    table.add_column("this one saves")
    for index, (name, cost, saved) in enumerate(gains(found)):
        table.add_row(Text(name), Text(cost), Text(saved), style="" if index else "bold")
    return table


def _map(it: HeatMap) -> Table:
    table = Table(title=Text(it.title, style="dim"), title_justify="left", box=None, padding=(0, 1, 0, 0), header_style="dim")
    table.add_column("", style="dim", no_wrap=True)
    width = max(1, min(_CELL, _MAP_CELLS // len(it.loads) - 1))
    for load in it.loads:
        table.add_column(load[:width], no_wrap=True)
    for network, cells in it.rows:
        table.add_row(Text(network), *(Text(f"{short(cell.name)[:width]:<{width}}", _STYLES[cell.place % len(_STYLES)]) for cell in cells))
    return table
