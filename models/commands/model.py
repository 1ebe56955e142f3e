"""The commands model: a small depthwise-separable convolutional network that hears one of eight words in a second of sound.

The words are spoken by eSpeak NG in many voices and mixed with noise. `data()` and `build()` are deterministic; `train()` is
too, on one machine class. Only training needs the engine (package espeakng-loader).
"""

import json
import subprocess
import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

SEED = 20
EPOCHS = 20
BATCH_EXAMPLES = 64
LEARNING_RATE = 4e-3
FILTERS = 64
TIME_SHIFT, BAND_SHIFT = 0.1, 0.08

WORDS = ("yes", "no", "up", "down", "left", "right", "stop", "go")
CLASSES = (*WORDS, "unknown", "silence")
UNKNOWN, SILENCE = CLASSES.index("unknown"), CLASSES.index("silence")

ACCENTS = ("en", "en-US", "en-US-nyc", "en-GB-scotland", "en-GB-x-rp", "en-GB-x-gbclan", "en-GB-x-gbcwmd", "en-029")


def _names(listed: str) -> tuple[str, ...]:
    return tuple(listed.split())


# Voices that are settings of one and the same (steph, steph2) are in the same part.
HELD_OUT_VOICES = _names("f2 f5 m3 m7 steph steph2 steph3 Andrea Hugo Jacky Mike mike2 adam belinda caleb john pablo quincy victor grandma")
TRAIN_VOICES = _names(
    "f1 f3 f4 m1 m2 m4 m5 m6 m8 Alex Alicia Andy Annie Denis Diogo Gene Gene2 Henrique Lee Marco Mario Michael Nguyen Reed "
    "RicishayMax RicishayMax2 RicishayMax3 Storm Tweaky anika announcer antonio aunty benjamin boris david ed edward edward2 "
    "grandpa gustave ian iven iven2 iven3 iven4 kaukovalta klatt klatt2 klatt3 klatt4 klatt5 klatt6 linda marcelo max michel "
    "miguel norbert paul pedro rob robert robosoft robosoft2 robosoft3 robosoft4 robosoft5 robosoft6 robosoft7 robosoft8 sandro "
    "shelby travis whisper whisperf zac"
)
# The class "unknown": its words differ too, so that it means more than a list of known others.
HELD_OUT_OTHERS = ("bed", "seven", "happy", "wow", "forward", "learn", "tree", "follow", "marvin", "yellow", "never", "state")
TRAIN_OTHERS = _names(
    "bird cat dog eight five four house nine one six three two visual sheila zero backward table water music open close light "
    "window under over green purple hello morning paper stone letter rough loud night step yard snow done lift white drop "
    "low"
)

SAMPLES_PER_SECOND = 16000
CLIP_SAMPLES = SAMPLES_PER_SECOND
FRAME_SAMPLES, HOP_SAMPLES = 512, 400
FRAMES = (CLIP_SAMPLES - FRAME_SAMPLES) // HOP_SAMPLES + 1
BANDS = 20
LOWEST_HZ, HIGHEST_HZ = 80.0, 7600.0
STEPS_PER_UNIT = 8
"""Features are rounded to eighths (half a decibel): far less than the noise, and it makes the evaluation data small."""
LOUDEST_NOISE_DB, QUIETEST_NOISE_DB = 0.0, 30.0

Floats = NDArray[np.float32]


class Data(NamedTuple):
    """Features are float32 [N, 39, 20, 1] (`features` says of what); labels are int64 [N], indices of CLASSES."""

    train_features: Floats
    train_labels: NDArray[np.int64]
    held_out_features: Floats
    held_out_labels: NDArray[np.int64]


class Utterance(NamedTuple):
    """What eSpeak NG is asked for. pitch: 0 to 100."""

    text: str
    voice: str
    words_per_minute: int
    pitch: int


def features(waveform: NDArray[np.floating[Any]]) -> Floats:
    """A second of sound → what the model hears.

    Args:
        waveform: [16000] at 16,000 samples a second, between −1 and 1.

    Returns:
        [39, 20, 1]: the natural logarithm of the energy in 20 mel bands, every 25 ms, less the clip's mean.
    """
    frames = np.lib.stride_tricks.sliding_window_view(waveform, FRAME_SAMPLES)[::HOP_SAMPLES]
    power = np.abs(np.fft.rfft(frames * np.hanning(FRAME_SAMPLES), axis=1)) ** 2
    bands = np.log(power @ _mel_filters() + 1e-3)
    return (np.round((bands - bands.mean()) * STEPS_PER_UNIT) / STEPS_PER_UNIT).astype(np.float32)[:, :, np.newaxis]


