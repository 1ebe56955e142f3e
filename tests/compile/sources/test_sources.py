"""Every kind of source, compiled for real."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter

from isthmus.compile.build.contents import read_contents
from isthmus.compile.build.golden import difference
from isthmus.errors import SourceError
from isthmus.release.manifest import EDGE, Release

pytestmark = pytest.mark.slow
Compile = Callable[..., Release]


def _serving_answer(release: Release, inputs: dict[str, list]) -> dict[str, np.ndarray]:
    import tensorflow as tf

    loaded = tf.saved_model.load(str(release.directory / "serving" / str(release.manifest.version)))
    answer = loaded.signatures[release.manifest.signature](**{name: tf.constant(values, tf.float32) for name, values in inputs.items()})
    return {name: tensor.numpy() for name, tensor in answer.items()}


def _edge_answer(release: Release, inputs: dict[str, list]) -> dict[str, np.ndarray]:
    runner = Interpreter(str(release.directory / "edge" / "model.tflite")).get_signature_runner(release.manifest.signature)
    return runner(**{name: np.array(values, np.float32) for name, values in inputs.items()})


def _both_meet_the_golden_vectors(release: Release) -> None:
    golden = json.loads((release.directory / "golden.json").read_text())
    for answer in (_serving_answer(release, golden["inputs"]), _edge_answer(release, golden["inputs"])):
        assert set(answer) == set(golden["outputs"])
        for name, expected in golden["outputs"].items():
            assert difference(np.array(expected), answer[name]) <= release.manifest.golden_tolerance


def test_a_keras_file_keeps_its_names_of_inputs_and_outputs(compile_here: Compile, sources: Path) -> None:
    release = compile_here("two_inputs.keras", sources)
    assert [(spec.name, spec.dtype, spec.shape) for spec in release.manifest.inputs] == [
        ("left", "float32", (-1, 4)),
        ("right", "float32", (-1, 4)),
    ]
    assert {spec.name for spec in release.manifest.outputs} == {"label", "size"}
    assert release.manifest.evaluation_examples == 0
    assert release.manifest.source_accuracy is None
    _both_meet_the_golden_vectors(release)


def test_a_second_compile_in_a_used_process_gives_the_same_digest(compile_here: Compile, sources: Path) -> None:
    first = compile_here("two_inputs.keras", sources, name="first")
    second = compile_here("two_inputs.keras", sources, name="second")
    assert first.manifest.files == second.manifest.files
    assert first.digest == second.digest


def test_exports_differ_where_they_are_not_made_canonical(compile_here: Compile, sources: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the canonical form is for: without it the same process does not give the same bytes twice."""
    monkeypatch.setattr("isthmus.compile.build.export.make_canonical", lambda file: None)
    first = compile_here("two_inputs.keras", sources, name="first")
    second = compile_here("two_inputs.keras", sources, name="second")
    assert first.digest != second.digest


def test_a_saved_model_is_served_as_it_is(compile_here: Compile, sources: Path) -> None:
    release = compile_here("saved", sources, "int8")
    original = {
        path.relative_to(sources / "saved").as_posix(): path.read_bytes() for path in (sources / "saved").rglob("*") if path.is_file()
    }
    served = release.directory / "serving" / "1"
    assert {path.relative_to(served).as_posix(): path.read_bytes() for path in served.rglob("*") if path.is_file()} == original
    _both_meet_the_golden_vectors(release)


def test_a_function_of_a_module_is_called(compile_here: Compile, sources: Path) -> None:
    release = compile_here("zoo.models:build", sources)
    assert release.manifest.outputs[0].shape == (-1, 5)
    _both_meet_the_golden_vectors(release)


@pytest.mark.parametrize(("recipe", "wanted"), [("float32", None), ("float16", "float16"), ("int8", "int8")])
def test_a_recipe_shows_in_the_types_of_the_tensors(compile_here: Compile, sources: Path, recipe: str, wanted: str | None) -> None:
    release = compile_here("two_inputs.keras", sources, recipe)
    assert release.manifest.variant(EDGE).recipe == recipe
    contents = read_contents((release.directory / "edge" / "model.tflite").read_bytes())
    assert (contents.share("INT8") > 0, contents.share("FLOAT16") > 0) == (wanted == "int8", wanted == "float16")
    _both_meet_the_golden_vectors(release)


