"""Finding sources, and what is seen to be wrong with them without TensorFlow."""

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isthmus.compile.sources.source import FUNCTION, KERAS, SAVED_MODEL, TFLITE, Source, find_source
from isthmus.errors import Problem

DIGITS = Path(__file__).parents[3] / "models" / "digits"
MODEL = "def fit(model, epochs, callbacks=()):\n    raise SystemExit('never run at check time')\n"


def _found(name: str, base: Path, **options: Any) -> Source:
    source, problems = find_source(name, None, base, "digits", **options)
    assert source is not None, problems
    return source


def _problems(name: str, base: Path, **options: Any) -> list[Problem]:
    source, problems = find_source(name, None, base, "digits", **options)
    assert source is None
    return problems


def _keras_file(file: Path, config: object = None, weights: bytes = b"weights") -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("config.json", json.dumps(config or {"class_name": "Functional", "config": {}}))
        archive.writestr("model.weights.h5", weights)
    return file


def test_each_kind_is_found(tmp_path: Path) -> None:
    _keras_file(tmp_path / "folder" / "model.keras")
    (tmp_path / "saved").mkdir()
    (tmp_path / "saved" / "saved_model.pb").write_bytes(b"x")
    (tmp_path / "zoo.py").write_text("def build(): ...\n")
    kinds = {name: _found(name, tmp_path).kind for name in ("folder", "folder/model.keras", "saved", "zoo:build")}
    assert kinds == {"folder": KERAS, "folder/model.keras": KERAS, "saved": SAVED_MODEL, "zoo:build": FUNCTION}


def test_a_source_survives_its_way_through_a_job_file(tmp_path: Path) -> None:
    _keras_file(tmp_path / "digits" / "model.keras")
    (tmp_path / "digits" / "model.py").write_text(MODEL)
    (tmp_path / "layers.py").write_text("")
    source = _found("digits", tmp_path, custom_objects="layers", allow_unsafe=True)
    assert Source.from_json(json.loads(json.dumps(source.to_json()))) == source


def test_training_is_the_module_beside_the_model_with_what_it_needs(tmp_path: Path) -> None:
    folder = tmp_path / "digits"
    _keras_file(folder / "model.keras")
    assert _found("digits", tmp_path).training is None
    (folder / "model.py").write_text("import features\nfrom shared import losses\n\n\n" + MODEL)
    (folder / "features.py").write_text("import numpy\n")
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared" / "losses.py").write_text("")
    for name in ("train.npz", "evaluation.npz", "calibration.npz"):
        np.savez(folder / name, y=[1])
    for name in ("README.md", "train.py"):
        (folder / name).write_text("")
    source = _found("digits", tmp_path)
    assert source.training == folder / "model.py"
    assert [name for name, _ in source.training_files] == ["model", "features", "shared.losses", "train.npz", "train.py"]
    assert (source.evaluation, source.calibration) == (folder / "evaluation.npz", folder / "calibration.npz")
    assert [name for name, _ in source.files] == ["model.keras"]


def test_training_depends_on_programs_that_it_starts_and_on_what_these_import(tmp_path: Path) -> None:
    folder = tmp_path / "commands"
    _keras_file(folder / "model.keras")
    (folder / "model.py").write_text("import subprocess\n\n\n" + MODEL)
    (folder / "speech.py").write_text("from shared import engine\n")
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared" / "engine.py").write_text("")
    assert [name for name, _ in _found("commands", tmp_path).training_files] == ["model", "shared.engine", "speech.py"]


def test_a_module_without_fit_does_not_train(tmp_path: Path) -> None:
    _keras_file(tmp_path / "digits" / "model.keras")
    (tmp_path / "digits" / "model.py").write_text("def train(): ...\n")
    assert _found("digits", tmp_path).training is None


def test_a_training_module_with_a_syntax_error_is_named_with_its_line(tmp_path: Path) -> None:
    _keras_file(tmp_path / "digits" / "model.keras")
    (tmp_path / "digits" / "model.py").write_text("\ndef fit(:\n")
    (problem,) = _problems("digits", tmp_path)
    assert "digits/model.py:2: SyntaxError" in problem.what


def test_the_module_of_a_function_trains_where_it_defines_fit(tmp_path: Path) -> None:
    (tmp_path / "zoo.py").write_text("def build(): ...\n\n\n" + MODEL)
    assert _found("zoo:build", tmp_path).training == tmp_path / "zoo.py"


def test_custom_objects_name_a_module_whose_files_count(tmp_path: Path) -> None:
    _keras_file(tmp_path / "model.keras")
    (tmp_path / "layers").mkdir()
    (tmp_path / "layers" / "__init__.py").write_text("from . import own\n")
    (tmp_path / "layers" / "own.py").write_text("raise SystemExit('never imported at check time')\n")
    source = _found("model.keras", tmp_path, custom_objects="layers")
    assert [name for name, _ in source.custom_files] == ["layers", "layers/own.py"]


@pytest.mark.parametrize(
    ("module", "said"),
    [
        ("nowhere.at_all", "there is no module 'nowhere.at_all'"),
        ("not a name", "is not a module's name"),
        ("broken", "broken.py:1: SyntaxError"),
    ],
)
def test_custom_objects_that_cannot_be_imported_are_told_apart(tmp_path: Path, module: str, said: str) -> None:
    _keras_file(tmp_path / "model.keras")
    (tmp_path / "broken.py").write_text("class :\n")
    (problem,) = _problems("model.keras", tmp_path, custom_objects=module)
    assert problem.path == "digits.custom_objects"
    assert said in problem.what


