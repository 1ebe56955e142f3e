"""The runners of the variants: what they answer, and what they say where they cannot."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from isthmus.compile.build.running import EdgeRunner
from isthmus.errors import SourceError
from isthmus.release.manifest import TensorSpec

INPUTS, OUTPUTS = [TensorSpec("x", "float32", (1, 4))], [TensorSpec("y", "float32", (1, 4))]


def test_an_edge_file_answers_by_name(build_tflite: Callable[..., bytes], tmp_path: Path) -> None:
    file = tmp_path / "model.tflite"
    file.write_bytes(build_tflite("ADD", np.ones((1, 4), np.float32)))
    runner = EdgeRunner(file, INPUTS, OUTPUTS, "m")
    assert (runner.run({"x": np.full((1, 4), 2, np.float32)})["y"] == 3).all()


@pytest.mark.parametrize(
    ("inputs", "outputs", "said"),
    [
        ([*INPUTS, TensorSpec("other", "float32", (1, 4))], OUTPUTS, "lost its inputs other"),
        (INPUTS, [TensorSpec("label", "float32", (1, 4))], "lost its outputs label"),
    ],
)
def test_what_the_conversion_lost_is_named(
    build_tflite: Callable[..., bytes], tmp_path: Path, inputs: Any, outputs: Any, said: str
) -> None:
    file = tmp_path / "model.tflite"
    file.write_bytes(build_tflite("LOG"))
    with pytest.raises(SourceError, match=said):
        EdgeRunner(file, inputs, outputs, "m")


def test_a_file_that_is_none_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "model.tflite"
    file.write_bytes(b"TFL3 but not one")
    with pytest.raises(SourceError, match="the edge interpreter cannot run the model"):
        EdgeRunner(file, INPUTS, OUTPUTS, "m")


def test_an_interpreter_that_fails_when_it_is_asked_is_an_error_with_the_way_out(
    build_tflite: Callable[..., bytes], tmp_path: Path
) -> None:
    file = tmp_path / "model.tflite"
    file.write_bytes(build_tflite("ADD", np.ones((1, 4), np.float32)))
    runner = EdgeRunner(file, INPUTS, OUTPUTS, "m", "use another recipe")
    with pytest.raises(SourceError, match=r"m: the edge interpreter cannot run the model: .*\. Fix: use another recipe"):
        runner.run({"x": np.ones((1, 5), np.float32)})
