"""Workers are used again, side by side or alone, and none outlives its use."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from filelock import FileLock
from toolchain.testing import patience

from isthmus.compile.workers import pool as pool_module
from isthmus.compile.workers.pool import JobDeadlineError, JobError, Pool
from isthmus.compile.workers.process import WorkerLostError, WorkerProcess, worker_environment

pytestmark = pytest.mark.slow
PROJECT = Path(__file__).parents[3]
JOBS = "pool_jobs:JOBS"
DEADLINE_SECONDS = 60


@pytest.fixture(autouse=True)
def _jobs_can_be_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[1]))


@pytest.fixture
async def pool() -> AsyncIterator[Pool]:
    pool = Pool(2, jobs=JOBS)
    yield pool
    await pool.close()


def _silent(_: str) -> None:
    pass


def _files(folder: Path) -> list[Path]:
    return list(folder.iterdir())


async def _until(condition: Callable[[], Any]) -> Any:
    deadline = patience.Deadline(DEADLINE_SECONDS)
    while not (found := condition()):
        assert not deadline.over(), "it did not come to pass"
        await asyncio.sleep(0.02)
    return found


async def _as_long_as_a_worker_takes(tmp_path: Path) -> None:
    """A worker of another pool starts, does a job and ends: what was going to start here meanwhile would have, too."""
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    elsewhere = Pool(1, jobs=JOBS)
    try:
        await elsewhere.run("who", {}, folder, _silent)
    finally:
        await elsewhere.close()


def _is_gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


async def test_a_worker_is_used_again_for_the_next_job(pool: Pool, tmp_path: Path) -> None:
    found = [await pool.run("who", {}, tmp_path, _silent) for _ in range(3)]
    assert len({it["pid"] for it in found}) == 1
    assert [it["jobs"] for it in found] == [1, 2, 3]


async def test_jobs_run_side_by_side_up_to_the_number_of_workers(pool: Pool, tmp_path: Path) -> None:
    """Two jobs that each wait for the other's file only come to an end together; a third waits for a free worker."""
    go = tmp_path / "go"
    files = [tmp_path / name for name in "abc"]
    tasks = [asyncio.ensure_future(pool.run("count", {"file": str(file), "until": str(go)}, tmp_path, _silent)) for file in files]
    await _until(lambda: sum(file.exists() for file in files) == 2)
    await _as_long_as_a_worker_takes(tmp_path)
    assert sum(file.exists() for file in files) == 2
    go.touch()
    assert len({done["pid"] for done in await asyncio.gather(*tasks)}) == 2


async def test_progress_and_results_come_through_whatever_is_printed(pool: Pool, tmp_path: Path) -> None:
    lines: list[str] = []
    job = {"text": "é" * 200_000}  # more than a pipe holds
    assert await pool.run("echo", job, tmp_path, lines.append) == job
    assert lines == ["half"]
    assert await pool.run("read_input", {}, tmp_path, _silent) == {"read": ""}


async def test_a_job_has_a_temporary_folder_of_its_own_and_nothing_stays(pool: Pool, tmp_path: Path) -> None:
    found = [await pool.run("who", {}, tmp_path, _silent) for _ in range(2)]
    assert len({it["temporary"] for it in found}) == 2
    assert all(Path(it["temporary"]).parent == tmp_path and it["cwd"] == it["temporary"] for it in found)
    assert _files(tmp_path) == []