@pytest.mark.parametrize(("kind", "does"), [("Lambda", "Python code"), ("TFSMLayer", "SavedModel"), ("TorchModuleWrapper", "pickle")])
def test_a_layer_that_carries_code_needs_permission_however_deep_it_is(tmp_path: Path, kind: str, does: str) -> None:
    layer = {"module": "keras.layers", "class_name": kind, "config": {"name": "hidden_deep"}, "registered_name": None}
    inner = {"class_name": "Sequential", "config": {"layers": [{"class_name": "Bidirectional", "config": {"layer": layer}}]}}
    _keras_file(tmp_path / "model.keras", {"class_name": "Functional", "config": {"layers": [inner]}})
    (problem,) = _problems("model.keras", tmp_path)
    assert f"layer 'hidden_deep' of 'model.keras' is a {kind}: it" in problem.what
    assert does in problem.what
    assert "allow_unsafe" in problem.fix
    assert _found("model.keras", tmp_path, allow_unsafe=True).allow_unsafe


def test_a_class_of_the_users_own_may_have_any_name(tmp_path: Path) -> None:
    layer = {"module": "layers", "class_name": "Lambda", "config": {"name": "mine"}, "registered_name": "shop>Lambda"}
    _keras_file(tmp_path / "model.keras", {"class_name": "Functional", "config": {"layers": [layer]}})
    assert _found("model.keras", tmp_path).kind == KERAS


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "cannot be read"),
        ((DIGITS / "model.keras").read_bytes()[:4000], "cannot be read"),
        ((DIGITS / "evaluation.npz").read_bytes(), "lacks config.json, model.weights.h5"),
    ],
    ids=["empty", "truncated", "another zip"],
)
def test_a_damaged_keras_file_says_what_is_missing(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "model.keras").write_bytes(content)
    (problem,) = _problems("model.keras", tmp_path)
    assert said in problem.what
    assert problem.path == "digits.model"


@pytest.mark.parametrize("config", ['{"class_name": ', "[1, 2]", "[" * 100_000], ids=["cut off", "a list", "too deep"])
def test_a_configuration_that_is_none_is_told(tmp_path: Path, config: str) -> None:
    with zipfile.ZipFile(tmp_path / "model.keras", "w") as archive:
        archive.writestr("config.json", config)
        archive.writestr("model.weights.h5", b"")
    (problem,) = _problems("model.keras", tmp_path)
    assert "config.json in 'model.keras'" in problem.what


@settings(deadline=None, max_examples=150)
@given(st.data())
def test_no_damage_to_a_keras_file_stops_the_check(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    content = bytearray((DIGITS / "model.keras").read_bytes())
    # The index at the end and the headers are what a reader trusts; most bytes are weights.
    index = len(content) - 600
    for place, value in data.draw(
        st.lists(st.tuples(st.integers(index, len(content) - 1) | st.integers(0, 200), st.integers(0, 255)), max_size=8)
    ):
        content[place] = value
    file = tmp_path_factory.getbasetemp() / "fuzzed.keras"
    file.write_bytes(content[: data.draw(st.just(len(content)) | st.integers(0, len(content)))])
    source, problems = find_source("fuzzed.keras", None, file.parent, "")
    assert (source is None) == bool(problems)


def test_a_keras_model_has_no_signature_to_choose(tmp_path: Path) -> None:
    _keras_file(tmp_path / "model.keras")
    (problem,) = _problems("model.keras", tmp_path, signature="embed")
    assert problem.path == "digits.signature"
    assert _found("model.keras", tmp_path, signature="serving_default")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("", "no model is named"),
        ("gone", "there is no model 'gone'"),
        ("empty", "has neither model.keras nor saved_model.pb nor model.tflite"),
        ("versions", "holds versions, not a model"),
        ("old.h5", "is not a kind of model"),
        ("empty.tflite", "cannot be read"),
    ],
)
def test_what_is_no_model_says_what_would_be(tmp_path: Path, name: str, said: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "versions" / "3").mkdir(parents=True)
    (tmp_path / "versions" / "3" / "saved_model.pb").write_bytes(b"x")
    for file in ("old.h5", "empty.tflite"):
        (tmp_path / file).write_bytes(b"")
    (problem,) = _problems(name, tmp_path)
    assert said in problem.what


def test_a_broken_evaluation_file_is_named(tmp_path: Path) -> None:
    _keras_file(tmp_path / "digits" / "model.keras")
    buffer = io.BytesIO()
    np.savez(buffer, x=np.zeros(3))
    (tmp_path / "digits" / "evaluation.npz").write_bytes(buffer.getvalue())
    (problem,) = _problems("digits", tmp_path)
    assert "'digits/evaluation.npz' lacks y.npy" in problem.what


def test_a_tflite_file_that_is_none_is_refused_here(tmp_path: Path) -> None:
    (tmp_path / "model.tflite").write_bytes(b"\x1c\0\0\0TFL3" + bytes(40))
    (problem,) = _problems(".", tmp_path)
    assert "is not a sound .tflite file" in problem.what
    assert TFLITE == "tflite"
