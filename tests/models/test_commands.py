"""The commands model as the repository carries it."""

import importlib.util
import json
import re
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

FOLDER = Path(__file__).parents[2] / "models" / "commands"
pytestmark = pytest.mark.slow
needs_engine = pytest.mark.skipif(importlib.util.find_spec("espeakng_loader") is None, reason="espeakng-loader is not installed")


def test_the_files_are_small() -> None:
    assert (FOLDER / "model.keras").stat().st_size <= 300_000
    assert (FOLDER / "evaluation.npz").stat().st_size <= 500_000


def test_the_model_hears_what_the_card_says(module: ModuleType) -> None:
    import keras

    model = keras.saving.load_model(FOLDER / "model.keras", compile=False)
    with np.load(FOLDER / "evaluation.npz") as evaluation:
        right = model.predict(evaluation["x"], verbose=0).argmax(axis=1) == evaluation["y"]
    said = re.search(r"\*\*([\d.]+)\*\* \((\d+) of (\d+)\)", (FOLDER / "README.md").read_text())
    assert said is not None
    assert len(right) == int(said[3])
    assert abs(int(right.sum()) - int(said[2])) <= 1  # another processor may round one example over the edge
    assert [tuple(weight.shape) for weight in module.build().weights] == [tuple(weight.shape) for weight in model.weights]
    for sample in sorted((FOLDER / "samples").iterdir()):
        sound = np.load(sample) if sample.suffix == ".npy" else np.array(json.loads(sample.read_text())["instances"], np.float32)
        assert module.CLASSES[model.predict(sound, verbose=0).argmax()] == sample.stem, sample.name


def test_no_voice_and_no_other_word_is_both_trained_on_and_held_out(module: ModuleType) -> None:
    assert not set(module.TRAIN_VOICES) & set(module.HELD_OUT_VOICES)
    assert not set(module.TRAIN_OTHERS) & set(module.HELD_OUT_OTHERS)
    assert not {*module.TRAIN_OTHERS, *module.HELD_OUT_OTHERS} & set(module.WORDS)


def test_a_tone_is_heard_in_its_band_however_loud_it_is(module: ModuleType) -> None:
    seconds = np.arange(module.CLIP_SAMPLES) / module.SAMPLES_PER_SECOND
    low, high = (module.features(0.5 * np.sin(2 * np.pi * hz * seconds)) for hz in (300, 4000))
    assert low.shape == (module.FRAMES, module.BANDS, 1)
    assert low.dtype == np.float32
    assert low[:, :, 0].argmax(axis=1).max() < high[:, :, 0].argmax(axis=1).min()
    noise = np.random.default_rng(0).standard_normal(module.CLIP_SAMPLES)
    np.testing.assert_allclose(module.features(noise), module.features(noise / 2), atol=1.1 / module.STEPS_PER_UNIT)


@needs_engine
def test_the_engine_says_the_same_in_every_process_also_in_breathy_voices(module: ModuleType) -> None:
    asked = [module.Utterance(word, f"gmw/en-US+{voice}", 150, 50) for word in ("yes", "stop") for voice in ("f3", "whisper", "m1")]
    for one, two in zip(module._speak(asked), module._speak(asked), strict=True):
        np.testing.assert_array_equal(one, two)


@needs_engine
def test_a_voice_that_the_engine_lacks_is_named(module: ModuleType) -> None:
    with pytest.raises(RuntimeError, match="no voice 'gmw/en-US-nowhere'"):
        module._speak([module.Utterance("yes", "gmw/en-US-nowhere", 150, 50)])


@needs_engine
def test_the_evaluation_data_is_the_held_out_part(module: ModuleType) -> None:
    features, labels = module.held_out_part()
    with np.load(FOLDER / "evaluation.npz") as evaluation:
        np.testing.assert_array_equal(evaluation["y"], labels)
        # Another build of a Fourier transform may round a few features to the next step.
        differ = np.abs(evaluation["x"] - features) > 1e-6
    assert differ.mean() < 1e-3