@pytest.mark.parametrize("recipe", ["float32", "int8"])
def test_a_ready_tflite_file_becomes_a_release_for_devices_alone(compile_here: Compile, sources: Path, tmp_path: Path, recipe: str) -> None:
    made = (compile_here("two_inputs.keras", sources, name="made").directory / "edge" / "model.tflite").read_bytes()
    (tmp_path / "ready.tflite").write_bytes(made)
    release = compile_here("ready.tflite", tmp_path, recipe)
    assert [variant.kind for variant in release.manifest.variants] == [EDGE]
    assert release.record.serving is None
    assert ((release.directory / "edge" / "model.tflite").read_bytes() == made) == (recipe == "float32")
    golden = json.loads((release.directory / "golden.json").read_text())
    for name, answers in golden["outputs"].items():
        assert difference(np.array(answers), _edge_answer(release, golden["inputs"])[name]) <= release.manifest.golden_tolerance


def test_a_chosen_signature_is_what_a_release_answers(compile_here: Compile, tmp_path: Path) -> None:
    import tensorflow as tf

    module = tf.Module()
    module.weights = tf.Variable(np.eye(4, 2, dtype=np.float32))

    @tf.function(input_signature=[tf.TensorSpec([None, 4], tf.float32, "x")])
    def score(x: object) -> dict[str, object]:
        return {"scores": tf.matmul(x, module.weights)}

    @tf.function(input_signature=[tf.TensorSpec([None, 4], tf.float32, "x")])
    def largest(x: object) -> dict[str, object]:
        return {"largest": tf.reduce_max(tf.matmul(x, module.weights), axis=1, keepdims=True)}

    tf.saved_model.save(module, str(tmp_path / "saved"), signatures={"serving_default": score, "largest": largest})
    release = compile_here("saved", tmp_path, signature="largest")
    assert release.manifest.signature == "serving_default"
    assert [spec.name for spec in release.manifest.outputs] == ["largest"]
    _both_meet_the_golden_vectors(release)


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("no_inputs.keras", "no signature: its inputs and outputs are not known"),
        ("no_signature", r"no signature serving_default \(it has: none\)"),
        ("zoo.models:broken", r"raised KeyError: 'weights' at zoo/models.py:18"),
        ("zoo.models:leaves", r"raised SystemExit: 3 at zoo/models.py:22"),
        ("zoo.models:number", "returned int; expected a Keras model"),
    ],
)
def test_a_source_that_cannot_be_loaded_says_why(compile_here: Compile, sources: Path, source: str, said: str) -> None:
    with pytest.raises(SourceError, match=said) as raised:
        compile_here(source, sources)
    assert "Traceback" not in str(raised.value)
    assert str(raised.value).startswith("tiny.model: ")


@pytest.mark.parametrize(
    ("evaluation", "said"),
    [
        ("wrong_shape.npz", r"float32 \[10, 5\] and does not fit input 'image'; expected float32 \[-1, 4\]"),
        ("float_labels.npz", r"y in evaluation.npz is float64 \[10\]; expected whole numbers"),
    ],
)
def test_evaluation_data_that_does_not_fit_says_how(
    compile_here: Compile, sources: Path, tmp_path: Path, evaluation: str, said: str
) -> None:
    folder = tmp_path / "single"
    folder.mkdir()
    (folder / "model.keras").write_bytes((sources / "single" / "model.keras").read_bytes())
    (folder / "evaluation.npz").write_bytes((sources / evaluation).read_bytes())
    with pytest.raises(SourceError, match=said):
        compile_here("single", tmp_path)
    (folder / "evaluation.npz").write_bytes((sources / "right.npz").read_bytes())  # float64 examples fit a float32 input
    assert compile_here("single", tmp_path, name="right").manifest.evaluation_examples == 10
