"""What lies cost, by who has a memory and who has none."""

import numpy as np
import pytest
from tests.fusion.test_batch import FUSION, GROUP, VIEWS

from isthmus.fusion.batch import evidence_of
from isthmus.fusion.lies import LIES
from isthmus.fusion.threats import threats
from isthmus.fusion.validate import parts_of
from isthmus_agent.formats.evidence import decode, encode

EVERYBODY = np.ones((6, len(VIEWS.labels)), bool)


@pytest.mark.parametrize("kind", LIES)
def test_a_lie_is_what_may_come_over_the_wire_and_of_the_liar_alone(kind):
    honest = evidence_of(GROUP, VIEWS)
    lied = LIES[kind](FUSION, honest, VIEWS.labels, 4, EVERYBODY)
    assert (np.delete(lied, 4, axis=0) == np.delete(honest, 4, axis=0)).all()
    assert (lied[4] != honest[4]).any()
    for said in lied[4, :20].tolist():
        assert decode(encode(said, GROUP.clip), GROUP.classes, GROUP.clip) == pytest.approx(said)


@pytest.mark.slow
def test_memory_takes_a_liar_for_missing_and_costs_an_honest_group_nothing(members):
    found = threats(parts_of(members([2] * 6, examples=400), 3.0))
    assert abs(found.nobody.value) < 0.005
    for kind in ("blind", "stuck", "random", "worst"):
        lost = found.by_lie[kind]
        assert lost.remembering.value == pytest.approx(found.two_missing.value, abs=0.01)
    assert found.by_lie["worst"].at_once.value > found.by_lie["worst"].remembering.value + 0.02


@pytest.mark.slow
def test_what_no_memory_finds_out_is_said(members):
    """Who lies only where it turns the answer errs as often as an honest member may."""
    lost = threats(parts_of(members([2] * 6, examples=400), 3.0)).by_lie["stealthy"]
    assert lost.remembering.value > 0.02


def test_of_less_than_four_nobody_is_left_to_tell_a_liar_by(members):
    assert threats(parts_of(members([2] * 3, examples=100), 3.0)) is None
