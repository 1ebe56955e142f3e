"""What is wrong with a request is said before anything runs: all of it at once, each with its property path."""

import shutil
import zipfile
from pathlib import Path

import pytest

from isthmus.compile import RECIPES, CompileRequest, check_request
from isthmus.compile.key import compile_key, resolve
from isthmus.compile.source import KERAS_NAME
from isthmus.errors import SourceError


def _request(source: str, base: Path, **changes: object) -> CompileRequest:
    return CompileRequest(**{"model": "digits", "source": source, "recipe": "int8", "base_directory": base, **changes})


def _key(request: CompileRequest) -> str:
    return compile_key(request, resolve(request))


def _keras_file(path: Path, *, weights: bytes = b"weights", saved_at: str = "Monday", compression: int = zipfile.ZIP_STORED) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("metadata.json", saved_at)
        archive.writestr("config.json", "{}")
        archive.writestr("model.weights.h5", weights)
    return path


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
        ("model.tflite", "is not a kind of model that can be compiled"),
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
    (tmp_path / "code.py").write_text("def other():\n    raise RuntimeError('never run')\n")
    (tmp_path / "mistake.py").write_text("def build(:\n")
    (problem,) = check_request(_request(source, tmp_path), "digits")
    assert problem.path == "digits.model"
    assert said in problem.what
    with pytest.raises(SourceError):
        resolve(_request(source, tmp_path))


def test_all_that_is_wrong_is_said_at_once(tmp_path: Path) -> None:
    request = _request("none", tmp_path, model="two words", recipe="int3", version=0, evaluation=Path("none.npz"))
    assert [problem.path for problem in check_request(request, "a")] == ["a", "a.recipe", "a.version", "a.model", "a.evaluation"]
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


def test_the_key_is_of_the_content_not_of_place_or_time(tmp_path: Path) -> None:
    one = _request("one.keras", tmp_path)
    _keras_file(tmp_path / "one.keras")
    _keras_file(tmp_path / "elsewhere" / "one.keras", saved_at="Tuesday")
    assert _key(one) == _key(_request("one.keras", tmp_path / "elsewhere"))
    _keras_file(tmp_path / "elsewhere" / "one.keras", weights=b"other weights")
    assert _key(one) != _key(_request("one.keras", tmp_path / "elsewhere"))


def test_the_key_covers_everything_that_the_release_depends_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = _keras_file(tmp_path / "digits" / KERAS_NAME).parent
    with zipfile.ZipFile(tmp_path / "other.npz", "w") as archive:
        archive.writestr("y.npy", b"other")
    request = _request("digits", tmp_path)
    keys = [_key(request)]
    keys += [_key(_request("digits", tmp_path, **change)) for change in ({"recipe": "float16"}, {"version": 2}, {"model": "figures"})]
    keys.append(_key(_request("digits", tmp_path, evaluation=Path("other.npz"))))
    with zipfile.ZipFile(folder / "evaluation.npz", "w") as archive:
        archive.writestr("y.npy", b"labels")
    keys.append(_key(request))
    monkeypatch.setattr("isthmus.compile.key.tool_versions", lambda: (("keras", "99"),))
    keys.append(_key(request))
    monkeypatch.setattr("isthmus.compile.key._own_code", lambda: "other code")
    keys.append(_key(request))
    assert len(set(keys)) == len(keys)
    assert keys[-1] == _key(request)


def test_the_key_of_a_function_covers_its_package_and_what_it_imports(tmp_path: Path) -> None:
    package = tmp_path / "zoo"
    package.mkdir()
    (package / "model.py").write_text("import shared\nfrom zoo import layers\ndef build(): ...\n")
    (package / "layers.py").write_text("A = 1\n")
    (package / "weights.h5").write_bytes(b"1")
    (tmp_path / "shared.py").write_text("import deeper\n")
    (tmp_path / "deeper.py").write_text("B = 1\n")
    (tmp_path / "unrelated.py").write_text("C = 1\n")
    request = _request("zoo.model:build", tmp_path)
    keys = [_key(request)]
    for file in ("zoo/model.py", "zoo/layers.py", "zoo/weights.h5", "shared.py", "deeper.py"):
        (tmp_path / file).write_text((tmp_path / file).read_text() + "# changed\n")
        keys.append(_key(request))
    assert len(set(keys)) == 6
    (tmp_path / "unrelated.py").write_text("C = 2\n")
    (package / "__pycache__").mkdir()
    (package / "__pycache__" / "model.pyc").write_bytes(b"")
    assert _key(request) == keys[-1]
    shutil.copytree(tmp_path, tmp_path.with_name("copy"))
    assert _key(_request("zoo.model:build", tmp_path.with_name("copy"))) == keys[-1]
