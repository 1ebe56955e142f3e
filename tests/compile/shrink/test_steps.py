"""The steps that train, on the digits model and its own training function."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from isthmus.compile.recipes import STRUCTURE, Recipe
from isthmus.compile.shrink import STEPS, Training, shrink
from isthmus.compile.shrink.graph import weight_count
from isthmus.compile.shrink.prune import RAMP_SHARE, scores, zero_share
from isthmus.errors import SourceError

pytestmark = pytest.mark.slow
keras = pytest.importorskip("keras")
DIGITS = Path(__file__).parents[3] / "models" / "digits"
PROGRAM = """
import hashlib, sys
from pathlib import Path
import tensorflow as tf
tf.config.threading.set_intra_op_parallelism_threads(1)
tf.config.threading.set_inter_op_parallelism_threads(1)
import keras
from isthmus.compile.recipes import Recipe
from isthmus.compile.shrink import load_training, shrink
from isthmus.compile.sources.source import find_source
base, *recipes = sys.argv[1:]
source, _ = find_source("models/digits", None, Path(base), "digits")
for recipe in recipes:
    keras.backend.clear_session()
    keras.utils.set_random_seed(1)
    model = keras.saving.load_model(source.path, compile=False)
    training = load_training(source, "digits.model")
    training.epochs = 1
    for step in Recipe.of(recipe).structure:
        model = shrink(model, step, training, lambda _: None, "digits.model")
    print(recipe, hashlib.sha256(b"".join(weight.tobytes() for weight in model.get_weights())).hexdigest())
"""


def _accuracy(model: Any) -> float:
    with np.load(DIGITS / "evaluation.npz") as data:
        return float((model.predict(data["x"], verbose=0).argmax(axis=1) == data["y"]).mean())


def _zeros(model: Any) -> float:
    kernels = [weight for layer in model.layers for weight in layer.get_weights() if weight.ndim > 1]
    return sum(int((kernel == 0).sum()) for kernel in kernels) / sum(kernel.size for kernel in kernels)


def _shrunk(model: Any, recipe: str, training: Training | None, lines: list[str] | None = None) -> Any:
    for step in Recipe.of(recipe).structure:
        model = shrink(model, step, training, (lines if lines is not None else []).append, "digits.model")
    return model


def test_every_structure_step_of_a_recipe_is_in_the_table() -> None:
    assert set(STEPS) == set(STRUCTURE)


def test_pruned_weights_are_exactly_zero_after_fine_tuning_and_the_answers_stay(digits: Any, digits_training: Training) -> None:
    pruned = _shrunk(digits, "prune:80%", digits_training)
    assert _zeros(pruned) == pytest.approx(0.8, abs=1e-3)
    assert _zeros(digits) < 0.01, "the model that was given is left alone"
    assert _accuracy(pruned) >= _accuracy(digits) - 0.02
    assert all(weight.constraint is None for weight in pruned.trainable_weights)


def test_filters_that_go_make_the_network_smaller(digits: Any, digits_training: Training) -> None:
    lines: list[str] = []
    narrowed = _shrunk(digits, "prune-filters:50%", digits_training, lines)
    assert "128 of 256 filters removed" in lines[0]
    assert weight_count(narrowed) < 0.5 * weight_count(digits)
    assert _accuracy(narrowed) >= _accuracy(digits) - 0.03


def test_a_narrower_student_learns_from_its_teacher(digits: Any, digits_training: Training) -> None:
    student = _shrunk(digits, "distil:50%", digits_training)
    assert [layer.kernel.shape[-1] for layer in student.layers if hasattr(layer, "kernel")] == [16, 32, 32, 48, 10]
    assert _accuracy(student) >= _accuracy(digits) - 0.03
    assert all(layer.trainable for layer in digits.layers)


def test_a_student_of_the_users_own_is_trained(digits: Any, digits_training: Training, monkeypatch: pytest.MonkeyPatch) -> None:
    def student() -> Any:
        image = keras.Input((8, 8, 1), name="image")
        hidden = keras.layers.Dense(24, activation="relu")(keras.layers.Flatten()(image))
        return keras.Model(image, keras.layers.Dense(10, activation="softmax", name="probabilities")(hidden))

    monkeypatch.setattr(digits_training._module, "student", student, raising=False)
    trained = _shrunk(digits, "distil:student", digits_training)
    assert weight_count(trained) == 64 * 24 + 24 + 24 * 10 + 10
    assert _accuracy(trained) >= 0.6

    def other() -> Any:
        image = keras.Input((8, 8, 1), name="picture")
        return keras.Model(image, keras.layers.Dense(10, name="probabilities")(keras.layers.Flatten()(image)))

    monkeypatch.setattr(digits_training._module, "student", other)
    with pytest.raises(SourceError, match=r"the student's inputs are \{'picture'.*its teacher's \{'image'"):
        _shrunk(digits, "distil:student", digits_training)


def test_steps_follow_each_other(digits: Any, digits_training: Training) -> None:
    made = _shrunk(digits, "prune-filters:30%+prune:70%", digits_training)
    assert weight_count(made) < 0.8 * weight_count(digits)
    assert _zeros(made) == pytest.approx(0.7, abs=1e-2)


def test_another_process_gets_the_same_weights() -> None:
    arguments = [sys.executable, "-c", PROGRAM, str(DIGITS.parents[1]), "prune:80%", "slim:width=50%", "distil:50%"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "TF_ENABLE_ONEDNN_OPTS": "0", "PYTHONHASHSEED": "0"}
    runs = [subprocess.run(arguments, check=False, capture_output=True, text=True, env=environment, timeout=250) for _ in range(2)]
    assert all(run.returncode == 0 for run in runs), runs[0].stderr
    assert runs[0].stdout == runs[1].stdout
    assert len(set(runs[0].stdout.split())) == 6


def test_the_share_of_zeros_rises_by_a_cubic_to_its_end() -> None:
    shares = [zero_share(progress / 20, 0.9) for progress in range(21)]
    assert shares[0] == 0
    assert shares == sorted(shares)
    assert all(share == 0.9 for progress, share in enumerate(shares) if progress / 20 >= RAMP_SHARE)
    assert zero_share(RAMP_SHARE / 2, 0.8) == pytest.approx(0.8 * 7 / 8)


def test_scores_follow_lamp_and_what_is_zero_goes_first() -> None:
    weights = np.array([[3.0, 0.0], [-1.0, 2.0]], np.float32)
    np.testing.assert_allclose(scores(weights), [[1.0, 0.0], [1 / 14, 4 / 13]])
    assert (scores(np.zeros((2, 3), np.float32)) == 0).all()
