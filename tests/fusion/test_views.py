"""What members answered is checked whole: every problem at once, each with its place."""

import contextlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as drawn

from isthmus.errors import InputError
from isthmus.fusion.views import Views, views_of

LABELS = np.arange(40) % 3
EVEN = np.full((40, 3), 1 / 3)


def problems(outputs, labels=LABELS):
    with pytest.raises(InputError) as error:
        views_of(outputs, labels, "--outputs")
    return str(error.value)


def test_sound_answers_are_taken_in_the_order_of_the_names():
    found = views_of({"south": EVEN, "north": EVEN.astype(np.float32)}, LABELS.astype(np.uint8), "x")
    assert found.members == ("north", "south")
    assert found.log_probabilities.shape == (2, 40, 3)
    assert found.without("north").members == ("south",)


def test_one_probability_is_of_the_second_of_two_classes():
    found = views_of({"a": np.linspace(0, 1, 40)[:, None]}, LABELS % 2, "x")
    assert np.exp(found.log_probabilities[0, 10]) == pytest.approx([1 - 10 / 39, 10 / 39])


def test_an_impossible_class_is_not_further_down_than_a_device_reads():
    table = np.tile([1.0, 0.0, 0.0], (40, 1))
    assert views_of({"a": table}, LABELS, "x").log_probabilities.min() == pytest.approx(-16)


def test_all_that_is_wrong_is_said_at_once():
    spoilt = EVEN.copy()
    spoilt[7, 1] = np.nan
    said = problems({"door": EVEN[:39], "gate": spoilt, "roof": EVEN[:, :, None], "a b": EVEN, "yard": 3 * EVEN})
    for part in ("door: has answers to 39 examples", "gate: 1 of 40 rows", "row 7", "roof: found float64 [40, 3, 1]", "'a b'", "yard: 40"):
        assert part in said


@pytest.mark.parametrize(
    ("outputs", "labels", "said"),
    [
        ({}, LABELS, "0 members"),
        ({f"m{place}": EVEN for place in range(17)}, LABELS, "17 members"),
        ({"a": EVEN}, None, "labels: is missing"),
        ({"a": EVEN}, LABELS.astype(float), "whole numbers"),
        ({"a": EVEN}, LABELS[:, None], "whole numbers"),
        ({"a": EVEN}, LABELS - 1, "class -1"),
        ({"a": EVEN}, LABELS + 1, "class 3; expected 0 to 2"),
        ({"a": EVEN}, LABELS * 2**40, "class 2199023255552"),
        ({"a": EVEN}, LABELS * 0, "all examples are of class 0"),
        ({"a": EVEN[:20]}, LABELS[:20], "20 examples"),
        ({"a": EVEN, "b": np.full((40, 4), 0.25)}, LABELS, "different numbers of classes (a 3, b 4)"),
        ({"a": EVEN.astype(str)}, LABELS, "probabilities"),
        ({"a": EVEN > 0}, LABELS, "found bool"),
        ({"a": np.full((40, 3), np.inf)}, LABELS, "40 of 40 rows"),
        ({"a": EVEN - 1}, LABELS, "40 of 40 rows"),
        ({"a": np.zeros((40, 0))}, LABELS, "[40, 0]"),
    ],
)
def test_what_is_odd_is_refused_with_its_place(outputs, labels, said):
    assert said in problems(outputs, labels)


@given(
    drawn.arrays(st.sampled_from([np.float32, np.int8, np.bool_, np.dtype("U3")]), drawn.array_shapes(min_dims=0, max_dims=3, min_side=0)),
    drawn.arrays(st.sampled_from([np.int64, np.float64]), drawn.array_shapes(min_dims=0, max_dims=2, min_side=0)),
)
def test_nothing_but_the_one_error_is_raised_for_any_arrays(output, labels):
    with contextlib.suppress(InputError):
        assert isinstance(views_of({"a": output}, labels, "x"), Views)
