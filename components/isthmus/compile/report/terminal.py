"""The table of variants for a terminal."""

from collections.abc import Sequence

from rich import box
from rich.console import Console, ConsoleOptions, RenderResult
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from isthmus.compile.report.rows import Column, Row, baseline_of, columns, rows_of, share, size, why
from isthmus.release.manifest import EDGE, Release


def table(release: Release) -> "Variants":
    """A rich renderable: every variant with its figures, which one was chosen, and why. Fits any width: see `Variants`."""
    return Variants(release)


class Variants:
    """In a narrow terminal columns are left out, the least telling first, and the last line says which."""

    def __init__(self, release: Release) -> None:
        self._release = release

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        release, rows = self._release, rows_of(self._release)
        every = columns(release.record.metric, edge=release.manifest.has(EDGE))
        shown = list(every)
        while len(shown) > 1 and Measurement.get(console, options.update(width=10_000), _grid(rows, shown)).maximum > options.max_width:
            shown.remove(min(shown, key=lambda column: column.rank))
        yield _grid(rows, shown)
        for row in rows:
            if row.problem:
                yield Text.assemble("✗ ", (row.recipe, "bold"), f": {row.problem}", style="red")
        chosen = next((row for row in rows if row.chosen), None)
        if chosen:
            yield Text.assemble("✓ chosen: ", (chosen.recipe, "bold green"), why(release))
        yield Text(_notes(release, [column.head for column in every if column not in shown]), "dim")


def _grid(rows: Sequence[Row], shown: Sequence[Column]) -> Table:
    grid = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    grid.add_column("recipe", no_wrap=True)
    for column in shown:
        grid.add_column(column.head, justify="right", no_wrap=True)
    for row in rows:
        mark = "✗" if row.problem else "✓" if row.chosen else " "
        figures = [""] * len(shown) if row.problem else [column.text(row) for column in shown]
        grid.add_row(Text(f"{mark} {row.recipe}"), *figures, style="red" if row.problem else "bold green" if row.chosen else "")
    return grid


def _notes(release: Release, left_out: Sequence[str]) -> str:
    manifest, baseline = release.manifest, baseline_of(release)
    timed = "times" if manifest.has(EDGE) else "no variant for devices: times of one REST predict call"
    notes = [
        f"source: {release.record.metric} {share(manifest.source_accuracy)} on {manifest.evaluation_examples} held-out examples"
        if manifest.evaluation_examples
        else "no evaluation data: the accuracy is unknown",
        f"“smaller” is against {baseline.about}, {size(baseline.size_bytes)}" if baseline else "",
        f"{timed} on {release.record.machine_class}",
        f"left out for want of room: {', '.join(left_out)}" if left_out else "",
    ]
    return "; ".join(filter(None, notes))
