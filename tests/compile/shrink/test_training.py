"""The training function: what goes wrong in it is told with its own line, and never hangs."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from isthmus.compile.recipes import Step
from isthmus.compile.shrink import load_training, shrink
from isthmus.compile.sources.source import Source
from isthmus.errors import SourceError

pytestmark = pytest.mark.slow
keras = pytest.importorskip("keras")
Project = Callable[[str], Source]
PRUNE = Step("prune", "50%")

HEAD = """
import time
import numpy as np
EPOCHS = 4
X = np.random.default_rng(1).normal(size=(96, 4)).astype("float32")
Y = (X.sum(axis=1) > 0).astype("int64")

def fit(model, epochs, callbacks=()):
"""
SOUND = """    model.compile("adam", "sparse_categorical_crossentropy")
    model.fit(X, Y, batch_size=8, epochs=epochs, callbacks=list(callbacks), verbose=0)
"""


def _shrink(source: Source, deadline_seconds: float = 900, step: Step = PRUNE, lines: list[str] | None = None) -> Any:
    training = load_training(source, "tiny.model", deadline_seconds)
    model = keras.saving.load_model(source.path, compile=False)
    return shrink(model, step, training, (lines if lines is not None else []).append, "tiny.model")


def test_progress_says_how_long_it_will_take_and_then_how_long_is_left(project: Project) -> None:
    lines: list[str] = []
    slow = SOUND.replace(
        "callbacks=list(callbacks)",
        "callbacks=[*callbacks, keras.callbacks.LambdaCallback(on_train_batch_end=lambda *_, **__: time.sleep(0.05))]",
    )
    _shrink(project("import keras\n" + HEAD + slow), lines=lines)
    forecast = re.search(r"2 epochs, about (\d+) s", "\n".join(lines))
    assert forecast, lines
    assert 1 <= int(forecast[1]) <= 60  # two epochs of 12 steps that take a twentieth of a second and a bit
    assert any(re.search(r"epoch 1 of 2, about \d+ s left", line) for line in lines), lines
    assert any(line.endswith("epoch 2 of 2") for line in lines), lines


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("    raise RuntimeError('no data')\n", r"fit of tiny/model\.py raised RuntimeError: no data at tiny/model\.py:9"),
        ("    import a_module_that_is_not_there\n", r"raised ModuleNotFoundError: .*at tiny/model\.py:9"),
        ("    raise SystemExit(3)\n", r"raised SystemExit: 3 at tiny/model\.py:9"),
        ("    pass\n", r"did not train the model with the callbacks"),
        (SOUND.replace(", callbacks=list(callbacks)", ""), r"did not train the model with the callbacks.*callbacks=list\(callbacks\)"),
        # Not by data that are NaN: on some processors' kernels ReLU makes 0 of them, and the loss stays finite.
        (SOUND.replace('"sparse_categorical_crossentropy"', "lambda _, y: y[:, 0] * np.nan"), r"the loss is nan after epoch 1.*a finite"),
        (
            SOUND + "    model.layers[1].kernel.assign(model.layers[1].kernel * np.inf)\n",
            r"weights '.*kernel' have values that are no numbers",
        ),
    ],
)
def test_what_the_training_function_does_wrong_is_told_with_its_line(project: Project, body: str, message: str) -> None:
    with pytest.raises(SourceError, match=message) as caught:
        _shrink(project(HEAD + body))
    assert "Traceback" not in str(caught.value)
    assert str(caught.value).startswith("tiny.model: ")


@pytest.mark.parametrize(
    "body",
    [
        "    while True:\n        pass\n",
        "    while True:\n        try:\n            time.sleep(100)\n        except Exception:\n            pass\n",
        SOUND.replace("epochs=epochs", "epochs=10**6"),
    ],
)
def test_training_that_never_ends_is_ended_by_its_deadline(project: Project, body: str) -> None:
    with pytest.raises(SourceError, match=r"prune:50%: fine-tune (was not done after|would take).*training_deadline_seconds"):
        _shrink(project(HEAD + body), deadline_seconds=2)


def test_training_that_cannot_be_done_in_time_is_not_even_tried_to_the_end(project: Project) -> None:
    source = project(HEAD.replace("EPOCHS = 4", "EPOCHS = 10**6") + SOUND)
    with pytest.raises(SourceError, match=r"would take about \d+ s for 500000 epochs, and \d+ s are left.*raise training_deadline_seconds"):
        _shrink(source, deadline_seconds=60)


def test_one_deadline_covers_all_steps_of_a_recipe(project: Project) -> None:
    source = project(HEAD + SOUND)
    training = load_training(source, "tiny.model", 1e-9)
    assert training is not None
    with pytest.raises(SourceError, match="training_deadline_seconds"):
        shrink(keras.saving.load_model(source.path), PRUNE, training, lambda _: None, "tiny.model")
    assert training.seconds > 0


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("def fit(model, epochs, callbacks=()): pass\n", r"tiny/model\.py has EPOCHS = None"),
        ("EPOCHS = 0\ndef fit(model, epochs, callbacks=()): pass\n", r"EPOCHS = 0.*whole number from 1"),
        (
            "EPOCHS = 1\n1 / 0\ndef fit(model, epochs, callbacks=()): pass\n",
            r"import of tiny/model\.py raised ZeroDivisionError.*model\.py:2",
        ),
    ],
)
def test_a_module_that_cannot_train_is_refused(project: Project, code: str, message: str) -> None:
    with pytest.raises(SourceError, match=message):
        load_training(project(code), "tiny.model")


def test_a_folder_without_a_training_function_has_no_training(project: Project) -> None:
    assert load_training(project("EPOCHS = 3\n"), "tiny.model") is None


def test_modules_beside_the_training_are_found_and_forgotten(project: Project, tmp_path: Path) -> None:
    import sys

    source = project(HEAD + "    import lazy_neighbour\n" + SOUND)
    (tmp_path / "tiny" / "lazy_neighbour.py").write_text("VALUE = 1\n")
    before = list(sys.path)
    _shrink(source)
    assert sys.path == before
    assert "lazy_neighbour" not in sys.modules


def test_digits_never_train_on_what_is_held_out(digits_folder: Path) -> None:
    pytest.importorskip("sklearn")
    import importlib.util

    spec = importlib.util.spec_from_file_location("digits_for_training", digits_folder / "model.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    examples = module.data()
    spoilt = examples._replace(held_out_images=examples.held_out_images * np.nan, held_out_labels=examples.held_out_labels - 99)
    trained = []
    for data in (examples, spoilt):
        keras.utils.set_random_seed(1)
        model = module.build()
        module.fit(model, 1, examples=data)
        trained.append(model.get_weights())
    assert all(np.array_equal(one, other) for one, other in zip(*trained, strict=True))
