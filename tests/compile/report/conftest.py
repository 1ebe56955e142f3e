"""A release with eight variants as a compile of digits measures them."""

import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from isthmus.release.manifest import EDGE, SERVING, Candidate, FileEntry, Layer, Manifest, Record, Release, TensorSpec, Timing, Variant

PROJECT = Path(__file__).parents[3]
DEADLINE_SECONDS = 60
_LAYERS = (("conv2d", (32, 3, 3, 1)), ("conv2d_1", (64, 3, 3, 32)), ("dense", (64, 1024)), ("dense_1", (10, 64)))
_OPERATORS = ("CONV_2D", "FULLY_CONNECTED", "MAX_POOL_2D", "RESHAPE", "SOFTMAX")
# recipe, bytes, shipped, right of 450, largest difference, p50, p95, memory, bits, error against min-max
_MEASURED = (
    ("float32", 330_344, 305_118, 446, 2e-7, 0.0412, 0.0498, 1_310_720, 32, 0.0),
    ("float16", 169_204, 151_977, 446, 4e-4, 0.0418, 0.0517, 1_638_400, 16, 0.0),
    ("int8", 86_912, 73_390, 446, 0.0089, 0.0301, 0.0355, 1_015_808, 8, 0.93),
    ("int8-static", 87_440, 73_802, 445, 0.0214, 0.0227, 0.0262, 983_040, 8, 0.93),
    ("int8-weights", 86_920, 73_391, 446, 0.0088, 0.0420, 0.0511, 1_343_488, 8, 0.93),
    ("int4", 45_688, 37_801, 444, 0.1130, 0.0312, 0.0377, 978_944, 4, 0.66),
    ("prune:80%+int8", 86_912, 17_690, 443, 0.1870, 0.0303, 0.0349, 1_011_712, 8, 0.91),
)


def _confusion(right: int, seed: int) -> tuple[tuple[int, ...], ...]:
    counts = [[45 * (row == column) for column in range(10)] for row in range(10)]
    rng = random.Random(seed)  # noqa: S311 - not a secret
    for _ in range(450 - right):
        row, column = rng.sample(range(10), 2)
        counts[row][row] -= 1
        counts[row][column] += 1
    return tuple(tuple(row) for row in counts)


def _candidate(figures: tuple[Any, ...]) -> Candidate:
    recipe, size, shipped, right, most, p50, p95, memory, bits, error = figures
    layers = tuple(Layer(name, shape, bits, 0.08 * i * error, 0.08 * i) for i, (name, shape) in enumerate(_LAYERS, 1)) if error else ()
    return Candidate(
        recipe,
        size,
        shipped,
        right / 450,
        most,
        most / 9,
        p50,
        p95,
        memory,
        _OPERATORS,
        layers,
        _confusion(right, size),
        31.5 * ("prune" in recipe),
    )


@pytest.fixture(scope="session")
def release() -> Release:
    """Recipe auto, prune:80%+int8 chosen, one variant out. Its files are not there."""
    candidates = (
        *(_candidate(figures) for figures in _MEASURED),
        Candidate("distil:50%+int8", problem="training took longer than 900 s (training_deadline_seconds)"),
    )
    chosen = candidates[6]
    edge = Variant(
        EDGE, chosen.recipe, (FileEntry("edge/model.tflite", chosen.size_bytes, "0" * 64),), chosen.accuracy, chosen.max_difference
    )
    serving = Variant(SERVING, "float32", (FileEntry("serving/1/saved_model.pb", 402_118, "1" * 64),), 446 / 450, 2e-7)
    manifest = Manifest(
        model="digits",
        version=1,
        recipe="auto:smallest",
        signature="serving_default",
        inputs=(TensorSpec("image", "float32", (-1, 8, 8, 1)),),
        outputs=(TensorSpec("probabilities", "float32", (-1, 10)),),
        variants=(serving, edge),
        golden=FileEntry("golden.json", 4_211, "2" * 64),
        golden_tolerance=0.8,
        source_accuracy=446 / 450,
        evaluation_examples=450,
        tools=(("tensorflow", "2.21.0"), ("keras", "3.15.1"), ("litert_quantizer", "0.11.0")),
    )
    record = Record(
        machine_class="x86_64 2 cores",
        measured_at="2026-11-23T21:40:00+00:00",
        serving=Timing(1.4, 1.3, 1.9, 200),
        edge=Timing(0.031, 0.0303, 0.0349, 200),
        candidates=candidates,
        reason=f"{chosen.recipe}: 17.2× smaller than float32 (17.7 kB as shipped), accuracy 98.44 % ≥ 98.11 %, a point below the source",
        source_confusion=_confusion(446, 330_344),
    )
    return Release(Path("release"), manifest, record)


@pytest.fixture
def renamed(release: Release) -> Callable[[str], Release]:
    """The release with a text in the place of everything that a user or a file may name."""

    def rename(text: str) -> Release:
        candidates = tuple(
            replace(
                it,
                recipe=f"{it.recipe}{text}",
                problem=it.problem and text,
                operators=(text,),
                layers=tuple(replace(layer, name=text) for layer in it.layers),
            )
            for it in release.record.candidates
        )
        variants = tuple(replace(it, recipe=f"{it.recipe}{text}") for it in release.manifest.variants)
        spec = (TensorSpec(text, text, None),)
        manifest = replace(release.manifest, model=text, recipe=text, variants=variants, inputs=spec, outputs=spec, tools=((text, text),))
        return Release(
            release.directory, manifest, replace(release.record, candidates=candidates, reason=text, metric=text, machine_class=text)
        )

    return rename
