"""What is wrong with waves and gates, said before it is known which devices the fleet has. Pure.

A wave of `count` or named devices brings the release to so many at most, and fewer devices can never show more: what is refused here is
refused whatever the roster is. What is let pass need not be right: `plan_waves` and `plan_gates` say it once the roster is known.
"""

from collections.abc import Iterator, Sequence

from isthmus.errors import Problem, property_path
from isthmus.fleet.gates import Gate, WaveGate, never, out_of_bounds
from isthmus.fleet.sequential import FALSE_ABORT, boundary
from isthmus.fleet.waves import Wave, check_waves


def early_problems(waves: Sequence[Wave], gates: Sequence[Gate], path: str = "waves") -> list[Problem]:
    """Everything that is wrong whatever devices the fleet has. gates: of each wave."""
    found = check_waves(waves, path)
    return found or [
        problem
        for index, (wave, gate) in enumerate(zip(waves, gates, strict=True))
        for problem in _of_gate(wave, gate, property_path([index], path) + ".gate", FALSE_ABORT * (index + 1) / len(waves))
    ]


def _of_gate(wave: Wave, gate: Gate, where: str, may_spend: float) -> Iterator[Problem]:
    """may_spend: the most that the wave can have left to spend, if those before it spent nothing."""
    problems = [*out_of_bounds(gate, where)]
    yield from problems
    most = wave.count or len(wave.devices)
    if most and not problems:
        yield from never(WaveGate(wave.name, gate, boundary(most, gate.allowed, may_spend)), where, may_spend)
