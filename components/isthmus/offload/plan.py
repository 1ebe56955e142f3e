"""The table of thresholds as a preview shows it: what each passes on, gains and costs, and which one is taken, and why."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from isthmus.offload.choosing import Choice, choose, choose_by_error
from isthmus.offload.rows import Row, row_at, rows_of
from isthmus.release.confidences import Calibration, Confidences, Estimate, Group
from isthmus.words import in_columns, percent, plain

MILLION: Final = 1_000_000
_GIGABYTE: Final = 10**9
_SHARES: Final = (0.0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5)
"""Passed on, of the rows that are shown beside those that are named."""
HEAD: Final = ("min_confidence", "passed on", "accuracy", "gain in points (95 %)", "ms", "bytes", "a million")


@dataclass(frozen=True)
class Costs:
    """Of one request that is passed on. cloud_ms: the serving variant's mean time. server_price: of its server for that time, and what else
    a request costs. per_gigabyte: of what is sent and answered. All in `currency`."""

    cloud_ms: float
    server_price: float = 0.0
    per_gigabyte: float = 0.0
    currency: str = "USD"


@dataclass(frozen=True)
class OffloadPlan:
    """chosen: the index of the row that devices go by. reason: why. min_confidence: what they are told."""

    calibration: Calibration
    measured: Confidences
    costs: Costs
    rows: tuple[Row, ...]
    chosen: int
    reason: str
    min_confidence: float

    def explain(self) -> str:
        """What was measured, the table, and the reason of the row that is marked."""
        measured, examples = self.measured, self.measured.examples
        lines = [
            f"edge and serving variant agree on {measured.agreeing} of {examples} held-out examples; their outputs differ by "
            f"{measured.largest_difference:.2g} at most",
            f"temperature {self.calibration.temperature:g} (of {self.calibration.scores}): expected calibration error "
            f"{_points(measured.raw_error)} as it is, {_points(measured.calibrated_error)} calibrated",
            *in_columns([("", *HEAD), *(("→" if index == self.chosen else "", *self._cells(index)) for index in self._shown())]),
            f"ms, bytes and {self.costs.currency} a million requests: what passing on adds on average, the network's time not counted",
            f"min_confidence {self.min_confidence:.7g}: {self.reason}",
        ]
        return "\n".join(lines)

    def output(self) -> dict[str, Any]:
        """For the component's output `plan`, of JSON's types alone."""
        measured = self.measured
        return {
            "temperature": self.calibration.temperature,
            "examples": measured.examples,
            "agreeing": measured.agreeing,
            "largest_difference": measured.largest_difference,
            "raw_calibration_error": measured.raw_error.value,
            "calibration_error": measured.calibrated_error.value,
            "min_confidence": self.min_confidence,
            "reason": self.reason,
            "rows": [self._values(index) for index in self._shown()],
        }

    def _values(self, index: int) -> dict[str, Any]:
        row, (low, high) = self.rows[index], self.rows[index].gain_interval
        sent_bytes = self.measured.request_bytes + self.measured.answer_bytes
        return {
            "min_confidence": row.threshold,
            "share": round(row.share, 6),
            "accuracy": round(row.accuracy, 6),
            "gain": round(row.gain, 6),
            "gain_low": round(low, 6),
            "gain_high": round(high, 6),
            "added_ms": round(row.share * self.costs.cloud_ms, 4),
            "added_bytes": round(row.share * sent_bytes, 1),
            "cost_per_million": round(
                row.share * MILLION * (self.costs.server_price + sent_bytes * self.costs.per_gigabyte / _GIGABYTE), 4
            ),
            "is_chosen": index == self.chosen,
        }

    def _cells(self, index: int) -> tuple[str, ...]:
        it = self._values(index)
        gain = f"{100 * it['gain']:+.2f} ({100 * it['gain_low']:+.2f} to {100 * it['gain_high']:+.2f})"
        return (
            f"{it['min_confidence']:.7g}",
            f"{100 * it['share']:.2f} %",
            percent(self.rows[index].accuracy),
            gain if index else "–",
            plain(it["added_ms"]),
            plain(it["added_bytes"]),
            plain(it["cost_per_million"]),
        )

    def _shown(self) -> list[int]:
        """Indices of the rows that are shown."""
        near = {min(range(len(self.rows)), key=lambda index: abs(self.rows[index].share - share)) for share in _SHARES}
        best = max(range(len(self.rows)), key=lambda index: (self.rows[index].right, -index))
        return sorted({*near, best, self.chosen})


def plan_offload(
    calibration: Calibration, measured: Confidences, costs: Costs, min_confidence: float | None = None, *, max_error: float | None = None
) -> OffloadPlan | None:
    """The table, and the row of the threshold that is given; None: of the one that is best.

    max_error: of all requests, those that a device may answer wrong by itself; None: what is best is a matter of accuracy. Where no
    threshold keeps it, there is no plan.
    """
    rows, choice = table_of(measured.groups, max_error)
    if choice is None:
        return None
    best = rows[choice.index].threshold
    if min_confidence is None:
        return OffloadPlan(calibration, measured, costs, rows, choice.index, choice.reason, best)
    reason = f"as the program says; auto would take {best:.7g}: {choice.reason}"
    return OffloadPlan(calibration, measured, costs, rows, row_at(rows, min_confidence), reason, min_confidence)


@lru_cache(maxsize=64)
def table_of(groups: tuple[Group, ...], max_error: float | None) -> tuple[tuple[Row, ...], Choice | None]:
    """The table and the best row. Both halves of a hybrid ask for it, and each class of its devices."""
    rows = rows_of(groups)
    return rows, choose(rows) if max_error is None else choose_by_error(rows, max_error)


def _points(found: Estimate) -> str:
    """Such as `1.2 % (0.8 to 2.4)`."""
    return f"{100 * found.value:.2g} % ({100 * found.low:.2g} to {100 * found.high:.2g})"
