"""Laws of golden vectors."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from isthmus.compile.evaluation import Evaluation
from isthmus.compile.golden import GOLDEN_EXAMPLES, choose_golden, difference, golden_json, golden_tolerance, nice_ceiling
from isthmus.compile.load import SourceModel
from isthmus.release.manifest import TensorSpec

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


def _models(seed: int) -> tuple[SourceModel, SourceModel, Evaluation]:
    """The same model on two processors: each answer differs by up to four units of the last place of a float32."""
    generator = np.random.default_rng(seed)
    examples = generator.random((GOLDEN_EXAMPLES, 10), dtype=np.float32)
    noise = 1 + generator.uniform(-4, 4, examples.shape) * np.finfo(np.float32).eps
    spec = (TensorSpec("x", "float32", (-1, 10)),)

    def model(factor: NDArray[np.float64]) -> SourceModel:
        answers = {example.tobytes(): (example * row).astype(np.float32) for example, row in zip(examples, factor, strict=True)}
        return SourceModel(spec, spec, lambda arrays: {"x": answers[arrays["x"].tobytes()][None]})

    return model(np.ones(examples.shape)), model(noise), Evaluation({"x": examples}, None)


def test_golden_vectors_are_the_same_on_another_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    def share() -> float:
        texts = [[golden_json("s", choose_golden(model, data)) for model in (here, there)] for here, there, data in map(_models, range(60))]
        return float(np.mean([here == there for here, there in texts]))

    assert share() >= 0.9
    monkeypatch.setattr("isthmus.compile.golden.DECIMALS", 6)  # as many as a float32 has
    assert share() <= 0.1


def test_the_tolerance_has_a_margin_over_the_worst_variant() -> None:
    here, _, data = _models(1)
    golden = choose_golden(here, data)
    assert golden_tolerance(golden, [0.0, 0.03]) == 0.2
    assert golden_tolerance(golden, [0.0]) == 0.002


def test_large_answers_are_rounded_to_fewer_decimals() -> None:
    spec = (TensorSpec("x", "float32", (-1, 1)),)
    model = SourceModel(spec, spec, lambda arrays: {"x": arrays["x"]})
    golden = choose_golden(model, Evaluation({"x": np.array([[1234.5678], [np.inf], [np.nan]], np.float32)}, None))
    assert golden.outputs["x"][0, 0] == 1230.0
    assert golden.step == 10.0


def test_what_is_not_comparable_differs_infinitely() -> None:
    assert difference(np.zeros((1, 2)), np.zeros((1, 3))) == math.inf
    assert difference(np.array([1.0, np.nan]), np.array([1.0, np.nan])) == 0
    assert difference(np.array([1.0]), np.array([np.nan])) == math.inf
    assert difference(np.array(["a"]), np.array(["b"])) == math.inf
    assert difference(np.array([1, 5]), np.array([1, 3])) == 2
