"""Compiling as a preview does it: in a worker process, into the cache."""

import asyncio
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from toolchain.testing import patience

from isthmus.compile import CompileRequest, check_accuracy, compile_release
from isthmus.compile.workers.process import worker_environment
from isthmus.errors import IsthmusError, PlatformError, ResourceFullError, SourceError
from isthmus.release.cache import ReleaseCache
from isthmus.release.manifest import EDGE, SERVING

pytestmark = pytest.mark.slow
# What a warm preview must not load: it costs more than all that it does.
WARM_FORBIDDEN = ("tensorflow", "keras", "numpy", "pulumi", "ai_edge_litert", "litert_quantizer", "boto3", "botocore")
LAST_STEP = "choose, and write the release"


def _request(project: Path, source: str = "models/digits", recipe: str = "int8", model: str = "digits") -> CompileRequest:
    return CompileRequest(model, source, recipe, base_directory=project)


def _left_over(cache: ReleaseCache) -> list[Path]:
    return list((cache.directory / "work").glob("*"))


def _bytecode(folder: Path) -> list[Path]:
    return list(folder.rglob("__pycache__"))


def test_the_digits_release_has_the_figures_it_promises(digits_release: Any) -> None:
    manifest = digits_release.release.manifest
    serving, edge = manifest.variant(SERVING), manifest.variant(EDGE)
    assert manifest.evaluation_examples == 450
    assert manifest.source_accuracy is not None
    assert manifest.source_accuracy >= 0.985
    assert serving.accuracy is not None
    assert serving.accuracy >= 0.97
    assert edge.accuracy is not None
    assert edge.accuracy >= 0.97
    assert edge.size_bytes * 3 < serving.size_bytes
    assert (serving.recipe, edge.recipe) == ("float32", "int8")
    assert [(spec.name, spec.shape) for spec in manifest.outputs] == [("probabilities", (-1, 10))]
    record = digits_release.release.record
    assert 0 < record.edge.p50_ms <= record.edge.p95_ms
    assert 0 < record.serving.p50_ms <= record.serving.p95_ms
    assert record.service_rate_per_second > 0


def test_the_golden_vectors_name_the_right_digits(digits_release: Any) -> None:
    golden = json.loads((digits_release.release.directory / "golden.json").read_text())
    assert golden["signature"] == "serving_default"
    assert len(golden["inputs"]["image"]) == len(golden["outputs"]["probabilities"]) == 8
    assert all(abs(sum(row) - 1) < 0.01 for row in golden["outputs"]["probabilities"])


def test_two_processes_at_once_compile_once(digits_release: Any) -> None:
    first, second = digits_release.results
    assert first["digest"] == second["digest"]
    compiled = [LAST_STEP in got["progress"] for got in (first, second)]
    assert sorted(compiled) == [False, True]
    waited = first if compiled[1] else second
    assert waited["progress"] == ["another process compiles digits: waiting for it"]


