"""What benchmarks print: figures of a few runs, the machine that gave them, and the ratio that is judged."""

import json
import os
import platform
import statistics
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.table import Table


def machine() -> str:
    """In words."""
    return f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"


def spread(figures: Sequence[float], digits: int = 2) -> str:
    """Median (least–most)."""
    return f"{statistics.median(figures):.{digits}f} ({min(figures):.{digits}f}–{max(figures):.{digits}f})"


def report(
    found: Mapping[str, Sequence[float]], numerator: str, denominator: str, *, goal: str, decimals: int = 2, file: Path | None = None
) -> None:
    """Prints a table and numerator / denominator.

    Args:
        found: seconds of each run, by what was measured.
        numerator, denominator: of the ratio of medians, keys of found.
        goal: of that ratio, as text.
        file: where the figures are written too, as JSON.
    """
    ratio = statistics.median(found[numerator]) / statistics.median(found[denominator])
    table = Table("what", "runs", "min s", "median s", "max s", title=f"{datetime.now(UTC).date()}, {machine()}")
    for name, seconds in found.items():
        figures = (min(seconds), statistics.median(seconds), max(seconds))
        table.add_row(name, str(len(seconds)), *(f"{figure:.{decimals}f}" for figure in figures))
    console = Console()
    console.print(table)
    console.print(f"{numerator} / {denominator}: {ratio:.3f} (goal: at most {goal})")
    if file:
        file.write_text(json.dumps({"machine": machine(), "seconds": found, "ratio": ratio}, indent=1))
