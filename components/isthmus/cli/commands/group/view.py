"""What is shown of a group that was learned."""

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from rich import box
from rich.table import Table

from isthmus.cli.commands.group.heads import Compared
from isthmus.cli.commands.group.options import Options
from isthmus.compile.report.rows import rows_of
from isthmus.fusion.measures import Estimate
from isthmus.fusion.threats import Threats
from isthmus.fusion.validate import Figures
from isthmus.words import percent, plain
from isthmus_agent.core.fusion import Fusion
from isthmus_agent.formats import digests
from isthmus_agent.formats.fusion_group import FusionGroup
from isthmus_agent.formats.numbers import MILLION

_WIDTH = 34
_LOST = (
    ("lost_missing", "one missing"),
    ("lost_lying", "one lies"),
    ("lost_lying_and_missing", "one lies, one is missing"),
    ("lost_worst", "one lies in the worst way"),
    ("lost_worst_and_missing", "the same, one missing"),
)


def shown(group: FusionGroup, figures: Figures, lost: Threats | None, ways: Compared | None, options: Options) -> Iterator[Table | str]:
    """The table of the members, the figures in lines, and the table of what lies cost. lost: None for a group that is too small for
    it. ways: None where they were not compared."""
    yield _table(group, figures)
    learned_apart = f"on {figures.examples:,} examples that it was not learned from ({figures.folds} folds)"
    yield f"{'group':<{_WIDTH}}{_share(figures.group)}, {learned_apart}"
    if len(figures.members) == 1:
        yield "a group of one answers as its member does"
    else:
        no_gain = "" if figures.gain.low > 0 else ": no gain is shown"
        yield f"{'above ' + figures.best:<{_WIDTH}}{_points(figures.gain)}{no_gain}"
    for name, words in _LOST:
        if (found := getattr(figures, name)) is not None:
            yield f"{'lost, ' + words:<{_WIDTH}}{_points(found)}"
    if lost:
        yield _lies(lost)
        yield f"{'memory costs, nobody lies':<{_WIDTH}}{_points(lost.nobody)}"
    yield f"{'an answer':<{_WIDTH}}{plain(figures.answer_bytes)} bytes on the wire in the mean, clip {plain(group.clip)} nats"
    yield f"{'release':<{_WIDTH}}{group.release}"
    if ways:
        yield from _ways(ways, options)
    if options.out:
        yield f"{'file':<{_WIDTH}}{options.out} ({digests.PREFIX}{digests.shown(group.digest)}…)"


def as_data(group: FusionGroup, figures: Figures, lost: Threats | None, ways: Compared | None) -> dict[str, Any]:
    """What `--json` prints: the file's content, its digest, and every figure, unrounded."""
    return {
        "group": group.to_value(),
        "digest": group.digest,
        "figures": asdict(figures),
        "threats": asdict(lost) if lost else None,
        "ways": ways.to_data() if ways else None,
        "weights": Fusion(group).weights(_names(group)),
    }


def _table(group: FusionGroup, figures: Figures) -> Table:
    grid = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    grid.add_column("member", no_wrap=True)
    for head in ("alone", "95 %", "temperature", "weight", "group without it"):
        grid.add_column(head, justify="right", no_wrap=True)
    weights = Fusion(group).weights(_names(group))
    for member, found in zip(group.members, figures.members, strict=True):
        heard = member.strength_millionths > 0
        grid.add_row(
            member.name,
            percent(found.alone.value),
            f"{percent(found.alone.low)} to {percent(found.alone.high)}",
            plain(MILLION / member.scale_millionths) if heard else "",
            f"{weights[member.name]:.2f}" if heard else "no better than chance",
            percent(found.without.value) if found.without else "",
        )
    return grid


def _ways(ways: Compared, options: Options) -> Iterator[Table | str]:
    found, head = ways.comparison, ways.head
    grid = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    grid.add_column("way", no_wrap=True)
    for title in ("right", "lost, one missing", "one sees another, one missing", "bytes"):
        grid.add_column(title, justify="right", no_wrap=True)
    for way in (found.log_odds, found.features):
        swapped = _points(way.lost_swapped_and_missing) if way.lost_swapped_and_missing else ""
        grid.add_row(way.name, _share(way.right), _points(way.lost_missing), swapped, plain(way.answer_bytes))
    yield grid
    yield f"{'features above log-odds':<{_WIDTH}}{_points(found.above)}"
    yield f"{'chosen':<{_WIDTH}}{found.chosen}: {found.reason}"
    yield f"{'embedding':<{_WIDTH}}layer {ways.embeddings.layer} ({ways.embeddings.name}) of the variant for devices"
    rows = [row for row in rows_of(head) if row.accuracy is not None]
    forms = ", ".join(f"{row.recipe} {percent(row.accuracy)} in {plain(row.size_bytes)} bytes" for row in rows)
    yield f"{'head, compiled':<{_WIDTH}}{forms}; on {ways.held_out} examples that it was not learned from"
    yield f"{'head':<{_WIDTH}}{head.digest}" + (f", {options.head}" if options.head else "")
    yield "no device runs a head yet: devices answer by the group's file, which is that of log-odds"


def _lies(lost: Threats) -> Table:
    grid = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    grid.add_column("lost, one is missing, one lies", no_wrap=True)
    for head in ("one answer alone", "with memory"):
        grid.add_column(head, justify="right", no_wrap=True)
    for name, it in lost.by_lie.items():
        grid.add_row(name, _points(it.at_once), _points(it.remembering))
    grid.add_row("(says nothing)", _points(lost.two_missing), "")
    return grid


def _names(group: FusionGroup) -> list[str]:
    return [member.name for member in group.members]


def _share(found: Estimate) -> str:
    return f"{percent(found.value)} ({percent(found.low)} to {percent(found.high)})"


def _points(found: Estimate) -> str:
    return f"{100 * found.value:+.2f} points ({100 * found.low:+.2f} to {100 * found.high:+.2f})"
