"""By array a group that remembers answers as a device does, one by one."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.fusion.test_batch import FUSION, GROUP, VIEWS

from isthmus.fusion.batch import evidence_of
from isthmus.fusion.lies import LIES
from isthmus.fusion.remembering import remembered
from isthmus_agent.core.trust import Trust

EXAMPLES = len(VIEWS.labels)


@settings(max_examples=10)
@given(st.integers(0, 10_000), st.sampled_from(sorted(LIES)), st.sampled_from([0.5, 0.9, 1]))
def test_many_at_once_are_remembered_as_each_alone_is(seed, kind, there):
    answered = np.random.default_rng(seed).random((6, EXAMPLES)) < there
    evidence = LIES[kind](FUSION, evidence_of(GROUP, VIEWS), VIEWS.labels, seed % 6, answered)
    found, trust = remembered(FUSION, evidence, answered), Trust(FUSION)
    for example in range(EXAMPLES):
        said = {name: evidence[place, example].tolist() for place, name in enumerate(VIEWS.members) if answered[place, example]}
        alone = trust.fused(said)
        powers = np.exp(found.fused.totals[example] - found.fused.totals[example].max())
        assert powers / powers.sum() == pytest.approx(alone.probabilities, abs=1e-9)
        heard = {VIEWS.members[place] for place in np.flatnonzero(found.heard[:, example] & ~found.fused.set_aside[:, example])}
        assert heard == set(alone.weights)
    assert found.memory.nats == pytest.approx(trust.memory.nats)
    assert found.memory.out == trust.memory.out


def test_a_memory_goes_on_where_it_was():
    evidence, answered = evidence_of(GROUP, VIEWS), np.ones((6, EXAMPLES), bool)
    lied = LIES["blind"](FUSION, evidence, VIEWS.labels, 1, answered)
    first = remembered(FUSION, lied[:, :50], answered[:, :50])
    second = remembered(FUSION, lied[:, 50:], answered[:, 50:], first.memory)
    assert second.memory == remembered(FUSION, lied, answered).memory
    assert second.memory.out == {1}
