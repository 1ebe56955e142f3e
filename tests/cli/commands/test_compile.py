"""`isthmus compile`; the compiler itself is a stand-in here (its own tests are in tests/compile)."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from isthmus.cli.commands.compile import releases as compiling
from isthmus.cli.main import app
from isthmus.errors import GateError, InputError, IsthmusError, PlatformError, Problem, SourceError
from isthmus.release.manifest import EDGE, SERVING, Candidate, FileEntry, Manifest, Record, Release, TensorSpec, Timing, Variant

PROJECT = Path(__file__).parents[3]
SIZES = {"float32": (330_344, 305_118, 0.991), "int8": (86_912, 73_390, 0.989), "int4": (45_688, 37_801, 0.951)}


# The command with a compiler that never ends, and says when it is cancelled.
ENDLESS = """
import asyncio, sys
from isthmus.cli import main
from isthmus.cli.commands.compile import releases as compiling

async def compile_release(request, cache, progress, *, warn):
    print("begun", flush=True)
    try:
        await asyncio.sleep(600)
    finally:
        print("cancelled", flush=True)

compiling.compile_release = compile_release
sys.argv = ["isthmus", "compile", "models/digits", "-r", "int8", "-r", "int4"]
main.main()
"""


def _release(recipe: str, accuracy: float | None, directory: Path) -> Release:
    size, shipped, _ = SIZES[recipe]
    candidate = Candidate(recipe, size, shipped, accuracy, 0.01, 0.001, 0.03, 0.04, 1_000_000)
    serving = Variant(SERVING, "float32", (FileEntry("serving/1/saved_model.pb", 400_000, "1" * 64),), accuracy and 0.991, 0.0)
    edge = Variant(EDGE, recipe, (FileEntry("edge/model.tflite", size, "0" * 64),), accuracy, 0.01)
    spec, timing = (TensorSpec("x", "float32", (-1, 4)),), Timing(1.0, 1.0, 1.0, 10)
    examples, source = (450, 0.991) if accuracy else (0, None)
    golden = FileEntry("golden.json", 2, "2" * 64)
    manifest = Manifest("digits", 1, recipe, "serving_default", spec, spec, (serving, edge), golden, 0.1, source, examples, ())
    return Release(
        directory, manifest, Record("x86_64 2 cores", "2026-11-23T21:40:00+00:00", timing, timing, (candidate,), f"{recipe}, as asked for")
    )


def _for_servers(directory: Path) -> Release:
    made = _release("int8", 0.989, directory)
    served = Candidate("serving-only", 400_000, accuracy=0.991, p50_ms=1.0, p95_ms=1.0)
    manifest = replace(made.manifest, recipe="serving-only", variants=made.manifest.variants[:1])
    return replace(
        made, manifest=manifest, record=replace(made.record, edge=None, candidates=(served,), reason="serving-only, as asked for")
    )


class Compiler:
    """What stands in for the compiler. asked: the requests. failing: errors by recipe. knows: whether there is evaluation data.
    others: what the records have before the recipe that was asked for."""

    def __init__(self, directory: Path) -> None:
        self.directory, self.knows = directory, True
        self.others: tuple[Candidate, ...] = ()
        self.asked: list[compiling.CompileRequest] = []
        self.failing: dict[str, IsthmusError] = {}
        self.serving_only = False

    async def __call__(self, request, cache, progress, *, warn) -> Release:
        self.asked.append(request)
        progress(f"load {request.source}")
        await asyncio.sleep(0)
        if request.recipe in self.failing:
            raise self.failing[request.recipe]
        if self.serving_only:
            return _for_servers(self.directory)
        release = _release(request.recipe, SIZES[request.recipe][2] if self.knows else None, self.directory)
        return replace(release, record=replace(release.record, candidates=(*self.others, *release.record.candidates)))


@pytest.fixture
def compiler(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Compiler:
    stand_in = Compiler(tmp_path)
    monkeypatch.chdir(PROJECT)
    monkeypatch.setattr(compiling, "compile_release", stand_in)
    return stand_in


@pytest.fixture
def isthmus(compiler: Compiler) -> Callable[..., Result]:
    def run(*words: str) -> Result:
        return CliRunner(env={"COLUMNS": "160"}).invoke(app, ["compile", *words])

    return run


def test_one_recipe_prints_its_figures_the_release_and_the_file(isthmus, compiler):
    done = isthmus("models/digits", "--recipe", "int8")
    assert done.exit_code == 0, done.output
    assert "✓ chosen: int8, as asked for" in done.stdout
    assert "release sha256:" in done.stdout
    assert str(compiler.directory / "edge" / "model.tflite") in done.stdout
    assert "digits (int8): load models/digits" in done.stderr
    assert [(it.model, it.recipe, it.min_accuracy) for it in compiler.asked] == [("digits", "int8", None)]


def test_without_a_recipe_auto_searches_with_the_gate(isthmus, compiler):
    compiler.failing["auto:smallest"] = GateError([Problem("digits.min_accuracy", "no variant keeps it")])
    done = isthmus("models/digits", "--min-accuracy", "0.98")
    assert [(it.recipe, it.min_accuracy) for it in compiler.asked] == [("auto:smallest", 0.98)]
    assert str(done.exception) == "--min-accuracy: no variant keeps it"


def test_several_recipes_are_shown_as_one_and_the_smallest_that_keeps_the_gate_is_chosen(isthmus, compiler):
    done = isthmus("models/digits", "-r", "float32", "-r", "int8", "-r", "int4", "-r", " int8 ", "--json")
    assert done.exit_code == 0, done.output
    data = json.loads(done.stdout)
    assert data["chosen"] == "int8"
    assert [row["recipe"] for row in data["variants"]] == ["float32", "int8", "int4"]
    assert [row["chosen"] for row in data["variants"]] == [False, True, False]
    assert data["variants"][1]["times_smaller"] == pytest.approx(330_344 / 86_912)
    assert len(compiler.asked) == 3
    assert data["release"] == _release("int8", 0.989, compiler.directory).digest


def test_a_record_that_a_search_left_does_not_lend_its_figures_to_the_recipe_asked_for(isthmus, compiler):
    compiler.others = (Candidate("float32", 330_344, 305_118, 0.991),)
    data = json.loads(isthmus("models/digits", "-r", "int8", "-r", "int4", "--json").stdout)
    assert [(row["recipe"], row["size_bytes"]) for row in data["variants"]] == [("int8", 86_912), ("int4", 45_688)]


def test_a_recipe_that_cannot_be_made_is_a_line_and_the_others_go_on(isthmus, compiler):
    compiler.failing["int4"] = SourceError([Problem("digits.recipe", "int4: DEPTHWISE_CONV_2D\ndoes not load")])
    done = isthmus("models/digits", "-r", "int8", "-r", "int4")
    assert done.exit_code == 0, done.output
    assert "✗ int4: int4: DEPTHWISE_CONV_2D does not load" in done.stdout
    assert "✓ chosen: int8" in done.stdout


def test_where_no_recipe_can_be_made_the_same_problem_is_said_once(isthmus, compiler):
    compiler.failing = {recipe: SourceError([Problem("digits.model", "cannot be read")]) for recipe in ("int8", "int4")}
    done = isthmus("models/digits", "-r", "int8", "-r", "int4")
    assert isinstance(done.exception, InputError)
    assert str(done.exception) == "MODEL: cannot be read"


def test_what_is_not_the_recipes_fault_is_raised_as_it_is(isthmus, compiler):
    compiler.failing["int4"] = PlatformError("the cache cannot be used")
    assert str(isthmus("models/digits", "-r", "int8", "-r", "int4").exception) == "the cache cannot be used"


def test_a_gate_that_fails_shows_the_table_first_and_then_says_by_how_much(isthmus):
    done = isthmus("models/digits", "-r", "int8", "--min-accuracy", "0.99")
    assert done.exit_code == 1
    assert "98.9 %" in done.stdout
    assert str(done.exception).startswith("--min-accuracy: the edge variant (int8) of digits is right on 0.9890 of 450 held-out examples")


def test_a_gate_that_no_recipe_keeps_lists_them_all(isthmus):
    done = isthmus("models/digits", "-r", "int8", "-r", "int4", "--min-accuracy", "0.999")
    assert isinstance(done.exception, GateError)
    assert "--min-accuracy" in str(done.exception)
    assert all(recipe in str(done.exception) for recipe in ("int8", "int4"))


def test_without_evaluation_data_the_smallest_of_several_is_chosen(isthmus, compiler):
    compiler.knows = False
    done = isthmus("models/digits", "-r", "int8", "-r", "int4")
    assert done.exit_code == 0, done.output
    assert "✓ chosen: int4: the smallest as shipped; there is no evaluation data to judge it by" in done.stdout


def test_the_page_is_written_where_it_was_asked_for(isthmus, tmp_path):
    pytest.importorskip("jinja2")
    page = tmp_path / "report.html"
    done = isthmus("models/digits", "-r", "int8", "--html", str(page))
    assert done.exit_code == 0, done.output
    assert "sha256:" in page.read_text(encoding="utf-8")
    assert f"page    {page}" in done.stdout


@pytest.mark.parametrize("page", [".", "no/such/folder/x.html"])
def test_a_page_that_cannot_be_written_is_noticed_before_the_work(isthmus, compiler, page):
    pytest.importorskip("jinja2")
    assert str(isthmus("models/digits", "--html", page).exception).startswith("--html: ")
    assert compiler.asked == []


def test_options_reach_the_compiler(isthmus, compiler, tmp_path):
    options = ["--name", "mine", "--version", "3", "--allow-unsafe", "--training-deadline-seconds", "60", "-r", "int8"]
    assert isthmus("models/digits", *options, "--evaluation", "models/digits/evaluation.npz").exit_code == 0
    (request,) = compiler.asked
    assert (request.model, request.version, request.allow_unsafe, request.training_deadline_seconds) == ("mine", 3, True, 60)
    assert request.evaluation == Path("models/digits/evaluation.npz")


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("models/digits", "digits"),
        ("models/digits/", "digits"),
        ("models/digits.v2", "digits.v2"),
        ("exported/my model.keras", "my-model"),
        ("m.tflite", "m"),
        ("zoo.models:tiny", "tiny"),
        ("sha256:" + "0" * 64, "release"),
        ("..  ", "model"),
    ],
)
def test_a_model_is_called_what_its_source_is_called(source, name):
    assert compiling.name_of(source) == name


def _real(*words: str) -> "subprocess.CompletedProcess[str]":
    environment = {**os.environ, "COLUMNS": "500"}
    command = [sys.executable, "-m", "isthmus.cli.main", "compile", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, cwd=PROJECT, env=environment)


def test_a_release_for_servers_alone_shows_its_saved_model_and_no_zeros(isthmus, compiler):
    compiler.serving_only = True
    done = isthmus("models/digits", "--recipe", "serving-only")
    assert done.exit_code == 0, done.output
    assert "✓ chosen: serving-only, as asked for" in done.stdout
    assert f"folder  {compiler.directory / 'serving' / '1'}" in done.stdout
    assert "no variant for devices: times of one REST predict call on x86_64 2 cores" in done.stdout
    assert not any(head in done.stdout for head in ("shipped", "smaller", "memory", "weight error"))
    data = json.loads(isthmus("models/digits", "--recipe", "serving-only", "--json").stdout)
    assert (data["chosen"], data["smaller_than"], "file" in data) == ("serving-only", None, False)
    assert data["folder"] == str(compiler.directory / "serving" / "1")


def test_everything_that_is_wrong_is_one_message_and_no_traceback():
    done = _real("models/digits", "-r", "int7", "-r", "prune:200%", "--evaluation", "none.npz")
    assert done.returncode == 1
    assert done.stdout == ""
    for part in ("unknown recipe 'int7'", "'prune:200%' is not an option", "--evaluation: there is no evaluation data 'none.npz'"):
        assert part in done.stderr
    assert "Traceback" not in done.stderr


def test_a_model_that_is_not_there_is_named_as_the_command_names_it():
    assert "MODEL: there is no model 'models/none'" in _real("models/none").stderr


@pytest.mark.parametrize("alone", ["auto", "serving-only"])
def test_what_stands_alone_is_refused_beside_other_recipes(isthmus, alone):
    assert f"--recipe: {alone} stands beside others" in str(isthmus("models/digits", "-r", alone, "-r", "int8").exception)


def test_a_gate_outside_0_to_1_is_a_usage_error():
    assert _real("models/digits", "--min-accuracy", "98").returncode == 2


def test_ctrl_c_cancels_every_compile_and_shows_no_traceback():
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", ENDLESS], stdout=pipe, stderr=pipe, text=True, cwd=PROJECT) as process:
        assert process.stdout is not None
        assert [process.stdout.readline() for _ in range(2)] == ["begun\n"] * 2
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=60)
    assert output == "cancelled\n" * 2
    assert "Traceback" not in errors
    assert process.returncode == 130