async def test_a_worker_sees_no_credentials(pool: Pool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hidden")
    monkeypatch.setenv("ISTHMUS_SHARED_CACHE_SECRET_KEY", "hidden")
    found = await pool.run("who", {}, tmp_path, _silent)
    assert [name for name in found["environment"] if name.startswith(("AWS", "ISTHMUS", "PULUMI"))] == []
    assert "hidden" not in worker_environment(os.environ, tmp_path).values()


async def test_a_fresh_job_has_a_worker_that_did_nothing_before_and_does_nothing_after(pool: Pool, tmp_path: Path) -> None:
    first = await pool.run("who", {}, tmp_path, _silent)
    fresh = await pool.run("who", {}, tmp_path, _silent, fresh=True)
    later = await pool.run("who", {}, tmp_path, _silent)
    assert fresh["jobs"] == 1
    assert fresh["pid"] not in {first["pid"], later["pid"]}
    assert later == first | {"jobs": 2, "temporary": later["temporary"], "cwd": later["cwd"]}
    assert _is_gone(fresh["pid"])


async def test_there_are_never_more_workers_than_allowed(pool: Pool, tmp_path: Path) -> None:
    me = psutil.Process()
    before = len(me.children())
    for _ in range(2):
        await asyncio.gather(*(pool.run("who", {}, tmp_path, _silent) for _ in range(2)))
        await pool.run("who", {}, tmp_path, _silent, fresh=True)
        assert len([child for child in me.children() if child.status() != psutil.STATUS_ZOMBIE]) - before <= 2


async def test_a_worker_that_is_started_ahead_does_the_next_job_that_finds_none(pool: Pool, tmp_path: Path) -> None:
    go, file = tmp_path / "go", tmp_path / "number"
    busy = asyncio.ensure_future(pool.run("count", {"file": str(file), "until": str(go)}, tmp_path, _silent, ahead=True))
    await _until(file.exists)
    (ahead,) = pool._idle
    assert (await pool.run("who", {}, tmp_path, _silent, fresh=True, ahead=True))["pid"] == ahead.process.pid
    go.touch()
    await busy
    assert len(pool._all) <= 2


async def _watched(pool: Pool, work: Path, *, alone: bool, **watch: Any) -> tuple[dict[str, Any], asyncio.Future[Any]]:
    """A job that watches another one at work; and that other one, which goes on until WORK/go appears."""
    job = {"file": str(work / "number"), "until": str(work / "go")}
    busy = asyncio.ensure_future(pool.run("count", job, work, _silent))
    await _until((work / "number").exists)
    try:
        return await pool.run("watch", {"file": job["file"], **watch}, work, _silent, alone=alone), busy
    except BaseException:
        (work / "go").touch()
        await busy
        raise


async def test_beside_a_job_that_is_alone_all_others_stand_still_and_go_on_after_it(pool: Pool, tmp_path: Path) -> None:
    found, busy = await _watched(pool, tmp_path, alone=True)
    assert found == {"stopped": True}
    number = (tmp_path / "number").read_text()
    await _until(lambda: (tmp_path / "number").read_text() != number)
    (tmp_path / "go").touch()
    await busy


async def test_beside_a_job_that_is_not_alone_they_do_not(pool: Pool, tmp_path: Path) -> None:
    """The control to the test above."""
    found, busy = await _watched(pool, tmp_path, alone=False)
    (tmp_path / "go").touch()
    await busy
    assert found == {"stopped": False}


async def test_the_others_go_on_too_when_the_job_alone_fails(pool: Pool, tmp_path: Path) -> None:
    with pytest.raises(JobError):
        await _watched(pool, tmp_path, alone=True, fail=True)  # returns only once the other job has ended


async def test_the_others_go_on_too_when_the_job_alone_is_cancelled(pool: Pool, tmp_path: Path) -> None:
    job = {"file": str(tmp_path / "number"), "until": str(tmp_path / "go")}
    busy = asyncio.ensure_future(pool.run("count", job, tmp_path, _silent))
    said: list[str] = []
    alone = asyncio.ensure_future(pool.run("slow", {}, tmp_path, said.append, alone=True))
    await _until(lambda: said)
    alone.cancel()
    with pytest.raises(asyncio.CancelledError):
        await alone
    (tmp_path / "go").touch()
    await busy


async def test_no_worker_starts_while_a_job_is_alone(pool: Pool, tmp_path: Path) -> None:
    said: list[str] = []
    alone = asyncio.ensure_future(pool.run("slow", {}, tmp_path, said.append, alone=True))
    await _until(lambda: said)
    other = asyncio.ensure_future(pool.run("who", {}, tmp_path, _silent))
    await _as_long_as_a_worker_takes(tmp_path)
    assert len([child for child in psutil.Process().children() if "isthmus.compile.workers.worker" in child.cmdline()]) == 1
    alone.cancel()
    assert (await other)["jobs"] == 1


async def test_jobs_alone_take_turns_across_pools_and_say_that_they_wait(tmp_path: Path) -> None:
    """Two pools stand for two processes: what they share is the lock in the cache."""
    pools = [Pool(1, jobs=JOBS) for _ in range(2)]
    turns = [FileLock(tmp_path / "timing.lock", is_singleton=False) for _ in pools]
    lines: list[str] = []
    said: list[str] = []
    try:
        first = asyncio.ensure_future(pools[0].run("slow", {}, tmp_path, said.append, alone=True, turn=turns[0]))
        await _until(lambda: said)
        second = asyncio.ensure_future(pools[1].run("who", {}, tmp_path, lines.append, alone=True, turn=turns[1]))
        await _until(lambda: lines)
        assert lines == ["another process measures times: waiting for it"]
        assert not second.done()
        first.cancel()
        assert (await second)["jobs"] == 1
    finally:
        for pool in pools:
            await pool.close()


async def test_cancelling_ends_the_worker_and_its_children_at_once_and_leaves_no_file(pool: Pool, tmp_path: Path) -> None:
    said: list[str] = []
    task = asyncio.ensure_future(pool.run("slow", {}, tmp_path, said.append))
    await _until(lambda: said)
    worker, child = map(int, said[0].split())
    started = time.monotonic()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert time.monotonic() - started < patience.scaled(5)
    assert _files(tmp_path) == []
    assert _is_gone(worker)
    await _until(lambda: _is_gone(child))


@pytest.mark.parametrize(
    ("how", "event"),
    [("source", "input"), ("value", "failed"), ("exit", "failed"), ("memory", "memory"), ("full", "full"), ("absent", "absent")],
)
async def test_what_a_job_raises_is_told_and_only_a_sound_worker_is_used_again(pool: Pool, tmp_path: Path, how: str, event: str) -> None:
    before = await pool.run("who", {}, tmp_path, _silent)
    with pytest.raises(JobError) as raised:
        await pool.run("fail", {"how": how}, tmp_path, _silent)
    assert raised.value.answer["event"] == event
    after = await pool.run("who", {}, tmp_path, _silent)
    assert (after["pid"] == before["pid"]) == (event == "input")


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGABRT, signal.SIGKILL])
async def test_a_worker_that_dies_is_an_error_with_its_last_words_and_the_next_job_gets_another(
    pool: Pool, tmp_path: Path, number: int
) -> None:
    with pytest.raises(WorkerLostError) as raised:
        await pool.run("end", {"signal": number, "words": "last words"}, tmp_path, _silent)
    assert raised.value.code == -number
    assert b"last words" in raised.value.output
    assert (await pool.run("who", {}, tmp_path, _silent))["jobs"] == 1


