"""Trains the lectures model and writes what the repository carries: `make train`.

Writes beside this file: model.keras, evaluation.npz (the held-out part) and samples/.
"""

import json
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

FOLDER = Path(__file__).resolve().parent
TOP = (1, 5, 20)


def main() -> None:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")  # other kernels, other rounding
    os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
    import keras
    from baselines import BASELINES
    from model import LECTURERS, data, train

    start = time.monotonic()
    examples = data()
    trained = train()
    scores = {name: score(examples, LECTURERS) for name, score in BASELINES.items()}
    scores["the model"] = trained.predict(examples.held_out_inputs, verbose=0)
    print(f"{len(examples.held_out_labels)} lectures of {len(set(examples.held_out_students.tolist()))} held-out students")
    print(f"{'among the first':>28s} " + " ".join(f"{top:6d}" for top in TOP))
    ranks = {name: _ranks(values, examples.held_out_labels) for name, values in scores.items()}
    for name, rank in ranks.items():
        print(f"{name:>28s} " + " ".join(f"{(rank < top).mean():.4f}" for top in TOP))
    low, high = _interval(ranks["the model"] < 5, examples.held_out_students)
    print(f"among the first 5: 95 % interval {low:.3f} to {high:.3f}; {trained.count_params()} parameters")

    # Rebuilt without the optimizer: its state would make the file three times as large, and nobody trains on from here.
    bare = keras.Model.from_config(trained.get_config())
    bare.set_weights(trained.get_weights())
    bare.save(FOLDER / "model.keras")
    np.savez_compressed(FOLDER / "evaluation.npz", **examples.held_out_inputs, y=examples.held_out_labels, metric="top_5")

    samples = FOLDER / "samples"
    samples.mkdir(exist_ok=True)
    for old in samples.iterdir():
        old.unlink()
    for index in np.flatnonzero(ranks["the model"] == 0)[:2]:
        inputs = {name: values[index].tolist() for name, values in examples.held_out_inputs.items()}
        file = samples / f"lecturer-{examples.held_out_labels[index] + 1}.json"
        file.write_text(json.dumps({"instances": [inputs]}) + "\n")
    print(f"wrote {FOLDER.name}/model.keras ({(FOLDER / 'model.keras').stat().st_size} bytes) after {time.monotonic() - start:.0f} s")


def _ranks(scores: NDArray[Any], labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """How many stand before the right one; among equals the smaller number comes first."""
    return np.argmax(np.argsort(-scores, axis=1, kind="stable") == labels[:, np.newaxis], axis=1)


def _interval(right: NDArray[np.bool_], students: NDArray[np.int64]) -> tuple[float, float]:
    """The 95 % bootstrap interval of the share; students are drawn, because the answers for one hang together."""
    generator = np.random.default_rng(0)
    _, who = np.unique(students, return_inverse=True)
    hits, asked = np.bincount(who, right), np.bincount(who)
    drawn = generator.integers(len(asked), size=(2000, len(asked)))
    low, high = np.percentile(hits[drawn].sum(axis=1) / asked[drawn].sum(axis=1), (2.5, 97.5))
    return float(low), float(high)


if __name__ == "__main__":
    main()
