"""Embeddings are checked, and a byte a number says what they are."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isthmus.errors import InputError
from isthmus.fusion.embedded import MOST_HEAD_INPUTS, Bytes, embedded_of

LABELS = np.arange(40) % 4


def refused(values):
    with pytest.raises(InputError) as error:
        embedded_of(values, LABELS, 4, "--views")
    return str(error.value)


def test_members_stand_in_the_order_of_their_names():
    found = embedded_of({"b": np.ones((40, 3)), "a": np.zeros((40, 3))}, LABELS, 4, "--views")
    assert found.members == ("a", "b")
    assert found.values[1].all()
    assert found.of(LABELS == 2).values.shape == (2, 10, 3)


def test_whatever_is_wrong_is_said_at_once():
    assert "--views.a: found [39, 3]" in refused({"a": np.zeros((39, 3)), "b": np.zeros((40, 3))})
    assert "--views.b: the layer makes numbers of it that are not finite" in refused(
        {"a": np.zeros((40, 3)), "b": np.full((40, 3), np.nan)}
    )
    assert "embeddings differ in size (a 3, b 2)" in refused({"a": np.zeros((40, 3)), "b": np.zeros((40, 2))})
    wide = np.zeros((40, MOST_HEAD_INPUTS // 2 + 1))
    assert "choose a narrower layer with --layer" in refused({"a": wide, "b": wide})


@settings(max_examples=40)
@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=20))
def test_a_number_arrives_within_half_a_step_and_what_lies_outside_is_the_end(numbers):
    values = np.array(numbers)[None, :, None]
    wire = Bytes.of(values)
    assert np.abs(wire.arrived(values) - values).max() <= wire.step[0] / 2 * (1 + 1e-6)
    far = wire.arrived(np.full((1, 1, 1), 1e9))
    assert far.ravel() == pytest.approx(wire.low + 255 * wire.step)
    assert wire.arrived(np.zeros((1, 1, 1))).ravel() == pytest.approx([0], abs=float(wire.step[0]) / 2 * (1 + 1e-6))