def test_a_damaged_entry_is_compiled_again_and_from_elsewhere_to_the_same_digest(
    digits_release: Any, preview: Any, project: Path, tmp_path: Path
) -> None:
    """Another folder, another process, and a cache whose entry was cut short."""
    copy = tmp_path / "somewhere" / "else"
    shutil.copytree(project / "models" / "digits", copy)
    before = {path: path.stat().st_mtime_ns for path in copy.rglob("*")}
    cache = ReleaseCache(tmp_path / "cache")
    shutil.copytree(digits_release.cache.directory, cache.directory)
    model = cache.directory / "entries" / digits_release.release.digest.removeprefix("sha256:") / "edge" / "model.tflite"
    sound = model.read_bytes()
    model.write_bytes(sound[: len(sound) // 2])

    again = preview.result(preview.start(tmp_path / "somewhere", "else", cache.directory))
    assert again["progress"][-1] == LAST_STEP
    assert again["digest"] == digits_release.release.digest
    assert model.read_bytes() == sound
    assert {path: path.stat().st_mtime_ns for path in copy.rglob("*")} == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cache", "somewhere"]


def test_a_warm_compile_imports_no_tensorflow(digits_release: Any, preview: Any, project: Path) -> None:
    warm = preview.result(preview.start(project, "models/digits", digits_release.cache.directory))
    assert warm["digest"] == digits_release.release.digest
    assert warm["progress"] == []
    assert "isthmus.compile" in warm["modules"]
    assert [name for name in warm["modules"] if name.partition(".")[0] in WARM_FORBIDDEN] == []


async def test_a_release_by_digest_is_never_compiled(digits_release: Any, tmp_path: Path) -> None:
    request = _request(tmp_path, digits_release.release.digest)
    assert await compile_release(request, digits_release.cache, pytest.fail) == digits_release.release
    with pytest.raises(SourceError, match="there is no sound release"):
        await compile_release(request, ReleaseCache(tmp_path / "empty"), pytest.fail)


async def test_a_warm_compile_does_not_block_the_loop(digits_release: Any, project: Path) -> None:
    calls = (compile_release(_request(project), digits_release.cache, pytest.fail) for _ in range(4))
    releases = await asyncio.gather(*calls)
    assert releases == [digits_release.release] * 4


def test_accuracy_below_the_gate_says_by_how_much(digits_release: Any) -> None:
    release = digits_release.release
    assert check_accuracy(release, 0.97, "digits") == []
    problems = check_accuracy(release, 1.0, "digits")
    assert [problem.path for problem in problems] == ["digits.min_accuracy"] * 2
    assert "0.9911 of 450 held-out examples, 0.0089 too few" in str(problems[0])


async def test_a_source_that_raises_is_told_in_one_message_and_saw_no_credentials(
    sources: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hidden")
    monkeypatch.setenv("PULUMI_CONFIG_PASSPHRASE", "hidden")
    cache = ReleaseCache(tmp_path / "cache")
    with pytest.raises(SourceError) as raised:
        await compile_release(_request(sources, "zoo.models:credentials"), cache, lambda _: None)
    assert str(raised.value) == (
        "digits.model: zoo.models:credentials raised ValueError: none seen at zoo/models.py:39; expected a Keras model"
    )
    assert "hidden" not in worker_environment(dict(os.environ), tmp_path).values()
    assert _left_over(cache) == []
    assert _bytecode(sources) == []


async def test_a_worker_that_dies_is_reported_with_its_log(sources: Path, tmp_path: Path) -> None:
    cache = ReleaseCache(tmp_path / "cache")
    with pytest.raises(IsthmusError, match="ended with code 9") as raised:
        await compile_release(_request(sources, "zoo.models:dies"), cache, lambda _: None)
    assert str(raised.value).endswith(f"log: {next(cache.directory.glob('logs/*.log'))}")
    assert _left_over(cache) == []


async def test_a_model_that_needs_more_memory_than_there_is_is_an_error_that_says_so(tmp_path: Path) -> None:
    (tmp_path / "zoo").mkdir()
    (tmp_path / "zoo" / "models.py").write_text("def build():\n    return bytearray(1 << 48)\n")
    cache = ReleaseCache(tmp_path / "cache")
    with pytest.raises(ResourceFullError, match="the memory is not enough to compile digits"):
        await compile_release(_request(tmp_path, "zoo.models:build"), cache, lambda _: None)
    assert _left_over(cache) == []


async def test_a_training_that_never_ends_is_ended_by_its_deadline(sources: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(sources / "single", folder)
    (folder / "model.py").write_text("EPOCHS = 2\n\n\ndef fit(model, epochs, callbacks=()):\n    while True:\n        pass\n")
    cache = ReleaseCache(tmp_path / "cache")
    request = CompileRequest("digits", "model", "prune:80%+int8", base_directory=tmp_path, training_deadline_seconds=1)
    with pytest.raises(SourceError, match="training_deadline_seconds"):
        await compile_release(request, cache, lambda _: None)
    assert _left_over(cache) == []


async def _until_slow(cache: ReleaseCache) -> int:
    """The process id of a worker that runs the `slow` function."""
    deadline = patience.Deadline(120)
    while not deadline.over():
        for partial in cache.directory.glob("work/*/tmp-*/partial"):
            if text := partial.read_text():
                return int(text)
        await asyncio.sleep(0.1)
    raise TimeoutError("the worker did not get to the function")


async def _has_ended(pid: int) -> bool:
    deadline = patience.Deadline(10)
    while psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
        if deadline.over():
            return False
        await asyncio.sleep(0.05)
    return True


async def test_a_cancelled_compile_ends_its_worker_and_leaves_no_files(sources: Path, tmp_path: Path) -> None:
    cache = ReleaseCache(tmp_path / "cache")
    task = asyncio.ensure_future(compile_release(_request(sources, "zoo.models:slow"), cache, lambda _: None))
    worker = await _until_slow(cache)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await _has_ended(worker)
    assert _left_over(cache) == []


async def test_a_worker_ends_with_the_process_that_started_it(preview: Any, sources: Path, tmp_path: Path) -> None:
    cache = ReleaseCache(tmp_path / "cache")
    process = preview.start(sources, "zoo.models:slow", cache.directory)
    worker = await _until_slow(cache)
    process.kill()
    process.communicate()
    assert await _has_ended(worker)
    with cache.work_directory() as work:  # the next one sweeps what was left
        assert list((cache.directory / "work").glob("*[!k]")) == [work]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 150 kB: less than the digits release needs."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=150k", "tmpfs", str(folder)], capture_output=True, text=True, check=False)
    if mounted.returncode != 0:
        pytest.skip(f"a small disk cannot be mounted here: {mounted.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


async def test_a_full_disk_is_said_plainly_and_leaves_no_files(project: Path, small_disk: Path) -> None:
    cache = ReleaseCache(small_disk)
    with pytest.raises(ResourceFullError, match="the disk is full") as raised:
        await compile_release(_request(project), cache, lambda _: None)
    assert "ISTHMUS_CACHE_DIR" in str(raised.value)
    assert _left_over(cache) == []


async def test_a_cache_that_cannot_be_written_is_named(project: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(PlatformError, match=r"the cache folder .* cannot be used"):
        await compile_release(_request(project), ReleaseCache(tmp_path / "file" / "cache"), lambda _: None)
