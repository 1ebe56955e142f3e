"""Gates as they are signed: what a user writes comes back, and nothing is asked for less by rounding."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.isthmus_agent.drawing import gates

from isthmus.fleet.gates import Gate
from isthmus.fleet.signed import gate_of, signed_gate
from isthmus.limits import FLEET_GATE
from isthmus_agent.formats import gate as format_
from isthmus_agent.formats.gate import Gate as SignedGate


@given(gates)
def test_what_is_signed_comes_back_as_it_was(signed: SignedGate):
    assert signed_gate(gate_of(signed)) == signed


@pytest.mark.parametrize(("percent", "millionths"), [(2.0, 20_000), (0.29, 2900), (0, 0), (50, 500_000), (0.00019, 1)])
def test_a_percentage_is_signed_in_millionths(percent: float, millionths: int):
    assert signed_gate(Gate(max_failure_percent=percent)).max_failure_millionths == millionths


def test_what_is_rounded_asks_for_no_less():
    signed = signed_gate(Gate(soak_seconds=0.5, deadline_seconds=1.5, confidence_percent=95.00001))
    assert (signed.soak_seconds, signed.deadline_seconds, signed.confidence_millionths) == (1, 2, 950_001)


@given(st.data())
def test_every_gate_that_a_user_may_write_can_be_signed(data: st.DataObject):
    found = {}
    for name, limit in FLEET_GATE.items():
        number = st.integers(int(limit.least), int(limit.most)) if limit.whole else st.floats(limit.least, limit.most)
        found[name] = data.draw(number if limit.default is not None else st.none() | number)
    signed = signed_gate(Gate(**found))
    assert format_.from_value(signed.to_value(), "gate") == signed
