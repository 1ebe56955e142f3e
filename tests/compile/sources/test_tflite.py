"""Ready .tflite files: what a sound one becomes."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ai_edge_litert.tools import flatbuffer_utils
from tests.tflite import converted

from isthmus.compile import memory
from isthmus.compile.sources.source import Source, find_source
from isthmus.compile.sources.tflite import load_tflite, ready_model
from isthmus.errors import SourceError
from isthmus.tflite.verify import verify

pytestmark = pytest.mark.slow
WHERE = "digits.model"


@pytest.fixture(scope="session")
def files(once: Callable[..., tuple[Path, None]]) -> Path:
    return once(*converted.FILES)[0]


def _found(name: str, base: Path, **options: Any) -> Source:
    source, problems = find_source(name, None, base, "digits", **options)
    assert source is not None, problems
    return source


def _accuracy(source: Source, held_out: Any) -> float:
    model = load_tflite(source, WHERE)
    (given_name,), (name,) = [spec.name for spec in model.inputs], [spec.name for spec in model.outputs]
    images = held_out["x"].astype(np.float32)
    if model.inputs[0].dtype == "uint8":
        images = np.round(images * 255).astype(np.uint8)
    answers = [model.run({given_name: image[None]})[name].argmax() for image in images]
    return float((np.array(answers) == held_out["y"]).mean())


@pytest.mark.parametrize("name", ["digits.tflite", "quantised.tflite", "old.tflite"])
def test_a_ready_file_answers_as_the_model_it_was_made_of(files: Path, name: str) -> None:
    with np.load(converted.DIGITS / "evaluation.npz") as held_out:
        assert _accuracy(_found(name, files), dict(held_out)) > 0.97


def test_what_a_file_takes_and_gives_is_described(files: Path) -> None:
    model = load_tflite(_found("digits.tflite", files), WHERE)
    assert [(spec.name, spec.dtype, spec.shape) for spec in model.inputs] == [("image", "float32", (-1, 8, 8, 1))]
    assert [(spec.name, spec.shape) for spec in model.outputs] == [("output_0", (-1, 10))]
    quantised = load_tflite(_found("quantised.tflite", files), WHERE)
    assert [spec.dtype for spec in (*quantised.inputs, *quantised.outputs)] == ["uint8", "uint8"]


def test_a_whole_file_is_shipped_as_it_is(files: Path) -> None:
    assert ready_model(_found("digits.tflite", files), WHERE) == (files / "digits.tflite").read_bytes()


def test_a_folder_may_hold_the_file_and_its_evaluation_data(files: Path, tmp_path: Path) -> None:
    for source, name in ((files / "digits.tflite", "model.tflite"), (converted.DIGITS / "evaluation.npz", "evaluation.npz")):
        (tmp_path / name).write_bytes(source.read_bytes())
    assert _found(".", tmp_path).evaluation == tmp_path / "." / "evaluation.npz"


def test_an_old_file_gets_what_tools_read_today(files: Path) -> None:
    from litert_quantizer import Quantizer, recipe

    def quantised(data: bytes) -> bytes:
        quantizer = Quantizer(data)
        quantizer.load_quantization_recipe(recipe.dynamic_wi8_afp32())
        return bytes(quantizer.quantize().quantized_model)

    old = (files / "old.tflite").read_bytes()
    assert verify(old).old_codes
    assert len(quantised(old)) > 0.9 * len(old)  # without a word, as its codes mean nothing to the quantiser
    ready = ready_model(_found("old.tflite", files), WHERE)
    assert verify(ready).signatures == ("serving_default",)
    assert not verify(ready).old_codes
    assert len(quantised(ready)) < 0.35 * len(old)
    assert ready == ready_model(_found("old.tflite", files), WHERE)


@pytest.mark.parametrize(("signature", "factor"), [("double", 2.0), ("half", 0.5)])
def test_the_signature_that_is_chosen_answers_as_serving_default(files: Path, signature: str, factor: float) -> None:
    source = _found("two.tflite", files, signature=signature)
    assert verify(ready_model(source, WHERE)).signatures.count("serving_default") == 1
    answers = load_tflite(source, WHERE).run({"x": np.array([[1, 2, 4]], np.float32)})
    np.testing.assert_allclose(answers[signature], np.array([[1, 2, 4]]) * factor)


@pytest.mark.parametrize("signature", [None, "third"])
def test_a_signature_that_is_not_there_lists_those_that_are(files: Path, signature: str | None) -> None:
    source, (problem,) = find_source("two.tflite", None, files, "digits", signature=signature)
    assert source is None
    assert "(it has: double, half)" in problem.what
    with pytest.raises(SourceError, match="it has: double, half"):
        ready_model(replace(_found("two.tflite", files, signature="half"), signature=signature), WHERE)


def test_a_file_too_large_for_memory_is_told_before_it_is_read(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = _found("digits.tflite", files)
    monkeypatch.setattr(memory, "available_bytes", lambda: memory.BASE_BYTES)
    monkeypatch.setattr(Path, "read_bytes", lambda _: pytest.fail("it was read"))
    with pytest.raises(SourceError, match="of memory"):
        load_tflite(source, WHERE)


def test_a_file_that_changed_after_the_check_is_told(files: Path, tmp_path: Path) -> None:
    file = tmp_path / "model.tflite"
    file.write_bytes((files / "digits.tflite").read_bytes())
    source = _found("model.tflite", tmp_path)
    file.write_bytes(file.read_bytes()[:5000])
    with pytest.raises(SourceError, match=r"is not a sound \.tflite file"):
        load_tflite(source, WHERE)


def test_operators_that_devices_lack_are_named(files: Path, tmp_path: Path) -> None:
    model = flatbuffer_utils.read_model(str(files / "digits.tflite"))
    code = model.operatorCodes[0]
    code.builtinCode, code.deprecatedBuiltinCode, code.customCode = 32, 32, "FlexMagic"
    flatbuffer_utils.write_model(model, str(tmp_path / "model.tflite"))
    with pytest.raises(SourceError, match="FlexMagic"):
        load_tflite(_found("model.tflite", tmp_path), WHERE)