@cache
def _mel_filters() -> NDArray[np.float64]:
    """Triangles [frequencies, bands], equally wide on the mel scale."""
    edges_mel = np.linspace(*(2595 * np.log10(1 + hz / 700) for hz in (LOWEST_HZ, HIGHEST_HZ)), BANDS + 2)
    edges_hz = 700 * (10 ** (edges_mel / 2595) - 1)
    hz = np.fft.rfftfreq(FRAME_SAMPLES, 1 / SAMPLES_PER_SECOND)[:, np.newaxis]
    rising = (hz - edges_hz[:-2]) / (edges_hz[1:-1] - edges_hz[:-2])
    falling = (edges_hz[2:] - hz) / (edges_hz[2:] - edges_hz[1:-1])
    return np.clip(np.minimum(rising, falling), 0, None)


@cache
def data() -> Data:
    """The training part and the held-out part: other voices, and for the class "unknown" other words.

    Raises:
        RuntimeError: the engine is not installed, or failed.
    """
    generator, _ = np.random.default_rng(SEED).spawn(2)
    return Data(*_part(generator, TRAIN_VOICES, TRAIN_OTHERS, each_word=6, other_words=16, silences=5), *held_out_part())


def held_out_part() -> tuple[Floats, NDArray[np.int64]]:
    """Features and labels of the held-out part alone, as `data` has them. Raises RuntimeError, as `data` does."""
    _, generator = np.random.default_rng(SEED).spawn(2)
    return _part(generator, HELD_OUT_VOICES, HELD_OUT_OTHERS, each_word=3, other_words=4, silences=1)


def _part(
    generator: np.random.Generator, voices: Sequence[str], others: Sequence[str], *, each_word: int, other_words: int, silences: int
) -> tuple[Floats, NDArray[np.int64]]:
    """Each voice says each word each_word times and other_words others; silences clips a voice have noise alone."""
    asked: list[Utterance] = []
    labels: list[int] = []
    for voice in voices:
        texts = [*WORDS * each_word, *generator.choice(others, other_words, replace=False).tolist()]
        for text in texts:
            accent = ACCENTS[generator.integers(len(ACCENTS))]
            words_per_minute, pitch = (int(generator.integers(low, high)) for low, high in ((110, 211), (25, 76)))
            asked.append(Utterance(text, f"gmw/{accent}+{voice}", words_per_minute, pitch))
            labels.append(CLASSES.index(text) if text in WORDS else UNKNOWN)
    clips = [_clip(waveform, generator) for waveform in _speak(asked)]
    silent = [_noise(generator) for _ in range(silences * len(voices))]
    everything = np.stack([features(clip) for clip in (*clips, *silent)])
    return everything, np.array([*labels, *[SILENCE] * len(silent)], np.int64)


def _speak(utterances: Sequence[Utterance]) -> list[NDArray[np.float64]]:
    """The waveforms [samples] at SAMPLES_PER_SECOND, each as loud as the others (root mean square 1).

    Raises:
        RuntimeError: the engine failed, with what it said.
    """
    from scipy.signal import firwin, resample_poly

    with TemporaryDirectory(prefix="isthmus-speech-") as folder:
        wanted, written = Path(folder, "wanted.json"), Path(folder, "spoken.npz")
        wanted.write_text(json.dumps(utterances), encoding="utf-8")
        program = Path(__file__).with_name("speech.py")
        done = subprocess.run([sys.executable, program, wanted, written], capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"eSpeak NG could not speak (pip install espeakng-loader): {done.stderr.strip()[-500:]}")
        with np.load(written) as spoken:
            waveforms = np.split(spoken["samples"], np.cumsum(spoken["lengths"])[:-1])
            rate = int(spoken["samples_per_second"])
    common = int(np.gcd(rate, SAMPLES_PER_SECOND))
    up, down = SAMPLES_PER_SECOND // common, rate // common
    low_pass = firwin(20 * max(up, down) + 1, 1 / max(up, down), window=("kaiser", 5.0))  # scipy's own, but made once
    resampled = [resample_poly(np.trim_zeros(waveform) / 2**15, up, down, window=low_pass) for waveform in waveforms]
    return [waveform / np.sqrt(np.mean(waveform**2)) for waveform in resampled]


