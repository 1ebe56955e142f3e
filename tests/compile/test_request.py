"""What is wrong with a request is said before anything runs: all of it at once, each with its property path."""

import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from isthmus.compile import RECIPES, CompileRequest, check_request
from isthmus.compile.key import resolve
from isthmus.compile.sources.source import KERAS_NAME
from isthmus.errors import SourceError


def _request(source: str, base: Path, **changes: object) -> CompileRequest:
    return CompileRequest(**{"model": "digits", "source": source, "recipe": "int8", "base_directory": base, **changes})


@pytest.mark.parametrize("source", ["models/digits", "models/digits/model.keras", "models.digits.model:build"])
def test_good_sources_have_no_problems(project: Path, source: str) -> None:
    assert check_request(_request(source, project), "cloud.digits") == []


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("models/none", "there is no model 'models/none'"),
        ("", "no model is named"),
        ("empty", "has neither model.keras nor saved_model.pb"),
        ("versions", "holds versions, not a model"),
        ("broken.keras", "cannot be read (File is not a zip file)"),
        ("partial.keras", "lacks model.weights.h5"),
        ("model.tflite", "'model.tflite' cannot be read"),
        ("model.h5", "is not a kind of model that can be compiled"),
        ("nowhere.models:build", "there is no module 'nowhere.models'"),
        ("code:build", "code.py has no function 'build'"),
        ("mistake:build", "mistake.py:1: SyntaxError"),
    ],
)
def test_a_bad_source_is_named_with_its_path(tmp_path: Path, source: str, said: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "versions" / "3").mkdir(parents=True)
    (tmp_path / "versions" / "3" / "saved_model.pb").write_bytes(b"")
    (tmp_path / "broken.keras").write_bytes(b"PK nothing")
    with zipfile.ZipFile(tmp_path / "partial.keras", "w") as archive:
        archive.writestr("config.json", "{}")
    (tmp_path / "model.tflite").write_bytes(b"")
    (tmp_path / "model.h5").write_bytes(b"")
    (tmp_path / "code.py").write_text("def other():\n    raise RuntimeError('never run')\n")
    (tmp_path / "mistake.py").write_text("def build(:\n")
    (problem,) = check_request(_request(source, tmp_path), "digits")
    assert problem.path == "digits.model"
    assert said in problem.what
    with pytest.raises(SourceError):
        resolve(_request(source, tmp_path))


def test_all_that_is_wrong_is_said_at_once(tmp_path: Path) -> None:
    request = _request("none", tmp_path, model="two words", recipe="int3+prune:0%", version=0, evaluation=Path("none.npz"))
    assert [problem.path for problem in check_request(request, "a")] == [
        "a",
        "a.recipe",
        "a.recipe",
        "a.version",
        "a.model",
        "a.evaluation",
    ]
    assert "one of " + ", ".join(RECIPES) in str(check_request(request, "a")[1])


def test_a_digest_needs_no_recipe_and_no_file(tmp_path: Path) -> None:
    assert check_request(_request("sha256:" + "a" * 64, tmp_path, recipe=""), "digits") == []
    (problem,) = check_request(_request("sha256:abc", tmp_path), "digits")
    assert problem.path == "digits.model"


def test_checking_runs_none_of_the_users_code(tmp_path: Path) -> None:
    package = tmp_path / "mine"
    package.mkdir()
    (package / "__init__.py").write_text("raise RuntimeError('imported')\n")
    (package / "models.py").write_text("raise RuntimeError('imported')\ndef build(): ...\n")
    assert check_request(_request("mine.models:build", tmp_path), "digits") == []


FIT = "def fit(model, epochs, callbacks=()): ...\ndef student(): ...\n"


