"""The cache key changes with everything that can change a release, and with nothing else."""

import ast
import shutil
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from isthmus.compile import CompileRequest
from isthmus.compile import key as key_module
from isthmus.compile.key import compile_key, own_files, resolve
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
    monkeypatch.setattr("isthmus.compile.key.code_hash", lambda *_: "other code")
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


# What a job imports, and what a release does not depend on all the same: by room or module, and why.
LEFT_OUT = {
    "isthmus.compile.build.timing": "times are no part of the digest",
    "isthmus.compile.times": "where times are kept",
    "isthmus.server": "asked for times alone",
    "isthmus_agent.protocol": "spoken by that server",
    "isthmus_agent.formats": "how a digest is written; and the bounds of what fleets are told, beside other limits",
    "isthmus.compile.memory": "refuses a compile, and changes none",
    "isthmus.limits": "the deadline of a training, which is in the request",
    "isthmus.words": "how a reason reads, in the record alone",
    "isthmus.compile.gate": "judges a release; how its messages read",
    "isthmus.compile.key": "what it says is in the key",
    "isthmus.compile.request": "what is asked for; its values are in the key",
    "isthmus.partition": "how a release is split that is made already, which has a key of its own",
    "isthmus.release.hashing": "a sha256 is a sha256, however it is computed",
    "isthmus.digest": "how a digest is written; the manifest, which is, hashes",
    "isthmus.names": "what running things are called",
    "isthmus.errors": "how messages read",
}


def _imported_by_the_jobs() -> set[str]:
    """Names of our packages' modules, by reading them: nothing is imported."""
    import grimp

    graph = grimp.build_graph("isthmus", "isthmus_agent", cache_dir=None)
    jobs = ("isthmus.compile.build.jobs", "isthmus.compile.build.session", "isthmus.compile.numerics")
    found = set(jobs).union(*(graph.find_upstream_modules(module) for module in jobs))
    return found - {"isthmus_agent"}  # which is empty: the key asks where it lies


def test_all_that_a_job_imports_is_in_the_key_or_left_out_for_a_reason() -> None:
    covered = {name.removesuffix(".py").removesuffix("/__init__").replace("/", ".") for name in own_files()}
    covered = {f"isthmus.{name}" for name in covered}
    excused = {module for module in _imported_by_the_jobs() - covered if any(f"{module}.".startswith(f"{left}.") for left in LEFT_OUT)}
    assert _imported_by_the_jobs() - covered - excused == set()
    assert [left for left in LEFT_OUT if not any(f"{module}.".startswith(f"{left}.") for module in excused)] == []


@pytest.mark.parametrize(
    ("module", "counts"),
    [
        ("compile/recipes.py", True),
        ("compile/numerics.py", True),
        ("compile/quantise/scales.py", True),
        ("compile/shrink/training.py", True),
        ("compile/sources/load.py", True),
        ("compile/build/choose.py", True),
        ("compile/build/running.py", True),
        ("compile/build/session.py", True),
        ("release/manifest.py", True),
        ("release/deflate.py", True),
        ("offload/temperature.py", True),
        ("tflite/verify.py", True),
        ("compile/workers/pool.py", False),
        ("compile/workers/process.py", False),
        ("compile/workers/worker.py", False),
        ("compile/report/page.py", False),
        ("compile/build/timing.py", False),
        ("compile/times.py", False),
        ("compile/run.py", False),
        ("server/app.py", False),
        ("release/cache.py", False),
        ("offload/choosing.py", False),
    ],
)
def test_a_change_of_our_own_code_counts_only_where_it_computes_a_release(
    tmp_path: Path, trained: Path, monkeypatch: pytest.MonkeyPatch, module: str, counts: bool
) -> None:
    del trained
    package = tmp_path / "package"
    shutil.copytree(key_module._PACKAGE, package, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(key_module, "_PACKAGE", package)
    key_module.code_hash.cache_clear()
    before = _key(_request("digits", tmp_path))
    with (package / module).open("a") as file:
        file.write("# another way\n")
    key_module.code_hash.cache_clear()
    assert (_key(_request("digits", tmp_path)) != before) == counts
    monkeypatch.undo()
    key_module.code_hash.cache_clear()


@pytest.mark.parametrize(("recipe", "counts"), [("auto:fastest", True), ("auto", False), ("int8", False)])
def test_how_times_are_measured_counts_only_where_they_choose(
    tmp_path: Path, trained: Path, monkeypatch: pytest.MonkeyPatch, recipe: str, counts: bool
) -> None:
    del trained
    before = _key(_request("digits", tmp_path, recipe=recipe))
    real = key_module.code_hash
    monkeypatch.setattr(
        key_module, "code_hash", lambda *patterns: "another" if patterns[:1] == (key_module.TIMING_CODE,) else real(*patterns)
    )
    assert (_key(_request("digits", tmp_path, recipe=recipe)) != before) == counts


def test_what_runs_the_jobs_sets_nothing_that_a_result_depends_on() -> None:
    """Threads, seeds and TensorFlow's switches are `numerics` and `build.session`, which are in the key; the processes' own code is not."""
    for path in (key_module._PACKAGE / "compile" / "workers").glob("*.py"):
        tree = ast.parse(path.read_bytes())
        imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
        assert not imported & {"tensorflow", "keras", "numpy", "random"}, path
        texts = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)}
        assert not {text for text in texts if text.startswith(("TF_", "KERAS_", "CUDA_", "PYTHONHASH"))} - {"TF_CPP_MIN_LOG_LEVEL"}, path
