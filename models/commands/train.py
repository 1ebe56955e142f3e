"""Trains the commands model and writes what the repository carries: `make train`.

Writes beside this file: model.keras, evaluation.npz (the held-out part) and samples/.
"""

import json
import os
import time
from pathlib import Path

import numpy as np

FOLDER = Path(__file__).resolve().parent


def main() -> None:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")  # other kernels, other rounding
    os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
    import keras
    from model import CLASSES, data, train

    start = time.monotonic()
    examples = data()
    trained = train()
    predicted = trained.predict(examples.held_out_features, verbose=0).argmax(axis=1)
    right = predicted == examples.held_out_labels
    print(f"held-out accuracy {right.mean():.4f} ({right.sum()} of {len(right)}), {trained.count_params()} parameters")
    for index, name in enumerate(CLASSES):
        print(f"  {name:8s} {right[examples.held_out_labels == index].mean():.3f}")

    # Rebuilt without the optimizer: its state would make the file three times as large, and nobody trains on from here.
    bare = keras.Model.from_config(trained.get_config())
    bare.set_weights(trained.get_weights())
    bare.save(FOLDER / "model.keras")
    np.savez_compressed(FOLDER / "evaluation.npz", x=examples.held_out_features, y=examples.held_out_labels)

    samples = FOLDER / "samples"
    samples.mkdir(exist_ok=True)
    for old in samples.iterdir():
        old.unlink()
    chosen = [int(np.flatnonzero(right & (examples.held_out_labels == CLASSES.index(word)))[0]) for word in ("stop", "left")]
    array, body = (examples.held_out_features[index] for index in chosen)
    np.save(samples / "stop.npy", array[np.newaxis])
    (samples / "left.json").write_text(json.dumps({"instances": [body.tolist()]}) + "\n")
    print(f"wrote {FOLDER.name}/model.keras ({(FOLDER / 'model.keras').stat().st_size} bytes) after {time.monotonic() - start:.0f} s")


if __name__ == "__main__":
    main()
