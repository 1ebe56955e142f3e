"""By array the group answers as devices do, one by one and over the wire."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.fusion.conftest import made

from isthmus.fusion.batch import evidence_of, fused
from isthmus.fusion.learn import learn
from isthmus.fusion.lies import worst_lies
from isthmus.fusion.views import views_of
from isthmus_agent.core.fusion import Fusion
from isthmus_agent.formats import digests
from isthmus_agent.formats.evidence import encode

VIEWS = views_of(*made([2, 1.5, 1, 0, 2, 1], 0.3, examples=120), "x")
GROUP = learn(VIEWS, digests.of(b"one"), 3.0)
FUSION = Fusion(GROUP)


@settings(max_examples=15)
@given(st.integers(0, 10_000), st.sampled_from([None, 0, 4]))
def test_many_at_once_are_answered_as_each_alone_is(seed, liar):
    answered = np.random.default_rng(seed).random((6, 120)) < 0.8
    evidence = evidence_of(GROUP, VIEWS)
    if liar is not None:
        evidence = worst_lies(FUSION, evidence, VIEWS.labels, liar, answered)
    found = fused(FUSION, evidence, answered)
    for example in range(0, 120, 5):
        said = {name: evidence[place, example].tolist() for place, name in enumerate(VIEWS.members) if answered[place, example]}
        alone = FUSION.fused(said)
        powers = np.exp(found.totals[example] - found.totals[example].max())
        assert powers / powers.sum() == pytest.approx(alone.probabilities, abs=1e-9)
        assert {VIEWS.members[place] for place in np.flatnonzero(found.set_aside[:, example])} == set(alone.set_aside)


def test_what_is_reckoned_with_is_what_comes_over_the_wire():
    evidence = evidence_of(GROUP, VIEWS)
    for place, name in enumerate(VIEWS.members):
        for example in range(20):
            payload = FUSION.written(name, VIEWS.log_probabilities[place, example].tolist())
            assert payload == encode(evidence[place, example].tolist(), GROUP.clip)
            assert FUSION.read(payload) == pytest.approx(evidence[place, example], abs=1e-12)


def test_where_nobody_answers_it_is_the_prior():
    found = fused(FUSION, evidence_of(GROUP, VIEWS), np.zeros((6, 120), bool))
    assert found.totals == pytest.approx(np.tile(GROUP.log_prior, (120, 1)))
