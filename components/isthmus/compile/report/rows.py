"""The figures of a release's variants, one row each, and the columns in which every view shows them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from isthmus.compile.metrics import METRICS
from isthmus.release.manifest import EDGE, SERVING, Candidate, Layer, Release
from isthmus.words import in_bytes, percent

NONE = "–"


@dataclass(frozen=True)
class Row:
    """One variant.

    chosen: it is the release's edge variant, or its serving variant where that is all. lost_points: accuracy below the source's, in
    points of a hundred; negative where it is better. times_smaller: on disk, against `Baseline`. shipped_times_smaller: of the
    compressed files; None where the baseline's is not known.
    weight_error: Σ(w − ŵ)² over all quantised weights, as a share of what min-max scales would leave; None without such weights.
    problem: why it is out; its figures then mean nothing.
    """

    recipe: str
    chosen: bool
    accuracy: float | None
    lost_points: float | None
    size_bytes: int
    shipped_bytes: int
    times_smaller: float | None
    shipped_times_smaller: float | None
    p50_ms: float
    p95_ms: float
    peak_memory_bytes: int
    weight_error: float | None
    max_difference: float
    mean_difference: float
    training_seconds: float
    operators: tuple[str, ...]
    problem: str


@dataclass(frozen=True)
class Baseline:
    """What "× smaller" is measured against. shipped_bytes: compressed; 0 is unknown."""

    size_bytes: int
    about: str
    shipped_bytes: int = 0


@dataclass(frozen=True)
class Column:
    """One figure in every view. rank: in a narrow terminal the column of the lowest rank goes first."""

    head: str
    about: str
    text: Callable[[Row], str]
    rank: int


def candidates_of(release: Release) -> tuple[Candidate, ...]:
    """What was tried; for a release of a time when that was not recorded, its variant as far as it is known."""
    if release.record.candidates:
        return release.record.candidates
    kind = EDGE if release.manifest.has(EDGE) else SERVING
    variant, timing = release.manifest.variant(kind), release.record.timing(kind)
    return (
        Candidate(
            chosen_recipe(release),
            size_bytes=variant.size_bytes,
            accuracy=variant.accuracy,
            max_difference=variant.max_output_difference,
            p50_ms=timing.p50_ms,
            p95_ms=timing.p95_ms,
        ),
    )


def chosen_recipe(release: Release) -> str:
    """The edge variant's recipe; of a release without one, its own."""
    manifest = release.manifest
    return manifest.variant(EDGE).recipe if manifest.has(EDGE) else manifest.recipe


def baseline_of(release: Release) -> Baseline | None:
    """The float32 file where one was made, or else the serving variant; None where there is neither, or nothing to compare with it."""
    if not release.manifest.has(EDGE):
        return None
    for candidate in candidates_of(release):
        if candidate.recipe == "float32" and not candidate.problem:
            return Baseline(candidate.size_bytes, "the float32 file", candidate.shipped_bytes)
    for variant in release.manifest.variants:
        if variant.kind == SERVING:
            return Baseline(variant.size_bytes, "the SavedModel")
    return None


def rows_of(release: Release) -> tuple[Row, ...]:
    """One row for each variant that was tried, the largest file first and those that are out last."""
    baseline, source = baseline_of(release), release.manifest.source_accuracy
    chosen = chosen_recipe(release)

    def smaller(than_bytes: int, size_bytes: int) -> float | None:
        return than_bytes / size_bytes if than_bytes and size_bytes else None

    rows = [
        Row(
            recipe=it.recipe,
            chosen=it.recipe == chosen and not it.problem,
            accuracy=it.accuracy,
            lost_points=None if it.accuracy is None or source is None else 100 * (source - it.accuracy),
            size_bytes=it.size_bytes,
            shipped_bytes=it.shipped_bytes,
            times_smaller=smaller(baseline.size_bytes if baseline else 0, it.size_bytes),
            shipped_times_smaller=smaller(baseline.shipped_bytes if baseline else 0, it.shipped_bytes),
            p50_ms=it.p50_ms,
            p95_ms=it.p95_ms,
            peak_memory_bytes=it.peak_memory_bytes,
            weight_error=weight_error(it.layers),
            max_difference=it.max_difference,
            mean_difference=it.mean_difference,
            training_seconds=it.training_seconds,
            operators=it.operators,
            problem=it.problem,
        )
        for it in candidates_of(release)
    ]
    return tuple(sorted(rows, key=lambda row: (bool(row.problem), -row.size_bytes)))


