"""The four jobs of a compile, done one after the other in this process on small real models."""

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from isthmus.compile import CompileRequest
from isthmus.compile.key import resolve
from isthmus.errors import GateError, SourceError
from isthmus.release.manifest import EDGE, MANIFEST_NAME, RECORD_NAME, SERVING, Manifest, Record, Release

pytestmark = pytest.mark.slow
Compile = Callable[..., Release]


class Work:
    """One compile's folder, and its jobs."""

    def __init__(self, folder: Path, base: Path, source: str, recipe: str, **options: Any) -> None:
        from isthmus.compile.build.jobs import JOBS

        self.jobs, self.folder, self.said = JOBS, folder, list[str]()
        request = CompileRequest("tiny", source, recipe, base_directory=base, **options)
        job = {"request": asdict(request), "source": asdict(resolve(request)), "work": folder}
        self.common = json.loads(json.dumps(job, default=str))

    def do(self, kind: str, **more: Any) -> dict[str, Any]:
        result = self.jobs[kind]({**self.common, **more}, self.said.append)
        return json.loads(json.dumps(result))

    def release(self) -> Release:
        folder = self.folder / "release"
        manifest = Manifest.from_bytes((folder / MANIFEST_NAME).read_bytes())
        return Release(folder, manifest, Record.from_bytes((folder / RECORD_NAME).read_bytes()))


