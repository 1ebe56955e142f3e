"""Worker processes of this program: started once, used for job after job, model after model.

A `Pool` belongs to one event loop; `pool_of_this_loop()` is the one that compiles share. There are never more workers than cores
or than memory for them. A worker is started when a job needs one, imports TensorFlow once, and ends when it has been idle for
a while, when the loop is closed, or with this process, however that ends.

Nothing is measured beside other work: a job that is `alone` has every other worker of this pool paused (SIGSTOP to its process
group) until it has ended, and no worker is started meanwhile.
"""

import asyncio
import contextlib
import os
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from filelock import FileLock, Timeout

from isthmus.compile.memory import available_bytes
from isthmus.compile.workers.process import WorkerProcess

IDLE_SECONDS = 20.0
LOCK_POLL_SECONDS = 0.2
# A worker takes about a core, and this much memory before its model's.
WORKER_BYTES = 1 << 30
# Answers after which a worker is as good as before. After others its state is not known well enough.
_SOUND = frozenset({"done", "input"})
_T = TypeVar("_T")


class JobDeadlineError(Exception):
    """A job had not ended after its `deadline_seconds`."""


class JobError(Exception):
    """A job failed. answer: what the worker said, see `isthmus.compile.workers.worker`. output: the end of its standard error."""

    def __init__(self, answer: Mapping[str, Any], output: bytes) -> None:
        super().__init__(str(answer.get("summary") or answer["event"]))
        self.answer = answer
        self.output = output


def default_workers() -> int:
    """As many as there are cores, and memory for."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    memory = available_bytes()
    return cores if memory is None else max(1, min(cores, memory // WORKER_BYTES))


class Pool:
    """Workers for the jobs of one event loop.

    Args:
        max_workers: how many jobs run side by side; None for as many as the machine can.
        jobs: where the workers find the table of jobs, `module:name`; None for the compiler's own.
    """

    def __init__(self, max_workers: int | None = None, *, jobs: str | None = None) -> None:
        self.max_workers = max_workers or default_workers()
        self._arguments = ["--jobs", jobs] if jobs else []
        self._slots = asyncio.Semaphore(self.max_workers)
        self._idle: list[WorkerProcess] = []
        self._all: set[WorkerProcess] = set()
        self._alone = asyncio.Lock()
        self._may_start = asyncio.Event()
        self._may_start.set()
        self._ending: asyncio.TimerHandle | None = None

    async def run(
        self,
        kind: str,
        job: Mapping[str, Any],
        work: Path,
        progress: Callable[[str], None],
        *,
        alone: bool = False,
        turn: FileLock | None = None,
        fresh: bool = False,
        ahead: bool = False,
        deadline_seconds: float | None = None,
    ) -> dict[str, Any]:
        """The result of a job.

        Args:
            kind: the job's name in the table.
            work: an existing folder; the job's temporary files lie in a folder inside, removed at the end.
            progress: called on this loop with a line for the user.
            alone: pause all other workers meanwhile.
            turn: a lock to hold while alone, by which processes take turns.
            fresh: in a worker that has done nothing before and will do nothing after: for code that can leave something behind.
            ahead: more jobs follow for more workers: one is started now if there may be one, and imports meanwhile what it needs.
                What it writes until its first job stays in `work`.
            deadline_seconds: how long it may take; time during which it was paused does not count.

        Raises:
            JobError: the job failed.
            JobDeadlineError: it took too long.
            WorkerLostError: its process ended.
        """
        async with self._slots:
            while not self._may_start.is_set():
                await self._may_start.wait()
            temporary = Path(tempfile.mkdtemp(prefix="tmp-", dir=work))
            worker = self._take(temporary, fresh=fresh)
            if ahead and not self._idle and len(self._all) < self.max_workers:
                self._idle.append(self._start(Path(tempfile.mkdtemp(prefix="ahead-", dir=work))))
            try:
                async with self._nobody_else(worker, turn, progress) if alone else contextlib.nullcontext():
                    answer = await _within(deadline_seconds, worker, worker.do(kind, job, temporary, progress))
            except GeneratorExit:  # the loop was closed in the middle of this: nothing can be awaited any more
                self._drop(worker)
                raise
            except BaseException:
                await self._give_back(worker, sound=False)
                raise
            else:
                await self._give_back(worker, sound=answer["event"] in _SOUND and not fresh)
            finally:
                shutil.rmtree(temporary, ignore_errors=True)
        if answer["event"] != "done":
            raise JobError(answer, worker.output)
        result: dict[str, Any] = answer["result"]
        return result

    async def close(self) -> None:
        """Ends all workers, and waits until they are gone. Jobs that still run raise WorkerLostError."""
        if self._ending is not None:
            self._ending.cancel()
        self._idle.clear()
        await finished(self._end(list(self._all)))

    def _take(self, temporary: Path, *, fresh: bool) -> WorkerProcess:
        """An idle worker, or a new one. No await between the look at `_may_start` and here: nothing starts in somebody's silence."""
        if self._ending is not None:
            self._ending.cancel()
        self._all = {worker for worker in self._all if not worker.ended.is_set()}  # an idle one may have been killed
        self._idle = [worker for worker in self._idle if worker in self._all]
        suitable = [worker for worker in self._idle if not (fresh and worker.jobs_begun)]
        if suitable:
            # One that has worked before goes first: what is unused can still serve a job that needs it so.
            worker = max(suitable, key=lambda worker: worker.jobs_begun)
            self._idle.remove(worker)
            return worker
        if len(self._all) >= self.max_workers and self._idle:
            self._drop(self._idle.pop(0))
        return self._start(temporary)

    def _start(self, temporary: Path) -> WorkerProcess:
        memory = available_bytes()
        worker = WorkerProcess([*self._arguments, *(["--memory-bytes", str(memory)] if memory else [])], temporary)
        self._all.add(worker)
        return worker

    def _drop(self, worker: WorkerProcess) -> None:
        worker.kill()
        self._all.discard(worker)

    async def _give_back(self, worker: WorkerProcess, *, sound: bool) -> None:
        if sound:
            self._idle.append(worker)
        else:
            await finished(self._end([worker]))
        if self._idle and len(self._idle) == len(self._all):
            self._ending = asyncio.get_running_loop().call_later(IDLE_SECONDS, self._end_idle)

    def _end_idle(self) -> None:
        while self._idle:
            self._drop(self._idle.pop())

    async def _end(self, workers: list[WorkerProcess]) -> None:
        for worker in workers:
            self._drop(worker)
        for worker in workers:
            await worker.ended.wait()

    @contextlib.asynccontextmanager
    async def _nobody_else(self, worker: WorkerProcess, turn: FileLock | None, progress: Callable[[str], None]) -> AsyncIterator[None]:
        async with self._alone, held(turn, lambda: progress("another process measures times: waiting for it")):
            await worker.ready.wait()
            self._may_start.clear()
            others = self._all - {worker}
            try:
                for other in others:
                    other.pause()
                yield
            finally:
                for other in others:
                    other.resume()
                self._may_start.set()


