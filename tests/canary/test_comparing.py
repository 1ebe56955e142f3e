import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isthmus.canary.comparing import compare, probe_body
from isthmus.canary.drift import Answer

finite = st.floats(-1e3, 1e3)
batches = st.lists(st.lists(finite, min_size=3, max_size=3), min_size=1, max_size=5)


def column(outputs: Any) -> Answer:
    return Answer(200, json.dumps({"outputs": outputs}).encode())


def row(predictions: Any) -> Answer:
    return Answer(200, json.dumps({"predictions": predictions}).encode())


@given(batches)
def test_an_answer_is_like_itself_in_either_form(values: list[list[float]]) -> None:
    for answer in (row(values), column(values), column({"a": values, "b": values}), row([{"a": v, "b": v[0]} for v in values])):
        for kind in ("classes", "values"):
            drift = compare(answer, answer, kind)  # type: ignore[arg-type]
            assert (drift.compared, drift.changed, drift.faults) == (len(values), 0, ())


@given(batches, st.data())
def test_as_many_changes_as_examples_that_changed(values: list[list[float]], data: st.DataObject) -> None:
    changed = data.draw(st.sets(st.integers(0, len(values) - 1)))
    answers = [[0.0, 1.0, 0.0] if i in changed else [1.0, 0.0, 0.0] for i in range(len(values))]
    drift = compare(row([[1.0, 0.0, 0.0]] * len(values)), row(answers))
    assert drift.changed == len(changed)
    assert drift.percent == pytest.approx(100 * len(changed) / len(values))


def test_a_class_is_the_place_of_the_largest_and_a_value_is_its_distance() -> None:
    stable, canary = row([[0.6, 0.4]]), row([[0.9, 0.1]])
    assert compare(stable, canary).changed == 0
    assert compare(stable, canary, "values").changed == 1
    assert compare(row([[100.0]]), row([[104.0]])).changed == 0
    assert compare(row([[100.0]]), row([[106.0]])).changed == 1
    assert compare(row([100.0, 1.0]), row([100.0, 2.0])).changed == 1


def test_whole_numbers_booleans_and_strings_are_equal_or_changed() -> None:
    assert compare(row([1, 2]), row([1, 3])).changed == 1
    assert compare(row([True, False]), row([True, True])).changed == 1
    assert compare(row(["cat", "dog"]), row(["cat", "cow"])).changed == 1
    assert compare(row([{"b64": "AAE="}, {"b64": "AAI="}]), row([{"b64": "AAE="}, {"b64": "AAM="}])).changed == 1


def test_one_changed_output_of_several_changes_the_example_once() -> None:
    stable = column({"class": [[1.0, 0.0], [1.0, 0.0]], "name": ["a", "b"]})
    canary = column({"class": [[0.0, 1.0], [1.0, 0.0]], "name": ["x", "b"]})
    drift = compare(stable, canary)
    assert (drift.compared, drift.changed) == (2, 1)
    assert drift.example == "example 0: the largest of output 'class' is at 1 instead of 0"


@pytest.mark.parametrize("odd", [math.nan, math.inf, -math.inf])
def test_what_is_no_number_is_at_fault_only_on_the_canary(odd: float) -> None:
    assert "answers a probe with" in compare(row([[1.0], [2.0]]), row([[1.0], [odd]])).faults[0]
    drift = compare(row([[1.0], [odd]]), row([[1.0], [2.0]]))
    assert (drift.faults, drift.changed) == ((), 1)


@pytest.mark.parametrize(
    ("stable", "canary", "example"),
    [
        (column({"a": [1.0]}), column({"b": [1.0], "c": [1.0]}), "outputs b, c instead of a"),
        (row([[1.0, 2.0]]), row([[1.0, 2.0, 3.0]]), "shape [1, 3] instead of [1, 2]"),
        (row([1.0]), row(["x"]), "another type"),
    ],
)
def test_answers_of_another_form_are_all_changed(stable: Answer, canary: Answer, example: str) -> None:
    drift = compare(stable, canary)
    assert drift.percent == 100
    assert example in drift.example


def test_a_scalar_answer_is_one_comparison() -> None:
    assert compare(column(1.0), column(1.0)).compared == 1
    assert compare(column(1.0), column(2.0)).changed == 1


def test_a_canary_that_refuses_a_probe_is_at_fault() -> None:
    refused = Answer(400, b'{"error": "no such input"}')
    assert compare(row([1.0]), refused).faults == ("the canary refuses a probe: HTTP 400: no such input",)
    assert "and so does the stable release" in compare(refused, refused).faults[0]
    assert compare(refused, row([1.0])).faults == ()
    assert compare(refused, row([1.0])).changed == 1
    assert compare(row([1.0]), Answer(200, b"<html>")).faults


@given(st.recursive(st.none() | st.booleans() | st.floats() | st.text(max_size=3), lambda inner: st.lists(inner, max_size=3), max_leaves=8))
def test_any_reply_is_compared_with_itself(values: Any) -> None:
    drift = compare(column(values), column(values))
    assert drift.changed in (0, drift.compared)


def test_a_probe_is_the_golden_request() -> None:
    golden = '{"signature":"serve","inputs":{"x":[[1.0,NaN]]},"outputs":{"y":[[2.0]]}}'
    assert probe_body(golden) == '{"signature_name":"serve","inputs":{"x":[[1.0,NaN]]}}'