@pytest.fixture(scope="session")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder `model` whose model is right on all of 40 examples but four."""
    keras = pytest.importorskip("keras")
    folder = tmp_path_factory.mktemp("classifier") / "model"
    folder.mkdir()
    keras.utils.set_random_seed(4)
    image = keras.Input((16,), name="image")
    hidden = keras.layers.Dense(64, "relu", name="hidden")(image)
    model = keras.Model(image, keras.layers.Dense(3, "softmax", name="label")(hidden))
    model.save(folder / "model.keras")
    x = np.random.default_rng(4).random((40, 16), dtype=np.float32)
    answers = np.asarray(model(x)).argmax(axis=1)
    answers[:4] = (answers[:4] + 1) % 3
    np.savez(folder / "evaluation.npz", x=x, y=answers)
    return folder.parent


def test_the_record_has_the_proof_of_the_recipe(compile_here: Compile, classifier: Path) -> None:
    release = compile_here("model", classifier, "int8")
    record, edge = release.record, release.manifest.variant(EDGE)
    (candidate,) = record.candidates
    assert candidate.recipe == edge.recipe == release.manifest.recipe == "int8"
    assert candidate.problem == ""
    assert candidate.size_bytes == edge.size_bytes
    assert 0 < candidate.shipped_bytes < candidate.size_bytes
    assert release.manifest.source_accuracy == 0.9
    assert candidate.accuracy == edge.accuracy
    assert 0 < candidate.mean_difference < candidate.max_difference < 0.1
    assert (candidate.p50_ms, candidate.p95_ms) == (record.edge.p50_ms, record.edge.p95_ms)
    assert "FULLY_CONNECTED" in candidate.operators
    assert {layer.bits for layer in candidate.layers} == {8}
    assert all(0 < layer.squared_error <= layer.min_max_error for layer in candidate.layers)
    assert sum(map(sum, candidate.confusion)) == sum(map(sum, record.source_confusion)) == 40
    assert record.confidences is not None
    assert record.confidences.examples == 40
    assert sum(group.both + group.edge for group in record.confidences.groups) == 40 * edge.accuracy
    assert 0 < record.confidences.largest_difference < 0.1
    assert release.manifest.calibration is not None
    assert release.manifest.calibration.scores == "probabilities"
    assert record.metric == "accuracy"
    assert record.reason
    assert record.serving is not None
    assert record.serving.scv >= 0


def test_nothing_that_is_measured_in_time_is_in_the_manifest(compile_here: Compile, classifier: Path) -> None:
    first, second = (compile_here("model", classifier, "int8", name=name) for name in ("first", "second"))
    assert first.digest == second.digest
    assert first.record != second.record


def test_auto_tries_several_recipes_and_takes_one_that_keeps_the_gate(compile_here: Compile, classifier: Path) -> None:
    release = compile_here("model", classifier, "auto", min_accuracy=0.85)
    tried = release.record.candidates
    assert len(tried) >= 3
    chosen = next(candidate for candidate in tried if candidate.recipe == release.manifest.recipe)
    assert chosen.accuracy is not None
    assert chosen.accuracy >= 0.85
    assert chosen.size_bytes == release.manifest.variant(EDGE).size_bytes
    sound = [candidate for candidate in tried if not candidate.problem]
    assert all(candidate.p50_ms > 0 and candidate.size_bytes > 0 for candidate in sound)
    named = compile_here("model", classifier, chosen.recipe, name="named")
    assert named.digest == release.digest  # who names what auto found gets the same release


def test_a_gate_that_no_recipe_keeps_lists_them_all(compile_here: Compile, classifier: Path) -> None:
    with pytest.raises(GateError) as raised:
        compile_here("model", classifier, "auto", min_accuracy=0.99)
    for recipe in ("float32", "int8", "int4"):
        assert recipe in str(raised.value)


def test_candidates_that_are_out_stand_in_the_table_with_their_problem(
    tmp_path: Path, classifier: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = Work(tmp_path, classifier, "model", "auto")
    recipes = work.do("prepare")["recipes"]
    real = work.jobs["candidate"].__globals__["compress"]

    def unquantised(plain: bytes, storage: str, calibration: Any, where: str) -> Any:
        return real(plain, "float32" if storage == "int4" else storage, calibration, where)

    monkeypatch.setitem(work.jobs["candidate"].__globals__, "compress", unquantised)
    refused, lost = recipes.index("int4"), recipes.index("int8-weights")
    sound = ["serving"]
    for index in range(len(recipes)):
        if index != lost:
            made = work.do("candidate", index=index)
            assert ("did not take" in made["problem"]) == (index == refused) == (made["digest"] == "")
            sound += [str(index)] if made["digest"] else []
    work.do("finish", times=work.do("time", variants=sound), lost={str(lost): "the system killed its worker"})
    problems = {candidate.recipe: candidate.problem for candidate in work.release().record.candidates if candidate.problem}
    assert set(problems) == {"int4", "int8-weights"}
    assert "recipe int4 did not take on this model" in problems["int4"]
    assert problems["int8-weights"] == "the system killed its worker"
    assert "int4: write the weights as int4" in work.said


def test_where_no_candidate_is_sound_each_says_why(tmp_path: Path, classifier: Path) -> None:
    work = Work(tmp_path, classifier, "model", "auto")
    count = len(work.do("prepare")["recipes"])
    times = work.do("time", variants=["serving"])
    with pytest.raises(SourceError) as raised:
        work.do("finish", times=times, lost={str(index): f"reason {index}" for index in range(count)})
    assert len(raised.value.problems) == count
    assert {problem.fix for problem in raised.value.problems} == {"name recipe serving-only where servers alone shall run it"}
    assert "reason 1" in str(raised.value)
    assert not (tmp_path / "release").exists()


def test_the_only_recipe_raises_what_is_wrong_with_it(tmp_path: Path, classifier: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    work = Work(tmp_path, classifier, "model", "int8")
    work.do("prepare")
    monkeypatch.setitem(work.jobs["candidate"].__globals__, "prove", _refuse)
    with pytest.raises(SourceError, match="no good"):
        work.do("candidate", index=0)


def _refuse(*_: Any, where: str, **__: Any) -> None:
    from isthmus.errors import Problem

    raise SourceError([Problem(where, "no good")])


def test_a_file_for_devices_makes_a_release_without_a_serving_variant(compile_here: Compile, classifier: Path, tmp_path: Path) -> None:
    plain = compile_here("model", classifier, "float32", name="plain")
    (tmp_path / "ready").mkdir()
    (tmp_path / "ready" / "model.tflite").write_bytes((plain.directory / EDGE / "model.tflite").read_bytes())
    (tmp_path / "ready" / "evaluation.npz").write_bytes((classifier / "model" / "evaluation.npz").read_bytes())
    release = compile_here("ready", tmp_path, "int8", name="edge")
    assert [variant.kind for variant in release.manifest.variants] == [EDGE]
    assert release.record.serving is None
    assert not (release.directory / SERVING).exists()
    assert release.manifest.variant(EDGE).accuracy == pytest.approx(0.9, abs=0.05)
    assert release.record.candidates[0].layers


def test_a_step_that_changes_the_network_without_training_counts_as_none(compile_here: Compile, classifier: Path) -> None:
    release = compile_here("model", classifier, "slim+int8", name="slim-work")
    assert release.record.candidates[0].training_seconds == 0


def test_the_metric_that_the_data_name_is_measured(compile_here: Compile, classifier: Path, tmp_path: Path) -> None:
    import keras

    keras.utils.set_random_seed(5)
    (tmp_path / "ratings").mkdir()
    both = keras.Input((8,), name="both")
    model = keras.Model(both, keras.layers.Dense(1, name="rating")(keras.layers.Dense(32, "relu")(both)))
    model.save(tmp_path / "ratings" / "model.keras")
    x = np.random.default_rng(5).random((30, 8), dtype=np.float32)
    y = np.asarray(model(x))[:, 0] + np.linspace(-0.05, 0.05, 30)
    np.savez(tmp_path / "ratings" / "evaluation.npz", x=x, y=y, metric="r2")
    release = compile_here("ratings", tmp_path, "int8", name="ratings-work")
    assert release.record.metric == "r2"
    assert release.manifest.source_accuracy is not None
    assert 0.5 < release.manifest.source_accuracy < 1
    assert release.manifest.source_accuracy == round(release.manifest.source_accuracy, 4)
    assert release.record.candidates[0].confusion == ()
