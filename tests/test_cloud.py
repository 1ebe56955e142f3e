"""What a service in the cloud role refuses before anything is compiled."""

from dataclasses import replace
from pathlib import Path

import pytest

from isthmus import cloud
from isthmus.errors import SourceError
from isthmus.release.manifest import EDGE, FileEntry, Manifest, Record, Release, Timing, Variant

schema = pytest.importorskip("ai_edge_litert.schema_py_generated")
flatbuffer_utils = pytest.importorskip("ai_edge_litert.tools.flatbuffer_utils")
ARGUMENTS = {"requests_per_second": 10, "p95_ms": 50}


def test_a_file_for_devices_is_refused_before_it_is_compiled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, graph = schema.ModelT(), schema.SubGraphT()
    model.version, model.subgraphs = 3, [graph]
    flatbuffer_utils.write_model(model, str(tmp_path / "camera.tflite"))
    monkeypatch.chdir(tmp_path)
    _, problems = cloud.check("digits", {**ARGUMENTS, "model": "camera.tflite", "recipe": "float32"}, "services.digits")
    (problem,) = problems
    assert problem.path == "services.digits.model"
    assert "'camera.tflite' has an edge variant (.tflite) alone" in problem.what
    assert "EdgeFleetRollout" in problem.fix


def test_a_release_for_devices_alone_is_refused_by_one_clear_message(tmp_path: Path) -> None:
    file = FileEntry("edge/model.tflite", 1, "0" * 64)
    manifest = Manifest(
        model="digits",
        version=1,
        recipe="float32",
        signature="serving_default",
        inputs=(),
        outputs=(),
        variants=(Variant(EDGE, "float32", (file,), None, 0.0),),
        golden=replace(file, path="golden.json"),
        golden_tolerance=0.1,
        source_accuracy=None,
        evaluation_examples=0,
        tools=(),
    )
    release = Release(tmp_path, manifest, Record("x86_64 2 cores", "2026-01-01", None, Timing(1, 1, 1, 1)))
    with pytest.raises(SourceError, match=r"services\.digits\.model: release sha256:.* has an edge variant \(\.tflite\) alone") as raised:
        cloud._describe(release, "services.digits")
    assert len(raised.value.problems) == 1
