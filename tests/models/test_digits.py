"""The digits model as the repository carries it."""

import json
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image

FOLDER = Path(__file__).parents[2] / "models" / "digits"
pytestmark = pytest.mark.slow


def test_the_trained_file_is_small() -> None:
    assert (FOLDER / "model.keras").stat().st_size <= 1 << 20


def test_the_evaluation_data_is_the_held_out_part_and_nothing_of_it_is_trained_on(module: ModuleType) -> None:
    examples = module.data()
    with np.load(FOLDER / "evaluation.npz") as evaluation:
        np.testing.assert_array_equal(evaluation["x"], examples.held_out_images)
        np.testing.assert_array_equal(evaluation["y"], examples.held_out_labels)
    assert examples.held_out_images.dtype == np.float32
    assert examples.held_out_images.min() == 0
    assert examples.held_out_images.max() == 1
    assert len(examples.train_images) + len(examples.held_out_images) == 1797
    trained_on = {image.tobytes() for image in examples.train_images}
    assert not any(image.tobytes() in trained_on for image in examples.held_out_images)


def test_the_model_is_right_on_the_held_out_part_and_on_the_samples(module: ModuleType) -> None:
    import keras

    model = keras.saving.load_model(FOLDER / "model.keras", compile=False)
    examples = module.data()
    answers = model.predict(examples.held_out_images, verbose=0).argmax(axis=1)
    assert (answers == examples.held_out_labels).mean() >= 0.985
    assert [tuple(weight.shape) for weight in module.build().weights] == [tuple(weight.shape) for weight in model.weights]
    for sample in sorted((FOLDER / "samples").iterdir()):
        assert model.predict(_read(sample), verbose=0).argmax() == int(sample.stem.removeprefix("digit-")), sample.name


def _read(sample: Path) -> np.ndarray:
    if sample.suffix == ".npy":
        return np.load(sample)
    if sample.suffix == ".json":
        return np.array(json.loads(sample.read_text())["instances"], np.float32)
    return np.asarray(Image.open(sample), np.float32)[None, :, :, None] / 255
