"""How `hybrid.py` shows what it found."""

import numpy as np
from rich.table import Table
from scipy import stats

from isthmus_agent.formats.policy import CLOUD, DEVICE

BY_NETWORK = "by network"
AS_SIGNED = "MDP, as signed"
UNPRICED = "MDP, no price"
WAYS = (DEVICE, CLOUD, "Sedna 0.5", "auto", BY_NETWORK, "H2T2", "MDP", AS_SIGNED, UNPRICED, "learned", "partition")
SHOWN = (DEVICE, CLOUD, "Sedna 0.5", "auto", BY_NETWORK, "H2T2", "MDP")
"""Of the table by trace."""
FIGURES = ("p50", "p95", "p99", "late", "right", "money", "bytes", "joules", "sent", "all")


def interval(values: np.ndarray, digits: int) -> str:
    """The mean and the half-width of its 95 % confidence interval, over seeds."""
    half = stats.t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values))
    return f"{values.mean():,.{digits}f} ± {half:.{digits}f}"


def main_table(found: dict[str, np.ndarray], title: str) -> Table:
    """found: by way, (traces, seeds, FIGURES)."""
    heads = ("p50 ms", "p95 ms", "p99 ms", "late %", "right %", "USD a million", "bytes", "joules", "sent away %", "all, ms", "− MDP")
    table = Table("way", *heads, title=title)
    digits = (2, 1, 1, 2, 2, 3, 0, 4, 1, 2)
    for name in WAYS:
        by_seed = found[name].mean(axis=0)
        cells = [interval(column, places) for column, places in zip(by_seed.T, digits, strict=True)]
        beside = interval(by_seed[:, -1] - found["MDP"].mean(axis=0)[:, -1], 2) if name != "MDP" else ""
        table.add_row(name, *cells, beside)
    return table


def trace_table(found: dict[str, np.ndarray], names: list[str], title: str) -> Table:
    table = Table("trace", *SHOWN, title=f"{title}: p95 ms, right %, all in ms")
    p95, right, whole = (FIGURES.index(it) for it in ("p95", "right", "all"))
    for index, name in enumerate(names):
        means = {way: found[way][index].mean(axis=0) for way in SHOWN}
        table.add_row(name, *(f"{it[p95]:.0f}, {it[right]:.1f}, {it[whole]:.1f}" for it in means.values()))
    return table
