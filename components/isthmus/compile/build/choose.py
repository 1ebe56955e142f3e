"""Which of the candidates becomes the release, and why. Pure: a function of what was measured."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from isthmus.compile.gate import listing, lower_to
from isthmus.compile.recipes import AUTO, FASTEST, FLOAT32, SMALLEST, Recipe
from isthmus.errors import GateError, Problem, SourceError
from isthmus.release.manifest import Candidate
from isthmus.words import kilobytes, percent

# What `auto` may lose against the source where no min_accuracy is given.
MAX_LOST = 0.01
_ROUNDING = 1e-9


@dataclass(frozen=True)
class Choice:
    """index: of the chosen candidate. reason: one line for a reader, without a full stop."""

    index: int
    reason: str


@dataclass(frozen=True)
class _Goal:
    """What `auto` looks for. cost: less is better. tie: costs that are nearer than this share count as equal. prefer: of equals,
    the one for which this is least, and then the first."""

    cost: Callable[[Candidate], float]
    shown: Callable[[Candidate], str]
    tie: float
    prefer: Callable[[Candidate], Any]
    preferred: str
    better: str
    equal: str


_GOALS = {
    # A hundredth of the bytes buys nothing, so accuracy decides.
    SMALLEST: _Goal(
        cost=lambda it: it.shipped_bytes,
        shown=lambda it: f"{kilobytes(it.shipped_bytes)} as shipped",
        tie=0.01,
        prefer=lambda it: -(it.accuracy or 0.0),
        preferred="is not more accurate",
        better="smaller",
        equal="as small within 1 %",
    ),
    # Times are not known better than to a tenth; bytes are certain, so they decide, and a second run chooses the same.
    FASTEST: _Goal(
        cost=lambda it: it.p50_ms,
        shown=lambda it: f"p50 {it.p50_ms:.3g} ms",
        tie=0.10,
        prefer=lambda it: it.shipped_bytes,
        preferred="has more bytes",
        better="faster",
        equal="as fast within the measurement's noise of 10 %",
    ),
}


def choose(
    candidates: Sequence[Candidate],
    recipe: Recipe,
    *,
    min_accuracy: float | None,
    source_accuracy: float | None,
    where: str = "",
    metric: str = "accuracy",
) -> Choice:
    """The candidate that becomes the release.

    A recipe that was asked for is taken as it is: whether it keeps min_accuracy is judged on the release (`gate.check_accuracy`),
    which does not depend on that promise. `auto` takes, of the sound candidates that keep the gate, the one with the fewest
    bytes as shipped, or the fastest.

    Args:
        candidates: at least one; of a recipe other than `auto`, its own alone.
        min_accuracy: the gate of `auto`; None: at most MAX_LOST less than the source.
        source_accuracy: None without evaluation data.
        where: property path of the component, for the problems.
        metric: what the accuracies are called.

    Raises:
        SourceError: the one candidate is not sound.
        GateError: no candidate of `auto` keeps the gate, or nobody can know; the message lists all of them.
    """
    prefix = f"{where}." if where else ""
    if not recipe.is_auto:
        (candidate,) = candidates
        if candidate.problem:
            raise SourceError([Problem(f"{prefix}recipe", f"{candidate.recipe}: {candidate.problem}", fix="use another recipe, or auto")])
        size = kilobytes(candidate.size_bytes) + (f", {kilobytes(candidate.shipped_bytes)} as shipped" if candidate.shipped_bytes else "")
        score = f", {metric} {percent(candidate.accuracy)} (source {percent(source_accuracy)})" if candidate.accuracy is not None else ""
        return Choice(0, f"{candidate.recipe}, as asked for: {size}{score}")

    lowest = min_accuracy if min_accuracy is not None else None if source_accuracy is None else source_accuracy - MAX_LOST
    if lowest is None:
        expected = "an evaluation.npz in the model folder, or the evaluation argument"
        raise GateError([Problem(f"{prefix}recipe", f"{AUTO} has no evaluation data to choose by", expected, "add it, or name a recipe")])
    passed = [index for index, it in enumerate(candidates) if not it.problem and _score(it) >= lowest - _ROUNDING]
    if not passed:
        raise GateError([_nothing_passes(candidates, lowest, min_accuracy is not None, f"{prefix}min_accuracy", metric)])
    goal = _GOALS[recipe.objective]
    least = min(goal.cost(candidates[index]) for index in passed)
    equal = [index for index in passed if goal.cost(candidates[index]) <= least * (1 + goal.tie)]
    index = min(equal, key=lambda index: (goal.prefer(candidates[index]), index))
    promise = percent(lowest) if min_accuracy is not None else f"{percent(lowest)}, a point less than the source"
    said = [_merit(candidates[index], candidates, goal) + f", {metric} {percent(candidates[index].accuracy)} ≥ {promise}"]
    said += [f"{candidates[i].recipe} is {goal.equal} but {goal.preferred}" for i in equal if i != index]
    said += _left_out(candidates, passed, goal, goal.cost(candidates[index]), source_accuracy)
    return Choice(index, "; ".join(said))


def _score(candidate: Candidate) -> float:
    return float("-inf") if candidate.accuracy is None else candidate.accuracy


def _merit(chosen: Candidate, candidates: Sequence[Candidate], goal: _Goal) -> str:
    """Against float32, where that was tried and is another one."""
    plain = next((it for it in candidates if it.recipe == FLOAT32 and not it.problem), None)
    if plain is None or plain is chosen or not goal.cost(chosen):
        return f"{chosen.recipe}: {goal.shown(chosen)}"
    return f"{chosen.recipe}: {goal.cost(plain) / goal.cost(chosen):.1f}× {goal.better} than {FLOAT32} ({goal.shown(chosen)})"


def _left_out(candidates: Sequence[Candidate], passed: Sequence[int], goal: _Goal, cost: float, source: float | None) -> list[str]:
    """What a reader may wonder about: better ones that break the gate, and those that could not be made."""
    said = []
    for index, it in enumerate(candidates):
        if it.problem:
            said.append(f"{it.recipe} is out: {it.problem}")
        elif index not in passed and goal.cost(it) < cost:
            lost = 0.0 if source is None or it.accuracy is None else (source - it.accuracy) * 100
            # A gate may lie above the source: then nothing was lost, and it is not enough.
            said.append(f"{it.recipe} is {goal.better} but " + (f"loses {lost:.1f} points" if lost > 0 else f"has {percent(it.accuracy)}"))
    return said


def _nothing_passes(candidates: Sequence[Candidate], lowest: float, promised: bool, where: str, metric: str) -> Problem:
    tried = listing(candidates, metric)
    what = (
        f"none of {len(candidates)} recipes keeps it"
        if promised
        else f"none of {len(candidates)} recipes stays within a point of the source"
    )
    sound = [it for it in candidates if not it.problem and it.accuracy is not None]
    if not sound:
        return Problem(where, what, f"{metric} of at least {percent(lowest)}", f"see why each is out. Tried:{tried}")
    best = max(sound, key=_score)
    verb = "lower it" if promised else "set it"
    fix = f"train the model further, or {verb} to {lower_to(_score(best))}, which {best.recipe} reaches. Tried:{tried}"
    return Problem(where, what, f"{metric} of at least {percent(lowest)}", fix)