@contextlib.asynccontextmanager
async def held(lock: FileLock | None, waiting: Callable[[], None]) -> AsyncIterator[None]:
    """Holds a lock that other processes may hold, without blocking the loop. waiting: called once if there is a wait."""
    if lock is None:
        yield
        return
    said = False
    while True:
        try:
            lock.acquire(blocking=False)
            break
        except Timeout:
            if not said:
                waiting()
                said = True
            await asyncio.sleep(LOCK_POLL_SECONDS)
    try:
        yield
    finally:
        lock.release()


_pools: dict[asyncio.AbstractEventLoop, Pool] = {}


def pool_of_this_loop() -> Pool:
    """The running loop's pool, made when it is first asked for."""
    loop = asyncio.get_running_loop()
    for closed in [other for other in _pools if other.is_closed()]:
        del _pools[closed]
    if loop not in _pools:
        _pools[loop] = Pool()
    return _pools[loop]


async def finished(work: Awaitable[_T]) -> _T:
    """Awaits to the end also when cancelled: what a process still writes must not appear after its folder was removed."""
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait({task})
        raise


async def _within(deadline_seconds: float | None, worker: WorkerProcess, answer: Awaitable[_T]) -> _T:
    """The answer, unless the worker has worked on it for longer than that."""
    task = asyncio.ensure_future(answer)
    started = time.monotonic()
    try:
        while True:
            worked = time.monotonic() - started - worker.paused_seconds()
            if deadline_seconds is not None and worked >= deadline_seconds:
                raise JobDeadlineError
            done, _ = await asyncio.wait({task}, timeout=None if deadline_seconds is None else deadline_seconds - worked)
            if done:
                return task.result()
    finally:
        with contextlib.suppress(RuntimeError):  # the loop is closed
            task.cancel()
