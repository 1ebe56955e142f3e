"""What a candidate's file is measured to be, and the files that are no candidates."""

import os
import signal
import zlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from isthmus.compile.build import footprint
from isthmus.compile.build.contents import read_contents
from isthmus.compile.build.evaluation import Evaluation
from isthmus.compile.build.footprint import peak_memory_bytes
from isthmus.compile.build.prove import prove
from isthmus.compile.build.workplace import Proof
from isthmus.errors import SourceError
from isthmus.release.manifest import TensorSpec

Build = Callable[..., bytes]
X = np.linspace(0.5, 2, 80, dtype=np.float32).reshape(20, 4)
INPUTS, OUTPUTS = [TensorSpec("x", "float32", (1, 4))], [TensorSpec("y", "float32", (1, 4))]
LABELS = np.arange(20) % 4
ONES, CODES = np.ones((1, 4), np.float32), np.ones((1, 4), np.int8)


def _prove(file: bytes, folder: Path, answers: Any, storage: str = "float32", *, x: Any = X, labels: Any = LABELS) -> Proof:
    path = folder / "model.tflite"
    path.write_bytes(file)
    evaluation = Evaluation({"x": x}, labels, "y")
    return prove(
        path, storage, inputs=INPUTS, outputs=OUTPUTS, evaluation=evaluation, answers={"y": answers}, where="m", progress=lambda _: None
    )


def test_figures_are_those_of_the_file(build_tflite: Build, tmp_path: Path) -> None:
    file = build_tflite("ADD", ONES)
    expected = X + 1
    expected[3, 2] += 0.25
    expected[15, 0] += 0.5
    found = _prove(file, tmp_path, expected)
    candidate = found.candidate
    assert candidate.size_bytes == len(file)
    assert candidate.shipped_bytes == len(zlib.compress(file, 9))
    assert candidate.operators == ("ADD",)
    assert candidate.max_difference == pytest.approx(0.5)
    assert candidate.mean_difference == pytest.approx(0.75 / 80)
    assert found.golden_difference == pytest.approx(0.5)  # of example 15, of which the source is surest
    assert _prove(file, tmp_path, expected, labels=None).golden_difference == pytest.approx(0.25)  # the first eight
    assert candidate.accuracy == 0.25  # each row's last is the largest
    assert [sum(row) for row in candidate.confusion] == [5] * 4
    assert [row[3] for row in candidate.confusion] == [5] * 4
    assert candidate.problem == ""
    assert [path.name for path in tmp_path.iterdir()] == ["model.tflite"]


def test_without_evaluation_data_there_are_differences_alone(build_tflite: Build, tmp_path: Path) -> None:
    candidate = _prove(build_tflite("ADD", ONES), tmp_path, X + 1, labels=None).candidate
    assert (candidate.accuracy, candidate.confusion, candidate.max_difference) == (None, (), 0.0)


def test_a_variant_that_answers_no_numbers_is_an_error(build_tflite: Build, tmp_path: Path) -> None:
    x = X.copy()
    x[4] = -1
    x[5, 1] = 0
    with pytest.raises(SourceError, match=r"output 'y' is NaN or infinite on 2 of 20 examples where the source's is not; expected numbers"):
        _prove(build_tflite("LOG"), tmp_path, np.ones((20, 4), np.float32), x=x)


def test_what_is_no_number_in_the_source_may_be_none_in_a_variant(build_tflite: Build, tmp_path: Path) -> None:
    x = X.copy()
    x[4] = 0
    with np.errstate(divide="ignore"):
        assert _prove(build_tflite("LOG"), tmp_path, np.log(x), x=x).candidate.max_difference < 1e-6