def why(release: Release) -> str:
    """What comes behind the chosen recipe's name to say why: the record's reason, which as a rule begins with that name."""
    reason, recipe = release.record.reason, chosen_recipe(release)
    return reason.removeprefix(recipe) if reason.startswith(recipe) else f": {reason}" if reason else ""


def weight_error(layers: Sequence[Layer]) -> float | None:
    """Σ squared_error / Σ min_max_error; None where no weight lost anything to min-max scales."""
    of_min_max = sum(layer.min_max_error for layer in layers)
    return sum(layer.squared_error for layer in layers) / of_min_max if of_min_max > 0 else None


def share(value: float | None) -> str:
    """`0.9911` → `99.11 %`, rounded down like the messages of the gate."""
    return NONE if value is None else percent(value)


def points(lost: float | None) -> str:
    """Points lost → the change as a person reads it: `−0.22`, `+0.10`, `0.00`."""
    if lost is None:
        return NONE
    return "0.00" if abs(lost) < 0.005 else f"{'−' if lost > 0 else '+'}{abs(lost):.2f}"


def size(value: float) -> str:
    """Bytes with a decimal prefix, always of four digits, so that a column lines up; 0 is unknown."""
    number, _, unit = in_bytes(value).partition(" ")
    return f"{f'{float(number):#.4g}'.rstrip('.') if value >= 1000 else number} {unit}" if value else NONE


def times(value: float | None) -> str:
    return NONE if value is None else f"{value:.2f}×" if value < 10 else f"{value:.1f}×"


def milliseconds(value: float) -> str:
    """Three significant digits; 0 is unknown."""
    return f"{value:#.3g}".rstrip(".") if value else NONE


def difference(value: float) -> str:
    return f"{value:.2g}"


def against_min_max(value: float | None) -> str:
    return NONE if value is None else f"{value:.3f}×"


def columns(metric: str, *, edge: bool = True) -> tuple[Column, ...]:
    """All columns but the recipe's.

    Args:
        metric: the record's, what its accuracies are.
        edge: whether the release has a variant for devices; the serving variant alone has fewer figures.
    """
    about = METRICS[metric].description if metric in METRICS else "the metric that the evaluation data names"
    shown = _COLUMNS if edge else [replace(it, about=_OF_SERVING.get(it.head, it.about)) for it in _COLUMNS if it.head not in _OF_EDGE]
    return (Column(metric, about, lambda row: share(row.accuracy), 11), *shown)


# What `auto` chooses by, bytes as shipped or p50, stays longer than what it does not.
_COLUMNS = (
    Column("Δ points", "against the source model's, in points of a hundred", lambda row: points(row.lost_points), 8),
    Column("on disk", "bytes of the .tflite file", lambda row: size(row.size_bytes), 10),
    Column("shipped", "bytes of that file compressed (deflate, level 9), as an update carries it", lambda row: size(row.shipped_bytes), 9),
    Column("smaller", "how many times smaller on disk", lambda row: times(row.times_smaller), 7),
    Column("p50 ms", "half of the runs take at most this long: one example, one thread", lambda row: milliseconds(row.p50_ms), 6),
    Column("p95 ms", "95 of 100 runs take at most this long", lambda row: milliseconds(row.p95_ms), 5),
    Column("memory", "what loading and running it adds to a fresh process, at its peak", lambda row: size(row.peak_memory_bytes), 3),
    Column(
        "weight error",
        "Σ(w − ŵ)² of all weights, as a share of what min-max scales leave",
        lambda row: against_min_max(row.weight_error),
        4,
    ),
    Column("max diff", "largest difference of any output to the source's", lambda row: difference(row.max_difference), 2),
    Column("mean diff", "mean difference of the outputs to the source's", lambda row: difference(row.mean_difference), 1),
)
_OF_EDGE = frozenset({"shipped", "smaller", "memory", "weight error"})
_OF_SERVING = {
    "on disk": "bytes of the SavedModel",
    "p50 ms": "half of the REST predict calls take at most this long: one example, one call at a time",
}
