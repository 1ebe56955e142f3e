"""Cloud, edge or hybrid: which deployment mode fits a situation, and the arithmetic that says so.

Workflow: every mode is held against every requirement (`advisor_requirements.REQUIREMENTS`); a mode that misses one is out,
with the numbers. Among those that are left the cheapest wins, its cost multiplied by `SURCHARGE` for what it takes to run.
`advisor_sensitivity` then finds what would change the answer, by asking `choose` again and again. docs/advisor.md explains
the rules.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from isthmus.errors import GateError, Problem
from isthmus.sizing.advisor.inputs import Situation, check_situation
from isthmus.sizing.advisor.requirements import MODES, REQUIREMENTS, SURCHARGE, Mode, cost_per_month
from isthmus.words import plain


@dataclass(frozen=True)
class Check:
    """One mode held against one requirement.

    value, limit: in `unit`; met: value ≤ limit (≥ for availability). why: the arithmetic, with its inputs.
    """

    requirement: str
    met: bool
    value: float
    limit: float
    unit: str
    why: str


@dataclass(frozen=True)
class Verdict:
    """What one mode comes to. checks: only those that concern it. compared_cost: cost_per_month × surcharge."""

    mode: Mode
    checks: tuple[Check, ...]
    cost_per_month: float
    compared_cost: float

    @property
    def feasible(self) -> bool:
        return all(check.met for check in self.checks)

    @property
    def missed(self) -> tuple[Check, ...]:
        return tuple(check for check in self.checks if not check.met)


@dataclass(frozen=True)
class Advice:
    """mode: None where no mode meets every requirement. reasons: sentences that cite the numbers. verdicts: by mode."""

    mode: Mode | None
    reasons: tuple[str, ...]
    verdicts: Mapping[Mode, Verdict]
    situation: Situation

    def require_mode(self, path: str = "") -> Mode:
        """The mode.

        Raises:
            GateError: no mode fits; one problem for each mode, with every requirement that it misses.
        """
        if self.mode is not None:
            return self.mode
        raise GateError(
            [
                Problem(path, f"{verdict.mode} does not fit: " + "; ".join(check.why for check in verdict.missed))
                for verdict in self.verdicts.values()
            ]
        )

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        modes = {
            mode: {"feasible": verdict.feasible, **{key: value for key, value in asdict(verdict).items() if key != "mode"}}
            for mode, verdict in self.verdicts.items()
        }
        return {"mode": self.mode, "reasons": list(self.reasons), "modes": modes, "situation": asdict(self.situation)}


def choose(situation: Situation) -> Mode | None:
    """The mode alone: the rule, without the words. Does not check its input."""
    feasible = [mode for mode in MODES if all(row.met(situation, mode) for row in REQUIREMENTS)]
    return min(feasible, key=lambda mode: cost_per_month(situation, mode) * SURCHARGE[mode], default=None)


def advise(situation: Situation, path: str = "") -> Advice:
    """Which mode fits, and why.

    Args:
        path: property path of the situation, for the messages.

    Raises:
        InputError: bad inputs; all of them at once.
    """
    check_situation(situation, path)
    verdicts = {mode: _verdict(situation, mode) for mode in MODES}
    mode = choose(situation)
    return Advice(mode, tuple(_reasons(mode, list(verdicts.values()))), verdicts, situation)


def _verdict(situation: Situation, mode: Mode) -> Verdict:
    checks = []
    for row in REQUIREMENTS:
        value = row.value(situation, mode)
        if value is not None:
            checks.append(Check(row.name, row.met(situation, mode), value, row.limit(situation), row.unit, row.why(situation, mode)))
    cost = cost_per_month(situation, mode)
    return Verdict(mode, tuple(checks), cost, cost * SURCHARGE[mode])


def _reasons(mode: Mode | None, verdicts: Sequence[Verdict]) -> list[str]:
    """For the chosen mode what it achieves, for each other one what it misses or how much dearer it is."""
    reasons = []
    chosen = next((verdict for verdict in verdicts if verdict.mode == mode), None)
    if chosen:
        shown = [check.why for check in chosen.checks if check.requirement in ("latency", "unsure answers", "memory")]
        reasons.append(f"{mode} meets every requirement: {'; '.join(shown)}")
    for verdict in verdicts:
        if not verdict.feasible:
            reasons.extend(f"not {verdict.mode} ({check.requirement}): {check.why}" for check in verdict.missed)
        elif chosen and verdict is not chosen:
            reasons.append(
                f"not {verdict.mode} (cost): {_priced(verdict)} a month against {_priced(chosen)} for {mode}, "
                + (
                    "a tie, which the simpler one wins"
                    if math.isclose(verdict.compared_cost, chosen.compared_cost)
                    else "each with its surcharge for what it takes to run"
                )
            )
    return reasons


def _priced(verdict: Verdict) -> str:
    return f"{plain(verdict.cost_per_month)} × {SURCHARGE[verdict.mode]:g} = {plain(verdict.compared_cost)}"
