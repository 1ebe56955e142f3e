"""What a service in the cloud role refuses before anything is compiled, and what a fleet refuses beside it."""

from dataclasses import replace
from pathlib import Path

import pytest

from isthmus import cloud, edge
from isthmus.errors import SourceError
from isthmus.release.manifest import EDGE, SERVING, FileEntry, Manifest, Record, Release, Timing, Variant

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


def _release(folder: Path, kind: str) -> Release:
    """A release with one variant alone."""
    file, timing = FileEntry("model", 1_500, "0" * 64), Timing(1, 1, 1, 1)
    manifest = Manifest(
        model="digits",
        version=1,
        recipe="float32",
        signature="serving_default",
        inputs=(),
        outputs=(),
        variants=(Variant(kind, "float32", (file,), None, 0.0),),
        golden=replace(file, path="golden.json"),
        golden_tolerance=0.1,
        source_accuracy=None,
        evaluation_examples=0,
        tools=(),
    )
    return Release(folder, manifest, Record("x86_64 2 cores", "2026-01-01", *((timing, None) if kind == SERVING else (None, timing))))


def test_a_release_for_devices_alone_is_refused_by_one_clear_message(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"services\.digits\.model: release sha256:.* has an edge variant \(\.tflite\) alone") as raised:
        cloud._describe(_release(tmp_path, EDGE), "services.digits")
    assert len(raised.value.problems) == 1


def test_a_release_for_servers_alone_is_served_and_refused_by_a_fleet(tmp_path: Path) -> None:
    release = _release(tmp_path, SERVING)
    assert "serving variant (float32): accuracy unknown (source unknown), 1.5 kB, one request p50 1.00 ms" in cloud._describe(
        release, "s.d"
    )

    with pytest.raises(SourceError, match=r"fleets\.cameras\.model: release sha256:.* was compiled for servers alone") as raised:
        edge._described(release, "fleets.cameras")
    (problem,) = raised.value.problems
    assert problem.expected == "a release with an edge variant"
    assert "CloudModelService" in problem.fix
