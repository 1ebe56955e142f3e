"""Laws of golden vectors."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from isthmus.compile.build.evaluation import Evaluation
from isthmus.compile.build.golden import (
    GOLDEN_EXAMPLES,
    choose_golden,
    difference,
    golden_json,
    golden_rows,
    golden_tolerance,
    largest_difference,
    mean_difference,
    nice_ceiling,
)

positive = st.floats(1e-12, 1e12)


@given(positive, positive)
def test_a_nice_ceiling_is_a_tight_upper_bound(value: float, floor: float) -> None:
    found = nice_ceiling(value, floor)
    assert found >= max(value, floor) * (1 - 1e-8)
    assert found <= 2.5 * max(value, floor) * (1 + 1e-8)
    assert f"{found:.0e}"[0] in "125"


@given(st.floats(0.5, 2.4))
def test_a_nice_ceiling_forgets_the_last_bits(value: float) -> None:
    assert nice_ceiling(value, 1e-9) == nice_ceiling(math.nextafter(value, 0), 1e-9) or value in (0.5, 1.0, 2.0)


Answers = dict[str, NDArray[np.float32]]


def _answers(seed: int) -> tuple[Evaluation, Answers, Answers]:
    """The same model on two processors: each answer differs by up to four units of the last place of a float32."""
    generator = np.random.default_rng(seed)
    examples = generator.random((GOLDEN_EXAMPLES + 3, 10), dtype=np.float32)
    noise = 1 + generator.uniform(-4, 4, examples.shape) * np.finfo(np.float32).eps
    return Evaluation({"x": examples}, None), {"x": examples}, {"x": (examples * noise).astype(np.float32)}


def test_golden_vectors_are_the_same_on_another_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    def share() -> float:
        texts = [[golden_json("s", choose_golden(data, found)) for found in both] for data, *both in map(_answers, range(60))]
        return float(np.mean([here == there for here, there in texts]))

    assert share() >= 0.9
    monkeypatch.setattr("isthmus.compile.build.golden.DECIMALS", 6)  # as many as a float32 has
    assert share() <= 0.1


def test_the_tolerance_has_a_margin_over_the_worst_variant() -> None:
    data, here, _ = _answers(1)
    decimals = choose_golden(data, here).decimals
    assert golden_tolerance(decimals, [0.0, 0.03]) == 0.2
    assert golden_tolerance(decimals, [0.0]) == 0.002


def test_golden_vectors_are_the_first_examples_with_their_own_answers() -> None:
    data, here, _ = _answers(2)
    golden = choose_golden(data, here)
    assert len(golden.inputs["x"]) == len(golden.answers["x"]) == GOLDEN_EXAMPLES
    assert (golden.inputs["x"] == golden.answers["x"]).all()


def test_large_answers_are_rounded_to_fewer_decimals() -> None:
    values = np.array([[1234.5678], [np.inf], [np.nan]], np.float32)
    golden = choose_golden(Evaluation({"x": values}, None), {"x": values})
    assert golden.outputs["x"][0, 0] == 1230.0
    assert golden.decimals == -1


def test_what_is_not_comparable_differs_infinitely() -> None:
    assert difference(np.zeros((1, 2)), np.zeros((1, 3))) == math.inf
    assert difference(np.array([1.0, np.nan]), np.array([1.0, np.nan])) == 0
    assert difference(np.array([1.0]), np.array([np.nan])) == math.inf
    assert difference(np.array(["a"]), np.array(["b"])) == math.inf
    assert difference(np.array([1, 5]), np.array([1, 3])) == 2


def test_differences_of_several_outputs_are_taken_together() -> None:
    expected = {"a": np.array([[1.0, np.inf], [2.0, np.nan]]), "text": np.array([["t"], ["t"]])}
    found = {"a": np.array([[1.5, np.inf], [2.0, np.nan]]), "text": np.array([["t"], ["t"]])}
    assert largest_difference(expected, found) == 0.5
    assert mean_difference(expected, found) == 0.125
    assert largest_difference(expected, {"a": found["a"]}) == math.inf


def _classes(answers: NDArray[np.float32]) -> Evaluation:
    return Evaluation({"x": np.arange(len(answers), dtype=np.float32)[:, None]}, np.zeros(len(answers), np.int64), "y")


def test_golden_vectors_are_what_the_source_is_sure_of_in_as_many_classes_as_there_are() -> None:
    sure = np.array([0.5, 0.9, 0.7, 0.99, 0.6, 0.8, 0.95, 0.55, 0.85, 0.65, 0.75, 0.98], np.float32)
    answers = np.stack([sure, 1 - sure, np.zeros_like(sure)], axis=1)
    answers[[1, 5, 7]] = answers[[1, 5, 7]][:, [2, 1, 0]]  # answered as the third class
    assert golden_rows(_classes(answers), {"y": answers}).tolist() == [1, 3, 5, 6, 7, 8, 10, 11]


def test_an_example_that_the_source_is_torn_about_does_not_loosen_the_tolerance() -> None:
    """A variant that answers the other way where the source has 0.51 against 0.49: the first eight would allow any answer."""
    answers = np.tile(np.array([[0.98, 0.02], [0.03, 0.97]], np.float32), (8, 1))
    answers[2] = [0.51, 0.49]
    variant = answers.copy()
    variant[2] = [0.1, 0.9]
    rows = golden_rows(_classes(answers), {"y": answers})
    assert golden_tolerance(3, [difference(answers[:GOLDEN_EXAMPLES], variant[:GOLDEN_EXAMPLES])]) > 1
    assert golden_tolerance(3, [difference(answers[rows], variant[rows])]) < 0.01


@pytest.mark.parametrize("outputs", [np.array([[0.9], [0.2], [0.4]], np.float32), np.array([[1, np.nan], [3, 1], [0, 1]], np.float32)])
def test_one_probability_and_answers_that_are_no_numbers_have_golden_vectors_too(outputs: NDArray[np.float32]) -> None:
    assert golden_rows(_classes(outputs), {"y": outputs}).tolist() == [0, 1, 2]
