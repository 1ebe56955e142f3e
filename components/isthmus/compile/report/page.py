"""One page about a release. It opens offline: no script, no request, and a policy in the page itself that allows none."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from isthmus.compile.report.rows import (
    Baseline,
    Row,
    against_min_max,
    baseline_of,
    candidates_of,
    columns,
    difference,
    milliseconds,
    points,
    rows_of,
    share,
    size,
    times,
    why,
)
from isthmus.compile.report.scatter import Plot, Point, scatter
from isthmus.pages.axes import FRAME
from isthmus.pages.rendering import style, template
from isthmus.release.manifest import EDGE, Candidate, Layer, Release
from isthmus.words import in_bytes, plain

if TYPE_CHECKING:
    from jinja2 import Template

_STYLE = Path(__file__).with_name("page.css")
LAYERS_SHOWN = 40
# More matrices than this would make a page that no browser likes; the chosen variant's and the source's are always there.
MATRIX_CELLS_SHOWN = 12_000
CHANGES_SHOWN = 8
# An axis of accuracy covers at least one point: three examples more or less must not look like a cliff.
LEAST_ACCURACY_SPAN = 0.01


def html(release: Release, source_name: str) -> str:
    """The page, complete.

    Args:
        source_name: the model's source as the user named it.

    Raises:
        PlatformError: the template engine is not installed.
    """
    manifest, record, rows = release.manifest, release.record, rows_of(release)
    sound = [row for row in rows if not row.problem]
    return _template().render(
        release=release,
        manifest=manifest,
        record=record,
        source_name=source_name,
        rows=rows,
        chosen=next((row for row in rows if row.chosen), None),
        why=why(release),
        baseline=baseline_of(release),
        columns=columns(record.metric, edge=manifest.has(EDGE)),
        edge=manifest.has(EDGE),
        plots=_plots(sound, manifest.source_accuracy, record.metric) if manifest.has(EDGE) else [],  # one mark compares nothing
        frame=FRAME,
        lower_is_better=not any(row.accuracy is not None for row in sound),
        layers=[(it.recipe, _layers(it.layers), len(it.layers)) for it in _chosen_first(release) if it.layers],
        source_matrix=_matrix(record.source_confusion, ()),
        matrices=_matrices(release),
        css=style() + _STYLE.read_text(encoding="utf-8"),
        share=share,
        points=points,
        size=size,
        against=_against(baseline_of(release)),
        measured_at=_as_read(record.measured_at),
        milliseconds=milliseconds,
        against_min_max=against_min_max,
    )


def _against(baseline: Baseline | None) -> Callable[[float | None], str]:
    """What comes under a size: how many times smaller it is, and than what."""
    return lambda value: "" if baseline is None or value is None else f"{times(value)} smaller than {baseline.about}"


def _as_read(measured_at: str) -> str:
    """A record's time (ISO 8601) to the minute; as it is where it is none."""
    try:
        return f"{datetime.fromisoformat(measured_at).astimezone(UTC):%Y-%m-%d %H:%M} UTC"
    except ValueError:
        return measured_at


def ready() -> None:
    """Raises PlatformError where `html` would, before anything long is begun."""
    _template()


def _template() -> "Template":
    return template("isthmus.compile.report", "page.html.j2")


def _chosen_first(release: Release) -> list[Candidate]:
    """The sound candidates, the chosen one first."""
    chosen = {row.recipe for row in rows_of(release) if row.chosen}
    return sorted((it for it in candidates_of(release) if not it.problem), key=lambda it: it.recipe not in chosen)


def _plots(rows: Sequence[Row], source_accuracy: float | None, metric: str) -> list[tuple[str, str, str, Plot]]:
    """(title, x axis, y axis, plot): accuracy against bytes and time; without evaluation data, the largest difference to the source."""
    known = any(row.accuracy is not None for row in rows)
    y_axis = f"{metric}, %" if known else "largest difference to the source"
    figures = (
        ("Bytes on disk", "bytes, logarithmic", "size_bytes", None, in_bytes),
        ("Bytes as shipped", "bytes compressed, logarithmic", "shipped_bytes", None, in_bytes),
        ("Time of one run", "ms, logarithmic: p50, and a line to p95", "p50_ms", "p95_ms", plain),
    )
    plots = []
    for title, x_axis, field, to, x_text in figures:
        points_ = [
            Point(row.recipe, getattr(row, field), y, _about(row, metric), row.chosen, getattr(row, to) if to else None)
            for row in rows
            if getattr(row, field) > 0 and (y := row.accuracy if known else row.max_difference) is not None
        ]
        if points_:
            plot = scatter(
                points_,
                x_text=x_text,
                y_text=(lambda value: f"{100 * value:.4g}") if known else plain,
                level=source_accuracy if known else None,
                least_span=LEAST_ACCURACY_SPAN if known else 0.0,
                y_most=1.0 if known else float("inf"),
            )
            plots.append((title, x_axis, y_axis, plot))
    return plots


