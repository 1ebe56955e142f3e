"""The digits model: a small convolutional network for scikit-learn's 8×8 handwritten digits.

`data()` and `build()` are deterministic; `train()` is too, on one machine class, because the seed and TensorFlow's
operations are fixed.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

SEED = 20
HELD_OUT_SHARE = 0.25
EPOCHS = 40
BATCH_EXAMPLES = 64
LEARNING_RATE = 2e-3


class Data(NamedTuple):
    """Images are float32 [N, 8, 8, 1] in [0, 1]; labels are int64 [N] in 0…9."""

    train_images: NDArray[np.float32]
    train_labels: NDArray[np.int64]
    held_out_images: NDArray[np.float32]
    held_out_labels: NDArray[np.int64]


def data() -> Data:
    """scikit-learn's digits, split once and for all: 75 % to train on, 25 % held out, the classes in equal shares."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    pixels, labels = load_digits(return_X_y=True)
    images = (pixels.reshape(-1, 8, 8, 1) / 16.0).astype(np.float32)
    x_train, x_held_out, y_train, y_held_out = train_test_split(
        images, labels.astype(np.int64), test_size=HELD_OUT_SHARE, stratify=labels, random_state=SEED
    )
    return Data(x_train, y_train, x_held_out, y_held_out)


def build() -> Any:
    """An untrained Keras model: input `image` [N, 8, 8, 1], output `probabilities` [N, 10] (softmax)."""
    import keras
    from keras import layers

    image = keras.Input((8, 8, 1), name="image")
    x = layers.Conv2D(32, 3, padding="same", activation="relu")(image)
    x = layers.Conv2D(64, 3, padding="same", activation="relu")(x)
    x = layers.MaxPooling2D()(x)
    x = layers.Dropout(0.25)(x)
    x = layers.Conv2D(64, 3, padding="same", activation="relu")(x)
    x = layers.MaxPooling2D()(x)
    x = layers.Flatten()(x)
    x = layers.Dense(96, activation="relu")(x)
    x = layers.Dropout(0.4)(x)
    return keras.Model(image, layers.Dense(10, activation="softmax", name="probabilities")(x), name="digits")


def fit(model: Any, epochs: int, callbacks: Sequence[Any] = (), examples: Data | None = None) -> None:
    """Compiles and trains any Keras model with this input and output, on the training part alone."""
    import keras
    import tensorflow as tf

    keras.utils.set_random_seed(SEED)
    tf.config.experimental.enable_op_determinism()
    examples = examples or data()
    steps = epochs * -(-len(examples.train_images) // BATCH_EXAMPLES)
    schedule = keras.optimizers.schedules.CosineDecay(LEARNING_RATE, steps)
    model.compile(keras.optimizers.Adam(schedule), "sparse_categorical_crossentropy", metrics=["accuracy"])
    shift = keras.layers.RandomTranslation(0.1, 0.1, fill_mode="constant", seed=SEED)
    batches = (
        tf.data.Dataset.from_tensor_slices((examples.train_images, examples.train_labels))
        .shuffle(len(examples.train_images), seed=SEED)
        .batch(BATCH_EXAMPLES)
        .map(lambda images, labels: (shift(images, training=True), labels))
    )
    model.fit(batches, epochs=epochs, callbacks=list(callbacks), verbose=0, shuffle=False)  # the batches are shuffled already


def train(examples: Data | None = None) -> Any:
    """A trained Keras model. The held-out part is never looked at: neither to stop early nor to choose weights."""
    import keras

    keras.utils.set_random_seed(SEED)
    model = build()
    fit(model, EPOCHS, examples=examples)
    return model