def _clip(waveform: NDArray[np.float64], generator: np.random.Generator) -> NDArray[np.float64]:
    """A second with the word somewhere in it, and noise; what is too long loses both ends."""
    surplus = max(len(waveform) - CLIP_SAMPLES, 0) // 2
    word = waveform[surplus : surplus + CLIP_SAMPLES]
    clip = np.zeros(CLIP_SAMPLES)
    start = int(generator.integers(CLIP_SAMPLES - len(word) + 1))
    clip[start : start + len(word)] = word
    return clip + _noise(generator)


def _noise(generator: np.random.Generator) -> NDArray[np.float64]:
    """A second of noise between white and brown (power falls with up to the square of the frequency), by chance softer than a
    word by LOUDEST_NOISE_DB to QUIETEST_NOISE_DB."""
    spectrum = np.fft.rfft(generator.standard_normal(CLIP_SAMPLES))
    spectrum[1:] *= np.arange(1, len(spectrum)) ** -generator.uniform(0, 1)
    noise = np.fft.irfft(spectrum, CLIP_SAMPLES)
    loudness = 10 ** (-generator.uniform(LOUDEST_NOISE_DB, QUIETEST_NOISE_DB) / 20)
    return np.asarray(loudness * noise / np.sqrt(np.mean(noise**2)))


def build() -> Any:
    """An untrained Keras model: input `features` [N, 39, 20, 1], output `probabilities` [N, 10] (softmax)."""
    import keras
    from keras import layers

    sound = keras.Input((FRAMES, BANDS, 1), name="features")
    x = layers.Conv2D(FILTERS, (5, 3), strides=2, padding="same", use_bias=False)(sound)
    x = layers.ReLU()(layers.BatchNormalization()(x))
    for stride in (1, 2, 1):
        x = layers.DepthwiseConv2D(3, strides=stride, padding="same", use_bias=False)(x)
        x = layers.ReLU()(layers.BatchNormalization()(x))
        x = layers.Conv2D(FILTERS, 1, use_bias=False)(x)
        x = layers.ReLU()(layers.BatchNormalization()(x))
    x = layers.GlobalAveragePooling2D()(x)
    x = layers.Dropout(0.2)(x)
    return keras.Model(sound, layers.Dense(len(CLASSES), activation="softmax", name="probabilities")(x), name="commands")


def fit(model: Any, epochs: int, callbacks: Sequence[Any] = ()) -> None:
    """Compiles and trains any Keras model with this input and this output, on the training part alone."""
    import keras
    import tensorflow as tf

    keras.utils.set_random_seed(SEED)
    tf.config.experimental.enable_op_determinism()
    examples = data()
    steps = epochs * -(-len(examples.train_labels) // BATCH_EXAMPLES)
    schedule = keras.optimizers.schedules.CosineDecay(LEARNING_RATE, max(steps, 1))
    model.compile(keras.optimizers.Adam(schedule), "sparse_categorical_crossentropy", metrics=["accuracy"])
    # Earlier or later, and a little higher or lower, as if a longer or shorter throat had spoken.
    shift = keras.layers.RandomTranslation(TIME_SHIFT, BAND_SHIFT, fill_mode="nearest", seed=SEED)
    batches = (
        tf.data.Dataset.from_tensor_slices((examples.train_features, examples.train_labels))
        .shuffle(len(examples.train_labels), seed=SEED)
        .batch(BATCH_EXAMPLES)
        .map(lambda sounds, labels: (shift(sounds, training=True), labels))
    )
    model.fit(batches, epochs=epochs, callbacks=list(callbacks), verbose=0, shuffle=False)  # the batches are shuffled already


def train() -> Any:
    """A trained Keras model. The held-out part is never looked at: neither to stop early nor to choose weights."""
    import keras

    keras.utils.set_random_seed(SEED)
    model = build()
    fit(model, EPOCHS)
    return model
