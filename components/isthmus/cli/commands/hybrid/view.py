"""Where the requests of devices run, on a terminal: a row a device, the cloud role, and the policy's maps. Fits 80 columns."""

from collections.abc import Iterator
from typing import Final

from rich.columns import Columns
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from isthmus.migration.running import HEADS, SHARES, MapCell, Reading, Row, RunningMap, cloud_line, maps, notes, rows
from isthmus.pages.policy import short
from isthmus.words import plain

STYLES: Final = ("black on bright_blue", "black on yellow", "black on green", "black on magenta", "black on cyan", "black on white")
MOST_MAPS: Final = 4
_NAME_CHARACTERS: Final = 18
_CELL_CHARACTERS: Final = 10
_NOTHING: Final = "–"


def rendered(reading: Reading) -> RenderableType:
    """One frame."""
    found = rows(reading)
    parts: list[RenderableType] = [Text(f"hybrid · {reading.name} · {reading.time}", style="bold")]
    if found:
        parts.append(Padding(_table(found), (0, 0, 0, 2)))
        parts += [Padding(it, (0, 0, 0, 2)) for it in _reasons(found)]
    parts.append(Padding(Text(f"cloud  {cloud_line(reading)}"), (0, 0, 0, 2)))
    parts += [Padding(Text(it, style="yellow"), (0, 0, 0, 2)) for it in notes(reading)]
    drawn = maps(reading, MOST_MAPS)
    if drawn:
        parts.append(Padding(Text("next place by the policy; [n]: n devices are there now", style="dim"), (1, 0, 0, 2)))
        parts.append(Padding(Columns([_map(it) for it in drawn], padding=(1, 3)), (0, 0, 0, 2)))
    return Group(*parts)


def _table(found: tuple[Row, ...]) -> Table:
    """Shares are of the last minute."""
    table = Table(box=None, padding=(0, 1, 0, 0), header_style="dim")
    shown = [name for name in SHARES if name in ("here", "cloud", "passed_on") or any(row.shares.get(name) for row in found)]
    table.add_column("device", overflow="ellipsis", no_wrap=True, max_width=_NAME_CHARACTERS)
    table.add_column("now", overflow="fold")
    for name in shown:
        table.add_column(HEADS[name].replace("passed on", "passed"), justify="right", no_wrap=True)
    for head in ("req/s", "rtt", "p50", "p95"):
        table.add_column(head, justify="right", no_wrap=True)
    table.add_column("breaker", overflow="fold", min_width=7)
    for row in found:
        shares = [f"{100 * row.shares[name]:.0f} %" if row.shares else _NOTHING for name in shown]
        times = [_ms(row.round_trip_ms), _ms(row.p50_ms), _ms(row.p95_ms)]
        rate = _NOTHING if row.per_second is None else plain(row.per_second)
        table.add_row(*map(Text, (row.name, row.now or _NOTHING, *shares, rate, *times, row.breaker)), style="" if row.is_well else "red")
    return table


def _ms(value: float | None) -> str:
    return _NOTHING if value is None else f"{value:.3g} ms"


def _reasons(found: tuple[Row, ...]) -> Iterator[Text]:
    """Why, for each: what several have in common is said once."""
    names: dict[str, list[str]] = {}
    for row in found:
        if row.why:
            names.setdefault(row.why, []).append(row.name)
    for reason, its in names.items():
        yield Text(f"{', '.join(its[:3])}{' …' if len(its) > 3 else ''}: {reason}", style="dim")


def _map(it: RunningMap) -> Table:
    table = Table(title=Text(it.title, style="dim"), title_justify="left", box=None, padding=(0, 1, 0, 0), header_style="dim")
    table.add_column(" / ".join(name for name in it.names if name), style="dim", no_wrap=True)
    for column in it.columns:
        table.add_column(Text(column[:_CELL_CHARACTERS]), no_wrap=True)
    for level, cells in it.rows:
        table.add_row(Text(level), *map(_cell, cells))
    return table


def _cell(it: MapCell) -> Text:
    count = f" [{len(it.devices)}]" if it.devices else ""
    name = short(it.name)[: _CELL_CHARACTERS - len(count)]
    return Text(f"{name + count:<{_CELL_CHARACTERS}}", f"{'bold reverse ' if it.devices else ''}{STYLES[it.place % len(STYLES)]}")