def _about(row: Row, metric: str) -> tuple[str, ...]:
    """Four lines that fit under a plot."""
    return (
        f"{row.recipe}{' (chosen)' if row.chosen else ''}",
        f"{metric} {share(row.accuracy)}, {points(row.lost_points)} points"
        if row.accuracy is not None
        else f"largest difference {difference(row.max_difference)}",
        f"{size(row.size_bytes)} on disk" + (f", {size(row.shipped_bytes)} as shipped" if row.shipped_bytes else ""),
        f"p50 {milliseconds(row.p50_ms)} ms, p95 {milliseconds(row.p95_ms)} ms",
    )


@dataclass(frozen=True)
class Bars:
    """bars: a layer's name for people, the layer, and its error against min-max's; None where that has none. scale: the value of a
    full bar, at least 1."""

    bars: tuple[tuple[str, Layer, float | None], ...]
    scale: float


def _layers(layers: Sequence[Layer]) -> Bars:
    """The layers with the largest error, in the model's order."""
    largest = sorted(range(len(layers)), key=lambda index: -layers[index].squared_error)[:LAYERS_SHOWN]
    shown = [layers[index] for index in sorted(largest)]
    errors = [layer.squared_error / layer.min_max_error if layer.min_max_error > 0 else None for layer in shown]
    return Bars(tuple(zip(_names(shown), shown, errors, strict=True)), 1.08 * max(1.0, *(error or 0.0 for error in errors)))


def _names(layers: Sequence[Layer]) -> list[str]:
    """The converter joins the names of all that it fused into one weight (`net/norm/batchnorm/mul;net/conv/depthwise`): of them the
    one that lies least deep is the layer's. A name that two layers would share stays whole."""
    short = [min(layer.name.split(";"), key=lambda part: (part.count("/"), len(part))) for layer in layers]
    often = Counter(short)
    return [name if name and often[name] == 1 else layer.name for name, layer in zip(short, layers, strict=True)]


@dataclass(frozen=True)
class Cell:
    """count: examples of one class answered as another. heat: of 100, against the largest such cell. change: against the source."""

    count: int
    heat: int
    change: int


@dataclass(frozen=True)
class Matrix:
    """rows: by right class. changes: in words, the largest first. right: examples on the diagonal."""

    rows: tuple[tuple[Cell, ...], ...]
    changes: tuple[str, ...]
    right: int


def _matrices(release: Release) -> list[tuple[str, Matrix]]:
    """(recipe, matrix) of the sound variants, the chosen one first; of it alone where all would be too much for a page."""
    record = release.record
    found = [it for it in _chosen_first(release) if it.confusion]
    if len(found) * len(record.source_confusion) ** 2 > MATRIX_CELLS_SHOWN:
        found = found[:1]
    return [(it.recipe, _matrix(it.confusion, record.source_confusion)) for it in found]


def _matrix(counts: Sequence[Sequence[int]], source: Sequence[Sequence[int]]) -> Matrix:
    """Heat is apart for right and wrong answers: else no mistake of a good model could be seen."""
    cells = [(right, answer, count) for right, row in enumerate(counts) for answer, count in enumerate(row)]
    most = {same: max((count for right, answer, count in cells if (right == answer) == same), default=0) for same in (True, False)}
    compared = source if len(source) == len(counts) else counts
    changed = [(right, answer, compared[right][answer], count) for right, answer, count in cells if compared[right][answer] != count]
    changed.sort(key=lambda it: -abs(it[3] - it[2]))
    return Matrix(
        tuple(
            tuple(
                Cell(count, round(100 * count / (most[right == answer] or 1)), count - compared[right][answer])
                for answer, count in enumerate(row)
            )
            for right, row in enumerate(counts)
        ),
        tuple(f"{right} answered as {answer}: {before} → {count}" for right, answer, before, count in changed[:CHANGES_SHOWN]),
        sum(count for right, answer, count in cells if right == answer),
    )
