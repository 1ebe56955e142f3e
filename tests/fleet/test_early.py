"""What is said of waves and gates before the roster is known is said whatever the roster is."""

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isthmus.errors import InputError
from isthmus.fleet.early import early_problems
from isthmus.fleet.gates import Gate, plan_gates
from isthmus.fleet.waves import Wave, plan_waves
from isthmus_agent.formats.roster import Device

GATES = st.builds(
    Gate,
    max_failure_percent=st.sampled_from([0.0, 0.5, 2.0, 20.0, 50.0]),
    min_reports=st.sampled_from([None, 1, 2, 5]),
    soak_seconds=st.sampled_from([0.0, 300.0]),
    deadline_seconds=st.sampled_from([200.0, 3600.0]),
    confidence_percent=st.sampled_from([None, 90.0]),
)


def later(waves: Sequence[Wave], gates: Sequence[Gate], devices: int) -> set[str]:
    """The places of what is wrong once there are so many devices."""
    roster = [Device(f"camera-{number}", "*") for number in range(devices)]
    try:
        planned = plan_waves(waves, roster, "0" * 16)
        plan_gates([(it.signed.name, len(it.devices), gate) for it, gate in zip(planned, gates, strict=True)])
    except InputError as error:
        return {problem.path for problem in error.problems}
    return set()


@settings(max_examples=25)
@given(
    counts=st.sets(st.integers(1, 12), min_size=1, max_size=3).map(sorted),
    gates=st.lists(GATES, min_size=4, max_size=4),
    more=st.integers(1, 40),
)
def test_what_is_refused_early_is_refused_for_every_roster(counts: list[int], gates: list[Gate], more: int) -> None:
    waves = [*(Wave(count=count) for count in counts), Wave(percent=100)]
    gates = gates[: len(waves)]
    found = {problem.path for problem in early_problems(waves, gates)}
    assert found <= later(waves, gates, counts[-1] + more)


@pytest.mark.parametrize(
    ("wave", "gate", "said"),
    [
        (Wave(count=1), Gate(max_failure_percent=10), "waves[0].gate.max_failure_percent: the gate can never abort"),
        (Wave(devices=("a", "b")), Gate(min_reports=3), "waves[0].gate.min_reports: the wave can never pass: it asks for 3 reports"),
        (Wave(count=20), Gate(confidence_percent=95), "waves[0].gate.confidence_percent: the wave can never pass: 20 devices"),
        (Wave(percent=1), Gate(max_failure_percent=70), "waves[0].gate.max_failure_percent: found 70; expected 0 to 50"),
        (Wave(), Gate(), "waves[0]: says no devices"),
    ],
)
def test_what_can_be_known_is_said(wave: Wave, gate: Gate, said: str) -> None:
    (problem,) = early_problems([wave, Wave(percent=100)], [gate, Gate()])
    assert str(problem).startswith(said)


def test_of_a_share_of_nobody_knows_how_many_nothing_is_said() -> None:
    assert early_problems([Wave(percent=1), Wave(percent=100)], [Gate(min_reports=1000), Gate()]) == []