def _folder(base: Path, *, training: str | None = FIT, evaluation: bool = True, calibration: bool = False) -> Path:
    """A model folder, as far as it is looked at before anything runs."""
    folder = base / "digits"
    folder.mkdir()
    with zipfile.ZipFile(folder / KERAS_NAME, "w") as archive:
        archive.writestr("config.json", '{"class_name": "Functional"}')
        archive.writestr("model.weights.h5", "weights")
    if training is not None:
        (folder / "model.py").write_text(training)
    for name, member, wanted in (("evaluation.npz", "y.npy", evaluation), ("calibration.npz", "x.npy", calibration)):
        if wanted:
            with zipfile.ZipFile(folder / name, "w") as archive:
                archive.writestr(member, "")
    return folder


@pytest.mark.parametrize(
    "recipe", ["int4", "serving-only", "auto", "auto:fastest", "prune:80% + int8", "distil:student+slim", "int8-static", "slim:rank=90%"]
)
def test_a_folder_that_has_what_the_recipe_needs_has_no_problems(tmp_path: Path, recipe: str) -> None:
    _folder(tmp_path, calibration=True)
    assert check_request(_request("digits", tmp_path, recipe=recipe), "a") == []


@pytest.mark.parametrize(
    ("recipe", "said"),
    [
        ("prune:80%+int8", "a.recipe: prune:80% trains, and 'digits' has no training function; expected a model.py beside model.keras"),
        ("distil+slim:width=50%", "a.recipe: distil:50%, slim:width=50% trains"),
        ("int8-static", "a.recipe: int8-static measures the activations' ranges on calibration data, and 'digits' has none"),
        ("auto", "a.recipe: auto chooses by accuracy, and 'digits' has no evaluation data"),
    ],
)
def test_what_a_recipe_needs_and_the_source_lacks_is_said_before_anything_runs(tmp_path: Path, recipe: str, said: str) -> None:
    _folder(tmp_path, training=None, evaluation=False)
    (problem,) = check_request(_request("digits", tmp_path, recipe=recipe), "a")
    assert str(problem).startswith(said)


def test_a_recipe_without_needs_is_right_for_a_bare_folder(tmp_path: Path) -> None:
    _folder(tmp_path, training=None, evaluation=False)
    assert check_request(_request("digits", tmp_path, recipe="slim:rank=90%+int4"), "a") == []


def test_a_student_that_the_module_does_not_define_is_named(tmp_path: Path) -> None:
    _folder(tmp_path, training="raise RuntimeError('never run')\n" + FIT)
    assert check_request(_request("digits", tmp_path, recipe="distil:student"), "a") == []
    (problem,) = check_request(_request("digits", tmp_path, recipe="distil:pupil"), "a")
    assert str(problem) == "a.recipe: model.py has no function 'pupil'; expected one that builds the student. Fix: correct the name"


def test_structure_steps_need_the_layers_of_a_keras_model(tmp_path: Path) -> None:
    (tmp_path / "saved").mkdir()
    (tmp_path / "saved" / "saved_model.pb").write_bytes(b"")
    (problem,) = check_request(_request("saved", tmp_path, recipe="slim+prune:80%+int8"), "")
    assert "'saved' is no Keras model, and slim, prune:80% needs its layers" in str(problem)
    assert problem.path == "recipe"
    assert problem.fix == "name the Keras model, or write int8"


def test_every_unmet_need_is_said_at_once(tmp_path: Path) -> None:
    _folder(tmp_path, training=None)
    request = _request("digits", tmp_path, recipe="prune+int8-static", min_accuracy=97.0, training_deadline_seconds=0)
    paths = [problem.path for problem in check_request(request, "a")]
    assert paths == ["a.min_accuracy", "a.training_deadline_seconds", "a.recipe", "a.recipe"]


def test_a_file_for_devices_is_no_release_for_servers_alone(tmp_path: Path, build_tflite: Callable[..., bytes]) -> None:
    (tmp_path / "camera.tflite").write_bytes(build_tflite("LOG"))
    (problem,) = check_request(_request("camera.tflite", tmp_path, recipe="serving-only"), "a")
    assert str(problem).startswith("a.recipe: 'camera.tflite' is a file for devices (.tflite), and serving-only leaves the variant for")
    assert problem.fix == "name the model that the file was converted from, or another recipe, such as float32"
