"""What one liar and one missing member cost a group of eight devices, by every kind of lie: `python benchmarks/fusion_lies.py [--seeds N]`.

The group is that of benchmarks/fusion.py. Each draw of the noise (seeds 1 to N) is one group, learned and validated in five folds; all of
its 450 held-out pictures come one after the other, to a device that has seen nothing before. Each member lies once, while the next one by
name is missing. The intervals are of the mean, by bootstrap over the draws and over the pictures at once (both are resampled with
replacement; differences are paired: the same picture, the same draw).
"""

import argparse
import asyncio

import numpy as np
from fusion import measured
from numpy.typing import NDArray
from report import machine
from rich.console import Console
from rich.table import Table

from isthmus.fusion.threats import LostByExample, lost_by_example
from isthmus.fusion.validate import answer_bytes, parts_of
from isthmus.fusion.views import Views
from isthmus.fusion.ways import Comparison, compare

RESAMPLES = 4000
LEAST_BYTES = 64
"""Of one picture, a byte a pixel: what raw inputs are counted as."""
SIZES = (4, 5, 6, 7, 8)
LOST = ("lost_missing", "lost_swapped_and_missing")


def interval(lost: NDArray[np.float64]) -> str:
    """The mean in points with its 95 % interval. lost: [draws, pictures]."""
    random, (draws, pictures) = np.random.default_rng(0), lost.shape
    means = np.empty(RESAMPLES)
    for number in range(RESAMPLES):
        by_picture = np.bincount(random.integers(0, pictures, pictures), minlength=pictures)
        by_draw = np.bincount(random.integers(0, draws, draws), minlength=draws)
        means[number] = by_draw @ lost @ by_picture / (draws * pictures)
    low, high = np.quantile(means, [0.025, 0.975])
    return f"{100 * lost.mean():.2f} ({100 * low:.2f} to {100 * high:.2f})"


def most(lost: NDArray[np.float64]) -> str:
    """Of the draws, the one that loses most."""
    return f"{100 * lost.mean(axis=1).max():.2f}"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int, default=12)
    seeds = range(1, parser.parse_args().seeds + 1)
    measures = [asyncio.run(measured(seed)) for seed in seeds]
    draws = [views for views, _, _ in measures]
    console = Console(width=150)
    for size in SIZES:
        views = [Views(it.members[-size:], it.log_probabilities[-size:], it.labels) for it in draws]
        parts = [parts_of(it) for it in views]
        found = [lost_by_example(it) for it in parts]
        if size == max(SIZES):
            by_kind(console, found)
            sent = np.mean([answer_bytes(part.fusion.group, it) for it, of in zip(views, parts, strict=True) for part in of])
            ways = [compare(of, hidden, sent, LEAST_BYTES) for of, (_, hidden, _) in zip(parts, measures, strict=True)]
            by_way(console, ways)
            console.print(f"an answer: {sent:.2f} bytes; the picture, a byte a pixel, is {LEAST_BYTES / sent:.1f} times that")
            continue
        at_once, remembering = (np.array([it.by_lie["blind"][way] for it in found]) for way in (0, 1))
        two = np.array([it.two_missing for it in found])
        console.print(
            f"{size} devices: blind, one answer alone {interval(at_once)}, memory {interval(remembering)}, silent {interval(two)}"
        )


def by_kind(console: Console, found: list[LostByExample]) -> None:
    table = Table("lie", "one answer alone, points (95 %)", "worst draw", "memory, points (95 %)", "worst draw", title=machine())
    for kind in found[0].by_lie:
        at_once, remembering = (np.array([it.by_lie[kind][way] for it in found]) for way in (0, 1))
        table.add_row(kind, interval(at_once), most(at_once), interval(remembering), most(remembering))
    two, nobody = np.array([it.two_missing for it in found]), np.array([it.nobody for it in found])
    table.add_row("says nothing", interval(two), most(two), "", "")
    table.add_row("nobody lies, all there", "0", "", interval(nobody), most(nobody))
    console.print(table)


def by_way(console: Console, ways: list[Comparison]) -> None:
    """Means over the draws, and the least and the most of them."""
    table = Table("way", "right %", "lost: one missing", "lost: one sees another picture, the next is missing", "bytes")
    for name in ("log_odds", "features"):
        of = [getattr(it, name) for it in ways]
        figures = [[100 * it.right.value for it in of], *([100 * getattr(it, lost).value for it in of] for lost in LOST)]
        table.add_row(name, *(f"{np.mean(it):.2f} ({min(it):.2f} to {max(it):.2f})" for it in figures), f"{of[0].answer_bytes:.2f}")
    above = [100 * it.above.value for it in ways]
    shown = sum(it.above.low > 0 for it in ways)
    console.print(table, f"features above log-odds: {np.mean(above):.2f} ({min(above):.2f} to {max(above):.2f}), shown in {shown} draws")


if __name__ == "__main__":
    main()
