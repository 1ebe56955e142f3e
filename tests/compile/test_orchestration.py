"""A compile's jobs in their order, side by side, alone; and the caches around them. Without TensorFlow."""

import asyncio
import json
import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from toolchain.testing import patience

from isthmus.compile import CompileRequest, compile_release
from isthmus.compile.workers import pool as pool_module
from isthmus.compile.workers import sharing as sharing_module
from isthmus.compile.workers.pool import Pool
from isthmus.errors import GateError, InputError, ResourceFullError, SourceError
from isthmus.release.cache import ReleaseCache
from isthmus.release.cache_size import MAX_SIZE_VARIABLE
from isthmus.release.manifest import Release
from isthmus.release.shared_cache import SharedCache
from isthmus.release.store import Store, StoreAddress

pytestmark = pytest.mark.slow

PROJECT = Path(__file__).parents[2]
DEADLINE_SECONDS = 60
Compile = Callable[..., Any]


@pytest.fixture
def base(tmp_path: Path) -> Path:
    (tmp_path / "base" / "zoo").mkdir(parents=True)
    (tmp_path / "base" / "zoo" / "models.py").write_text("def build():\n    return None\n")
    return tmp_path / "base"


@pytest.fixture
async def compile_model(base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Compile]:
    """Compiles a model of that name with jobs that are quick, as a machine that has the given cache folder."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    pool = Pool(2, jobs="run_jobs:JOBS")
    pool_module._pools[asyncio.get_running_loop()] = pool
    monkeypatch.setattr(sharing_module, "_away", {})

    async def run(model: str, machine: str = "here", *, shared: SharedCache | None = None, **options: Any) -> Release:
        request = CompileRequest(model, "zoo.models:build", options.pop("recipe", "auto"), base_directory=base)
        say = options.pop("progress", lambda _: None)
        return await compile_release(request, ReleaseCache(tmp_path / machine, shared=shared), say, **options)

    yield run
    await pool.close()


def _notes(release: Release) -> list[tuple[str, str]]:
    """(job, process) in the order in which they began."""
    lines = release.record.machine_class.splitlines()
    return [(job, process) for job, process in (line.split() for line in lines)]


async def _until_hanging(cache: Path) -> int:
    """The process id of the worker whose job hangs."""
    deadline = patience.Deadline(DEADLINE_SECONDS)
    while not (found := _hanging(cache)):
        assert not deadline.over()
        await asyncio.sleep(0.05)
    return int(found)


def _hanging(cache: Path) -> str:
    return "".join(path.read_text() for path in cache.glob("work/*/tmp-*/partial"))


def _is_gone(pid: int) -> bool:
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def _left_over(folder: Path) -> list[Path]:
    return list((folder / "work").glob("*"))


async def test_every_recipe_is_tried_between_preparing_and_measuring(compile_model: Compile, tmp_path: Path) -> None:
    lines: list[str] = []
    release = await compile_model("m", progress=lines.append)
    jobs = [job for job, _ in _notes(release)]
    assert jobs[0] == "prepare"
    assert sorted(jobs[1:4]) == ["candidate-0", "candidate-1", "candidate-2"]
    assert jobs[4:] == ["time", "finish"]
    assert {"load it", "candidate 0", "candidate 1", "candidate 2", "measure serving 0 1 2"} <= set(lines)
    assert _left_over(tmp_path / "here") == []


async def test_what_runs_the_users_code_or_trains_has_a_worker_of_its_own(compile_model: Compile) -> None:
    """The source is a function, and the third recipe trains; the others may share workers, also with another model."""
    first, second = [_notes(await compile_model(name)) for name in ("a", "b")]
    processes = dict(first + [(f"b {job}", process) for job, process in second])
    own = [processes[name] for name in ("prepare", "candidate-2", "b prepare", "b candidate-2")]
    others = [process for name, process in processes.items() if not name.endswith(("prepare", "candidate-2"))]
    assert len(set(own)) == 4
    assert set(own) & set(others) == set()
    assert len(set(others)) <= 4
    assert processes["time"] in others


async def test_a_recipe_that_crashes_its_worker_is_out_and_the_others_go_on(compile_model: Compile) -> None:
    release = await compile_model("crash")
    lost = json.loads((release.directory / "golden.json").read_text())
    assert list(lost) == ["1"]
    assert "crashed on 'zoo.models:build' (SIGSEGV, int8)" in lost["1"]


async def test_the_only_recipe_that_crashes_its_worker_is_an_error_that_names_the_model(compile_model: Compile, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"one-crash-all\.model: .* crashed on 'zoo.models:build' \(SIGSEGV, float32\)"):
        await compile_model("one-crash-all")
    assert _left_over(tmp_path / "here") == []


async def test_a_gate_that_fails_is_the_same_error_here(compile_model: Compile) -> None:
    with pytest.raises(GateError, match="no recipe keeps it"):
        await compile_model("gate")


async def test_cancelling_ends_all_workers_of_the_compile_and_leaves_no_file(compile_model: Compile, tmp_path: Path) -> None:
    lines: list[str] = []
    task = asyncio.ensure_future(compile_model("hang", progress=lines.append))
    worker = await _until_hanging(tmp_path / "here")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert _is_gone(worker)
    assert _left_over(tmp_path / "here") == []


INTERRUPTED = """
import asyncio, signal, sys
from pathlib import Path
from isthmus.compile import CompileRequest, compile_release
from isthmus.compile.workers import pool
from isthmus.release.cache import ReleaseCache