@pytest.mark.parametrize(
    ("file", "storage", "said"),
    [
        (
            ("ADD", ONES),
            "int8",
            r"recipe int8 did not take on this model: 100% of its weights are still in 32 bits \(the largest: weights\)",
        ),
        (("LOG",), "int4", r"recipe int4 did not take on this model: it has no weights; expected INT4 or INT8 weights"),
        (("LOG",), "float16", r"expected FLOAT16 weights"),
    ],
)
def test_a_variant_that_came_back_unquantised_is_an_error(build_tflite: Build, tmp_path: Path, file: Any, storage: str, said: str) -> None:
    with pytest.raises(SourceError, match=said):
        _prove(build_tflite(*file), tmp_path, X, storage)


def test_an_operator_that_devices_do_not_have_is_named(build_tflite: Build, tmp_path: Path) -> None:
    file = build_tflite("CUSTOM", custom="Sparkle")
    assert read_contents(file).operators == ("Sparkle",)
    with pytest.raises(SourceError, match=r"devices have no kernels for Sparkle"):
        _prove(file, tmp_path, X)


def test_an_answer_of_another_shape_is_an_error(build_tflite: Build, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"output 'y' has shape \[4\] an example, the source's has \[5\]"):
        _prove(build_tflite("LOG"), tmp_path, np.zeros((20, 5), np.float32), labels=None)


@pytest.mark.parametrize(("output", "side"), [("other", "outputs y")])
def test_an_output_that_was_lost_is_named(build_tflite: Build, tmp_path: Path, output: str, side: str) -> None:
    with pytest.raises(SourceError, match=f"the converted model lost its {side}"):
        _prove(build_tflite("LOG", output=output), tmp_path, X)


def test_a_file_of_which_the_interpreter_dies_is_an_error_and_this_process_lives(
    build_tflite: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "python"
    program.write_text("#!/bin/sh\nkill -ABRT $$\n")
    program.chmod(0o755)
    monkeypatch.setattr("sys.executable", str(program))
    with pytest.raises(SourceError, match=rf"the edge interpreter dies of the model \(signal {int(signal.SIGABRT)}\)"):
        _prove(build_tflite("LOG"), tmp_path, X)


def test_a_file_that_never_answers_is_an_error(build_tflite: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "python"
    program.write_text("#!/bin/sh\nexec sleep 300\n")
    program.chmod(0o755)
    monkeypatch.setattr("sys.executable", str(program))
    monkeypatch.setattr(footprint, "TIMEOUT_SECONDS", 0.2)
    with pytest.raises(SourceError, match=r"did not answer 8 examples within 0.2 s"):
        _prove(build_tflite("LOG"), tmp_path, X)


@pytest.mark.parametrize("damage", range(6))
def test_a_damaged_file_never_ends_this_process(build_tflite: Build, tmp_path: Path, damage: int) -> None:
    generator = np.random.default_rng(damage)
    file = bytearray(build_tflite("ADD", ONES))
    for place in generator.integers(8, len(file), 12):
        file[place] = generator.integers(256)
    path = tmp_path / "model.tflite"
    path.write_bytes(file)
    with suppress(SourceError):  # and nothing else
        peak_memory_bytes(path, {"x": X}, "m")
    assert [found.name for found in tmp_path.iterdir()] == ["model.tflite"]


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the system does not tell a process's memory")
def test_the_memory_of_a_large_file_is_seen_and_not_that_of_this_process(build_tflite: Build, tmp_path: Path) -> None:
    ballast = np.ones(40_000_000)  # 320 MB here
    path = tmp_path / "model.tflite"
    path.write_bytes(build_tflite("ADD", ONES))
    small = peak_memory_bytes(path, {"x": X}, "m")
    padded = bytearray(path.read_bytes()) + os.urandom(30_000_000)  # what is behind the flatbuffer's end is loaded with it
    path.write_bytes(padded)
    large = peak_memory_bytes(path, {"x": X}, "m")
    assert 25_000_000 < large - small < 70_000_000
    assert small < 50_000_000 < ballast.nbytes


def test_contents_count_constants_by_type(build_tflite: Build) -> None:
    contents = read_contents(build_tflite("ADD", CODES))
    assert contents.weights == {"INT8": 4}
    assert contents.share("INT8") == 1
    assert contents.share("FLOAT32") == 0
