"""A release's edge variant is run in a process of its own, and what does not fit it is said at once."""

from pathlib import Path

import numpy as np
import pytest
from tests.isthmus_agent import tiny_model

from isthmus.compile import answering
from isthmus.errors import InputError, SourceError
from isthmus.release.manifest import EDGE, SERVING, FileEntry, Manifest, Record, Release, TensorSpec, Timing, Variant

INPUT = TensorSpec(tiny_model.INPUT, "float32", (-1, tiny_model.FEATURES))
OUTPUT = TensorSpec(tiny_model.OUTPUT, "float32", (-1, tiny_model.CLASSES))


def release(directory: Path, kind: str = EDGE, inputs=(INPUT,), content: bytes = b"") -> Release:
    (directory / "edge").mkdir(exist_ok=True)
    (directory / "edge" / "model.tflite").write_bytes(content or tiny_model.tflite())
    variants = (Variant(kind, "float32", (FileEntry("edge/model.tflite", 1, "0" * 64),), None, 0.0),)
    golden = FileEntry("golden.json", 2, "2" * 64)
    manifest = Manifest("tiny", 1, "float32", tiny_model.SIGNATURE, inputs, (OUTPUT,), variants, golden, 0.1, None, 0, ())
    timing = Timing(1.0, 1.0, 1.0, 10)
    return Release(directory, manifest, Record("x86_64", "2026-11-30T00:00:00+00:00", timing, timing, (), ""))


def test_each_view_is_answered_as_the_model_answers(tmp_path):
    views = {name: np.random.default_rng(seed).normal(size=(5, 4)) for seed, name in enumerate(("door", "file"))}
    found = answering.edge_answers(release(tmp_path), views, "MODEL", "--views")
    assert found["door"] == pytest.approx(tiny_model.answer(views["door"]), abs=1e-5)
    assert found["file"] == pytest.approx(tiny_model.answer(views["file"]), abs=1e-5)


def test_a_file_that_the_interpreter_refuses_is_one_message(tmp_path):
    with pytest.raises(SourceError, match="the edge interpreter"):
        answering.edge_answers(release(tmp_path, content=b"no model"), {"a": np.zeros((2, 4))}, "MODEL", "--views")


def test_a_file_that_ends_the_process_is_one_message(tmp_path, monkeypatch):
    monkeypatch.setattr(answering, "_MODULE", "isthmus.nowhere")
    with pytest.raises(SourceError, match="dies of the model"):
        answering.edge_answers(release(tmp_path), {"a": np.zeros((2, 4))}, "MODEL", "--views")


def test_an_interpreter_that_does_not_end_is_one_message(tmp_path, monkeypatch):
    monkeypatch.setattr(answering, "TIMEOUT_SECONDS", 0.001)
    with pytest.raises(SourceError, match="did not end within"):
        answering.edge_answers(release(tmp_path), {"a": np.zeros((2, 4))}, "MODEL", "--views")


def test_all_views_that_do_not_fit_the_input_are_named(tmp_path):
    spoilt = np.zeros((2, 4))
    spoilt[1, 2] = np.nan
    views = {"a": np.zeros((2, 5)), "b": np.zeros((2, 4)), "c": np.array([["x"] * 4]), "d": spoilt, "e": np.zeros(4)}
    with pytest.raises(InputError) as error:
        answering.edge_answers(release(tmp_path), views, "MODEL", "--views")
    assert [problem.path for problem in error.value.problems] == ["--views.a", "--views.c", "--views.d", "--views.e"]
    assert "found float64 [2, 5]; expected float32 [examples, 4], the input `x`" in str(error.value)


def test_a_release_without_a_variant_for_devices_and_a_model_of_two_inputs_is_refused(tmp_path):
    other = TensorSpec("other", "float32", (-1, 2))
    with pytest.raises(InputError) as error:
        answering.edge_answers(release(tmp_path, SERVING, (INPUT, other)), {"a": np.zeros((2, 4))}, "MODEL", "--views")
    assert "no variant for devices" in str(error.value)
    assert "2 inputs (x, other)" in str(error.value)