async def test_more_memory_than_the_machine_has_is_refused_and_not_taken(
    pool: Pool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert await pool.run("hog", {"bytes": 1 << 28}, tmp_path, _silent, fresh=True) == {"bytes": 1 << 28}
    monkeypatch.setattr(pool_module, "available_bytes", lambda: 1 << 27)
    with pytest.raises(JobError) as raised:
        await pool.run("hog", {"bytes": 1 << 28}, tmp_path, _silent)
    assert raised.value.answer["event"] == "memory"


async def test_a_job_may_take_so_long_and_a_pause_does_not_count(pool: Pool, tmp_path: Path) -> None:
    said: list[str] = []
    with pytest.raises(JobDeadlineError):
        await pool.run("slow", {}, tmp_path, said.append, deadline_seconds=0.5)
    await _until(lambda: all(map(_is_gone, map(int, said[0].split()))) if said else True)
    assert _files(tmp_path) == []

    job = {"file": str(tmp_path / "number"), "until": str(tmp_path / "go")}
    await asyncio.gather(pool.run("who", {}, tmp_path, _silent), pool.run("who", {}, tmp_path, _silent))  # both have started
    busy = asyncio.ensure_future(pool.run("count", job, tmp_path, _silent, deadline_seconds=20))
    await _until((tmp_path / "number").exists)
    worker = next(worker for worker in pool._all if worker not in pool._idle)
    worker.pause()
    worker._paused_at -= 30  # as if it had stood still for longer than it may work
    worker.resume()
    (tmp_path / "go").touch()
    assert (await busy)["pid"] == worker.process.pid


async def test_idle_workers_end_after_a_while(pool: Pool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool_module, "IDLE_SECONDS", 0.1)
    pid = (await pool.run("who", {}, tmp_path, _silent))["pid"]
    await _until(lambda: _is_gone(pid))
    assert (await pool.run("who", {}, tmp_path, _silent))["jobs"] == 1


def test_a_loop_that_is_closed_in_the_middle_takes_its_workers_along(tmp_path: Path) -> None:
    """As a Pulumi program does it that fails: tasks are left where they are."""
    loop = asyncio.new_event_loop()
    pool = loop.run_until_complete(_new_pool())
    idle = loop.run_until_complete(pool.run("who", {}, tmp_path, _silent))["pid"]
    said: list[str] = []
    left = loop.create_task(pool.run("slow", {}, tmp_path, said.append, fresh=True))
    loop.run_until_complete(_until(lambda: said))
    workers = [idle, *map(int, said[0].split())]
    loop.close()
    asyncio.run(_until(lambda: all(map(_is_gone, workers))))
    left._log_destroy_pending = False  # type: ignore[attr-defined]
    left.get_coro().close()  # what the collector does to it later: it must not want to wait for anything
    assert _files(tmp_path) == []


async def _new_pool() -> Pool:
    return Pool(2, jobs=JOBS)


ORPHANS = """
import asyncio, sys
from pathlib import Path
from isthmus.compile.workers.pool import Pool

async def main(work, paused):
    pool = Pool(2, jobs="pool_jobs:JOBS")
    said = asyncio.Semaphore(0)
    def say(line):
        print(line, flush=True)
        said.release()
    tasks = [asyncio.ensure_future(pool.run("slow", {}, work, say)) for _ in range(2)]
    if paused:
        for _ in tasks:
            await said.acquire()
        for worker in pool._all:
            worker.pause()
        print("paused", flush=True)
    await asyncio.gather(*tasks)

asyncio.run(main(Path(sys.argv[1]), sys.argv[2] == "paused"))
"""


@pytest.mark.parametrize("state", ["working", "paused"])
async def test_workers_end_with_their_parent_also_paused_ones(tmp_path: Path, state: str) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(PROJECT / "components"), str(Path(__file__).parents[1])])}
    command = [sys.executable, "-c", ORPHANS, str(tmp_path), state]
    parent = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)  # noqa: ASYNC220 - it only starts
    try:
        assert parent.stdout is not None
        lines = [await asyncio.to_thread(parent.stdout.readline) for _ in range(3 if state == "paused" else 2)]
        workers = [int(word) for line in lines if line != "paused\n" for word in line.split()]
        assert len(workers) == 4
        if state == "paused":
            stopped = {psutil.STATUS_STOPPED, psutil.STATUS_TRACING_STOP}
            await _until(lambda: all(psutil.Process(pid).status() in stopped for pid in workers))
    finally:
        parent.kill()
        parent.communicate()
    await _until(lambda: all(map(_is_gone, workers)))


async def test_without_its_signal_a_paused_worker_would_not_notice(tmp_path: Path) -> None:
    """The control to the test above: closing the pipe is not enough."""
    worker, awake = (WorkerProcess(["--jobs", JOBS], tmp_path) for _ in range(2))
    await asyncio.gather(worker.ready.wait(), awake.ready.wait())
    worker.pause()
    await _until(lambda: psutil.Process(worker.process.pid).status() == psutil.STATUS_STOPPED)
    for each in (worker, awake):
        assert each.process.stdin is not None
        each.process.stdin.close()
    await asyncio.wait_for(awake.ended.wait(), DEADLINE_SECONDS)  # to that one it is enough
    assert not worker.ended.is_set()
    worker.resume()
    await asyncio.wait_for(worker.ended.wait(), DEADLINE_SECONDS)
