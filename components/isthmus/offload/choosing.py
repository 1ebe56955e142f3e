"""The threshold at which `min_confidence: auto` has a device ask the cloud role, and why."""

from collections.abc import Sequence
from dataclasses import dataclass

from isthmus.offload.rows import Row, deviation


@dataclass(frozen=True)
class Choice:
    """index: of the row. reason: one line for a reader, without a full stop."""

    index: int
    reason: str


def choose(rows: Sequence[Row]) -> Choice:
    """The row that passes on least, of those that are as accurate as the best within one standard error of the difference.

    The rule of one standard error (L. Breiman, J. Friedman, R. Olshen and C. Stone, "Classification and Regression Trees", 1984, section
    3.4.3): the best of many rows on some hundred examples is best by chance, in part; what is within the noise of it and costs less is
    taken instead. rows: as of `rows_of`, at least one.
    """
    best = max(range(len(rows)), key=lambda index: (rows[index].right, -index))
    index = next(it for it in range(best + 1) if _is_within(rows[it], rows[best]))
    chosen, examples = rows[index], rows[0].examples
    if best == 0:
        return Choice(0, f"the cloud role's answers gain nothing on {examples} examples: only requests without an answer are passed on")
    most = _points(rows[best])
    if index == 0:
        what = f"all that passing on gains ({most}, at {100 * rows[best].share:.3g} % passed on) is within one standard error of nothing"
        return Choice(0, f"{what} on {examples} examples: only requests without an answer are passed on")
    if index == best:
        return Choice(index, f"the most accurate of {len(rows)} thresholds; what passes on less is not within one standard error of it")
    where = f"{most}, at {100 * rows[best].share:.3g} % passed on"
    what = f"passes on least of what is within one standard error of the most accurate ({where})"
    return Choice(index, f"{what}: {_points(chosen)}, at {100 * chosen.share:.3g} %")


def choose_by_error(rows: Sequence[Row], most: float) -> Choice | None:
    """The row that passes on least, of those whose device answers no more than `most` of all requests wrong by itself; None: none does.

    That is conformal risk control (A. N. Angelopoulos, S. Bates, A. Fisch, L. Lei and T. Schuster, ICLR 2024, theorem 1): the loss of a
    request, 1 where the device keeps it and is wrong, never grows with the threshold; so the least threshold with

        (wrong_kept + 1) / (N + 1) ≤ most

    keeps the expected loss of a further request below `most`, whatever the model and the distribution are, as long as that request is one
    like the N examples (exchangeable with them). As in V. Vovk's conformal prediction it holds on average over requests, not for each kind.
    """
    for index, row in enumerate(rows):
        bound = (row.kept_wrong + 1) / (row.examples + 1)
        if bound <= most:
            what = f"the least threshold at which devices answer at most {100 * most:.3g} % of all requests wrong by themselves"
            return Choice(index, f"{what}: {row.kept_wrong} of {row.examples} examples, so at most {100 * bound:.3g} % are to be expected")
    return None


def _is_within(row: Row, best: Row) -> bool:
    gained, lost = best.gained - row.gained, best.lost - row.lost
    return (gained - lost) / row.examples <= deviation(gained, lost, row.examples)


def _points(row: Row) -> str:
    """Such as `+0.9 points`."""
    return f"{100 * row.gain:+.2g} points"
