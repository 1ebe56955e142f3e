"""The cache key changes with everything that can change a release, and with nothing else."""

import shutil
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from isthmus.compile import CompileRequest
from isthmus.compile.key import compile_key, resolve
from isthmus.compile.sources.source import KERAS_NAME


def _request(source: str, base: Path, **changes: object) -> CompileRequest:
    return CompileRequest(**{"model": "digits", "source": source, "recipe": "int8", "base_directory": base, **changes})


def _key(request: CompileRequest) -> str:
    return compile_key(request, resolve(request))


def _keras_file(path: Path, *, weights: bytes = b"weights", saved_at: str = "Monday", compression: int = zipfile.ZIP_STORED) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("metadata.json", saved_at)
        archive.writestr("config.json", '{"class_name": "Functional"}')
        archive.writestr("model.weights.h5", weights)
    return path


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


@pytest.fixture
def trained(tmp_path: Path) -> Path:
    """A model folder with all that a recipe may need, and a module that its training imports."""
    folder = _keras_file(tmp_path / "digits" / KERAS_NAME).parent
    for name, member in (("evaluation.npz", "y.npy"), ("calibration.npz", "x.npy")):
        with zipfile.ZipFile(folder / name, "w") as archive:
            archive.writestr(member, "")
    (folder / "model.py").write_text("import hypothesis\nimport speech\ndef fit(model, epochs, callbacks=()): ...\n")
    (folder / "speech.py").write_text("RATE = 16000\n")
    (folder / "program.py").write_text("import espeakng_loader\n")
    return folder


def _changed(file: Path, base: Path, recipe: str, **changes: object) -> bool:
    """Whether the key changes with the file."""
    request = _request("digits", base, recipe=recipe, **changes)
    before = _key(request)
    if file.suffix == ".npz":
        with zipfile.ZipFile(file, "a") as archive:
            archive.writestr(f"more_{len(archive.namelist())}.npy", file.name)
    else:
        file.write_text(file.read_text() + "# changed\n")
    return before != _key(request)


@pytest.mark.parametrize(
    ("file", "recipes", "others"),
    [
        ("model.py", ("prune+int8", "auto", "auto:fastest", "slim:width=50%"), ("int8", "slim:rank=90%+int4", "int8-static")),
        ("speech.py", ("distil", "auto"), ("int8", "slim", "float32")),
        ("program.py", ("prune+int8", "auto"), ("int8", "slim", "float32")),
        ("calibration.npz", ("int8-static", "slim+int8-static", "auto:fastest"), ("int8", "auto", "int4")),
        ("evaluation.npz", ("int8", "auto", "prune"), ()),
    ],
)
def test_the_key_covers_a_file_only_where_the_recipe_needs_it(
    tmp_path: Path, trained: Path, file: str, recipes: tuple[str, ...], others: tuple[str, ...]
) -> None:
    if file == "calibration.npz":
        (trained / "model.py").unlink()  # training may read whatever lies beside it
    assert [recipe for recipe in recipes if not _changed(trained / file, tmp_path, recipe)] == []
    assert [recipe for recipe in others if _changed(trained / file, tmp_path, recipe)] == []


def test_recipes_that_say_the_same_share_a_key(tmp_path: Path, trained: Path) -> None:
    del trained
    for texts in (("prune:80%+int8", "prune + int8", "prune:080%+int8"), ("slim+float32", "slim"), ("auto", "auto:smallest")):
        assert len({_key(_request("digits", tmp_path, recipe=text)) for text in texts}) == 1
    different = ("int8", "int4", "prune", "prune+int8", "prune:81%+int8", "slim+prune+int8", "auto", "auto:fastest")
    assert len({_key(_request("digits", tmp_path, recipe=text)) for text in different}) == len(different)


def test_a_promise_and_a_deadline_count_only_where_they_choose(tmp_path: Path, trained: Path) -> None:
    def keys(recipe: str) -> int:
        changes = ({}, {"min_accuracy": 0.9}, {"training_deadline_seconds": 60})
        return len({_key(_request("digits", tmp_path, recipe=recipe, **change)) for change in changes})

    assert (keys("int8"), keys("prune+int8"), keys("auto")) == (1, 1, 3)
    (trained / "model.py").unlink()
    assert keys("auto") == 2  # nothing trains, so no deadline is ever met


@pytest.mark.parametrize(
    ("file", "line"),
    [("model.py", "import sounds"), ("program.py", "from sounds.engine import speak"), ("model.py", "find_spec('sounds')")],
    ids=["imported", "by a program beside it", "named"],
)
def test_training_depends_on_the_version_of_a_package_that_its_folder_names(
    tmp_path: Path, trained: Path, monkeypatch: pytest.MonkeyPatch, file: str, line: str
) -> None:
    (trained / file).write_text(f"{line}\n{(trained / file).read_text()}")
    versions = {"sounds-loader": "1"}
    monkeypatch.setattr("isthmus.compile.key.metadata.packages_distributions", lambda: {"sounds": ["sounds-loader"]})
    monkeypatch.setattr("isthmus.compile.key.metadata.version", lambda name: versions[name])
    monkeypatch.setattr("isthmus.compile.key.tool_versions", tuple)
    requests = [_request("digits", tmp_path, recipe=recipe) for recipe in ("prune+int8", "int8")]
    before = [_key(request) for request in requests]
    assert [_key(request) for request in requests] == before
    versions["sounds-loader"] = "2"
    assert [one != other for one, other in zip(before, map(_key, requests), strict=True)] == [True, False]


def test_what_was_refused_does_not_come_out_of_the_cache_because_somebody_else_allowed_it(tmp_path: Path, trained: Path) -> None:
    del trained
    assert _key(_request("digits", tmp_path)) != _key(_request("digits", tmp_path, allow_unsafe=True))


def test_custom_objects_count_by_their_content(tmp_path: Path, trained: Path) -> None:
    del trained
    (tmp_path / "layers.py").write_text("A = 1\n")
    request = _request("digits", tmp_path, custom_objects="layers")
    before = _key(request)
    assert before != _key(replace(request, custom_objects=None))
    (tmp_path / "layers.py").write_text("A = 2\n")
    assert _key(request) != before


def test_the_page_that_is_written_about_a_release_is_not_part_of_its_key() -> None:
    from isthmus.compile import key

    package = Path(key.__file__).parents[1]
    covered = {path.relative_to(package).as_posix() for path in key.own_files()}
    assert {"compile/recipes.py", "compile/quantise/scales.py", "release/manifest.py"} <= covered
    assert not any(name.startswith("compile/report/") for name in covered)