async def main(base, cache):
    pool._pools[asyncio.get_running_loop()] = pool.Pool(2, jobs="run_jobs:JOBS")
    await compile_release(CompileRequest("hang", "zoo.models:build", "auto", base_directory=base), ReleaseCache(cache), lambda _: None)

signal.signal(signal.SIGINT, signal.default_int_handler)  # a test run in the background has it ignored
try:
    asyncio.run(main(Path(sys.argv[1]), Path(sys.argv[2])))
except KeyboardInterrupt:
    sys.exit(130)
"""


async def test_ctrl_c_ends_program_and_workers_at_once_and_leaves_no_file(base: Path, tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(PROJECT / "components"), str(Path(__file__).parent)])}
    cache = tmp_path / "here"
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", INTERRUPTED, str(base), str(cache), env=environment)
    try:
        worker = await _until_hanging(cache)
        started = time.monotonic()
        process.send_signal(signal.SIGINT)
        assert await asyncio.wait_for(process.wait(), DEADLINE_SECONDS) == 130
        assert time.monotonic() - started < patience.scaled(10)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert _is_gone(worker)
    assert _left_over(cache) == []


async def test_two_models_at_once_share_the_workers_and_a_model_asked_for_twice_is_compiled_once(compile_model: Compile) -> None:
    first, second, again = await asyncio.gather(compile_model("a"), compile_model("b"), compile_model("a"))
    assert first == again
    assert first.digest != second.digest
    assert first.record == again.record


async def test_another_machine_gets_what_was_compiled_and_compiles_nothing(compile_model: Compile, store: Store) -> None:
    shared = SharedCache(store)
    first = await compile_model("m", "first", shared=shared)
    lines: list[str] = []
    second = await compile_model("m", "second", shared=shared, progress=lines.append)
    assert lines == ["ask the shared cache"]
    assert (second.digest, second.record) == (first.digest, first.record)
    assert second.directory != first.directory
    assert await compile_model("m", "second", shared=shared, progress=pytest.fail) == second  # local now


async def test_a_release_by_digest_comes_out_of_the_shared_cache(compile_model: Compile, store: Store, tmp_path: Path) -> None:
    shared = SharedCache(store)
    first = await compile_model("m", "first", shared=shared)
    request = CompileRequest("m", first.digest, "int8", base_directory=tmp_path)
    second = await compile_release(request, ReleaseCache(tmp_path / "second", shared=shared), pytest.fail)
    assert second.digest == first.digest
    with pytest.raises(SourceError, match="there is no sound release"):
        await compile_release(request, ReleaseCache(tmp_path / "third"), pytest.fail)


async def test_what_is_damaged_in_the_shared_cache_is_compiled_and_mended(compile_model: Compile, store: Store) -> None:
    shared = SharedCache(store)
    first = await compile_model("m", "first", shared=shared)
    store.put(f"cache/releases/{first.digest.removeprefix('sha256:')}/edge/model.tflite", b"x")
    warnings: list[str] = []
    second = await compile_model("m", "second", shared=shared, warn=warnings.append)
    assert second.digest == first.digest
    assert len(warnings) == 1
    assert "is damaged, and is written anew after the compile" in warnings[0]
    assert (await compile_model("m", "third", shared=shared, warn=pytest.fail)).record == second.record


async def test_who_compiled_at_the_same_time_and_came_second_plans_with_the_first_ones_times(
    compile_model: Compile, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared = SharedCache(store)
    first = await compile_model("m", "first", shared=shared)
    with monkeypatch.context() as patch:
        patch.setattr(SharedCache, "fetch", lambda *_: False)  # as if it had asked before the first one wrote
        second = await compile_model("m", "second", shared=shared)
    assert second.record == first.record


async def test_a_store_that_cannot_be_reached_is_one_warning_and_no_failure(compile_model: Compile) -> None:
    nobody = SharedCache(Store(StoreAddress("http://127.0.0.1:1", "us-east-1", "me", "hidden"), "builds"))
    warnings: list[str] = []
    for name in ("a", "b"):
        assert await compile_model(name, shared=nobody, warn=warnings.append)
    assert len(warnings) == 1
    assert warnings[0].startswith("the shared cache is not used: cannot reach the store at http://127.0.0.1:1")
    assert "hidden" not in warnings[0]


async def test_a_compile_that_is_cancelled_while_it_uploads_leaves_nothing_readable(
    compile_model: Compile, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared = SharedCache(store)
    uploading, cancelled = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()
    put = Store.put

    def slow(self: Store, key: str, data: bytes | Path, *, only_new: bool = False) -> bool:
        loop.call_soon_threadsafe(uploading.set)
        assert cancelled.wait(DEADLINE_SECONDS)
        return put(self, key, data, only_new=only_new)

    monkeypatch.setattr(Store, "put", slow)
    task = asyncio.ensure_future(compile_model("m", shared=shared))
    await asyncio.wait_for(uploading.wait(), DEADLINE_SECONDS)
    task.cancel()
    loop.call_soon(cancelled.set)
    with pytest.raises(asyncio.CancelledError):
        await task
    assert [key for key in store.list("") if "/keys/" in key or "/digests/" in key] == []
    assert _left_over(tmp_path / "here") == []


async def test_the_cache_is_kept_to_the_size_that_a_variable_says(
    compile_model: Compile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from isthmus.release import cache as cache_module

    monkeypatch.setenv(MAX_SIZE_VARIABLE, "3kB")
    first = await compile_model("aaaa")
    for descriptor in cache_module._holds.values():  # as if the program had ended
        os.close(descriptor)
    cache_module._holds.clear()
    second = await compile_model("bbbb")
    assert ReleaseCache(tmp_path / "here").find(first.digest) is None
    assert ReleaseCache(tmp_path / "here").find(second.digest) == second
    monkeypatch.setenv(MAX_SIZE_VARIABLE, "plenty")
    with pytest.raises(InputError, match="ISTHMUS_CACHE_MAX_SIZE: 'plenty' is not a size"):
        await compile_model("cccc")


async def test_more_memory_than_there_is_is_an_error_that_says_so(compile_model: Compile, monkeypatch: pytest.MonkeyPatch) -> None:
    async def killed(*_: Any, **__: Any) -> None:
        from isthmus.compile.workers.process import WorkerLostError

        raise WorkerLostError(-9, b"")

    monkeypatch.setattr(Pool, "run", killed)
    with pytest.raises(ResourceFullError, match="as a rule because memory ran out"):
        await compile_model("m")


async def test_another_recipe_for_devices_does_not_measure_the_same_saved_model_again(compile_model: Compile) -> None:
    lines: list[str] = []
    first = await compile_model("m", recipe="int8", progress=lines.append)
    second = await compile_model("m", recipe="int4", progress=lines.append)
    assert [line for line in lines if line.startswith("measure")] == ["measure serving 0", "measure 0"]
    assert first.digest != second.digest
    assert first.record.serving == second.record.serving
    assert first.record.edge != second.record.edge


async def test_recipes_that_are_compiled_side_by_side_measure_their_saved_model_once(compile_model: Compile) -> None:
    lines: list[str] = []
    recipes = ("int8", "int4", "float16")
    releases = await asyncio.gather(*(compile_model("m", recipe=recipe, progress=lines.append) for recipe in recipes))
    assert sorted(line for line in lines if line.startswith("measure")) == ["measure 0", "measure 0", "measure serving 0"]
    assert len({release.record.serving for release in releases}) == 1


async def test_what_was_measured_and_then_evicted_is_not_measured_again(compile_model: Compile, tmp_path: Path) -> None:
    first = await compile_model("m", recipe="int8")
    shutil.rmtree(tmp_path / "here" / "entries")
    lines: list[str] = []
    second = await compile_model("m", recipe="int8", progress=lines.append)
    assert [line for line in lines if line.startswith("measure")] == []
    assert (second.record.serving, second.record.edge) == (first.record.serving, first.record.edge)
