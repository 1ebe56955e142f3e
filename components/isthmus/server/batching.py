"""Dynamic batching with TensorFlow Serving's parameters: calls that wait together are run together.

Calls that want the same outputs of one signature join an open batch. It is closed when it is full, and run when a batch
thread is free and it is closed, or old enough. All state is the event loop's; only the runs are on threads.
"""

import asyncio
import os
import time
from collections import deque
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np

from isthmus.server.bundle import Bundle
from isthmus.server.errors import ServingError, invalid
from isthmus.server.metrics import Metrics
from isthmus.server.tensors import Array, Arrays


@dataclass(frozen=True)
class BatchingParameters:
    """As in TensorFlow Serving's message of that name. Sizes count the rows of all calls together.

    max_execution_batch_size: with enable_large_batch_splitting, what one run takes; a call may be larger and is split.
    """

    max_batch_size: int = 1000
    batch_timeout_micros: int = 0
    max_enqueued_batches: int = 10
    num_batch_threads: int = field(default_factory=lambda: os.cpu_count() or 1)
    allowed_batch_sizes: tuple[int, ...] = ()
    pad_variable_length_inputs: bool = False
    enable_large_batch_splitting: bool = False
    max_execution_batch_size: int = 0

    @property
    def run_size(self) -> int:
        """How many rows one run takes at most."""
        return (self.max_execution_batch_size or self.max_batch_size) if self.enable_large_batch_splitting else self.max_batch_size


@dataclass
class _Task:
    """One call, or a part of a large one."""

    inputs: Arrays
    size: int
    done: asyncio.Future[Arrays]
    began: float


@dataclass
class _Batch:
    opened_at: float
    tasks: list[_Task] = field(default_factory=list)
    size: int = 0


@dataclass
class _Queue:
    """What waits for some outputs of one signature. The last batch is open, those before it are full."""

    bundle: Bundle
    signature_name: str
    outputs: tuple[str, ...]
    batches: deque[_Batch] = field(default_factory=deque)


class Batcher:
    """Runs calls of all models in batches. For the event loop alone."""

    def __init__(self, parameters: BatchingParameters, metrics: Metrics) -> None:
        self._parameters = parameters
        self._metrics = metrics
        self._threads = ThreadPoolExecutor(parameters.num_batch_threads, thread_name_prefix="batch")
        self._idle = parameters.num_batch_threads
        self._queues: dict[tuple[int, str, tuple[str, ...]], _Queue] = {}
        self._timer: asyncio.TimerHandle | None = None

    def close(self) -> None:
        """Begins no more runs."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def run(self, bundle: Bundle, signature_name: str, inputs: Arrays, outputs: Sequence[str] = ()) -> Arrays:
        """The outputs for one call's inputs; as `Bundle.run`. Raises ServingError."""
        size = _rows(inputs)
        self._metrics.joined(size, len(inputs))
        limit = self._parameters.max_batch_size
        if size > limit and not self._parameters.enable_large_batch_splitting:
            raise invalid(f"Task size {size} is larger than maximum input batch size {limit}")
        key = (id(bundle), signature_name, tuple(outputs))
        queue = self._queues.setdefault(key, _Queue(bundle, signature_name, tuple(outputs)))
        tasks = self._add(queue, inputs, size)
        self._pump()
        try:
            parts = await asyncio.gather(*(task.done for task in tasks))
        finally:
            if not queue.batches:
                self._queues.pop(key, None)
        return parts[0] if len(parts) == 1 else {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def _add(self, queue: _Queue, inputs: Arrays, size: int) -> list[_Task]:
        """Puts a call into batches, into several where it is split."""
        loop, run_size = asyncio.get_running_loop(), self._parameters.run_size
        room = run_size - queue.batches[-1].size if queue.batches else 0
        first = min(size, room) if self._parameters.enable_large_batch_splitting or size <= room else 0
        parts = ([first] if first else []) + [min(run_size, size - start) for start in range(first, size, run_size)]
        if not parts:
            parts = [0]  # a call of no rows is one all the same
        new = len(parts) - bool(first)
        if queue.batches and len(queue.batches) + new > self._parameters.max_enqueued_batches:
            raise ServingError("UNAVAILABLE", "The batch scheduling queue to which this task was submitted is full")
        tasks, start = [], 0
        for part in parts:
            if not (first and start == 0):
                queue.batches.append(_Batch(time.monotonic()))
            whole = len(parts) == 1
            own = inputs if whole else {key: array[start : start + part] for key, array in inputs.items()}
            task = _Task(own, part, loop.create_future(), time.monotonic())
            queue.batches[-1].tasks.append(task)
            queue.batches[-1].size += part
            tasks.append(task)
            start += part
        return tasks

    def _pump(self) -> None:
        """Gives what is ready to the threads that are free, a batch of each signature in turn."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        now, patience = time.monotonic(), self._parameters.batch_timeout_micros / 1e6
        due = None
        for key, queue in list(self._queues.items()):
            if not self._idle:
                return  # whoever comes back goes on
            if not queue.batches:
                continue
            batch = queue.batches[0]
            if len(queue.batches) > 1 or batch.size >= self._parameters.run_size or now >= batch.opened_at + patience:
                queue.batches.popleft()
                self._queues[key] = self._queues.pop(key)  # the others come first next time
                self._idle -= 1
                asyncio.ensure_future(self._work(queue, batch)).add_done_callback(lambda done: done.exception())
            else:
                due = min(due or batch.opened_at + patience, batch.opened_at + patience)
        if due is not None:
            self._timer = asyncio.get_running_loop().call_later(max(0.0, due - now), self._pump)

    async def _work(self, queue: _Queue, batch: _Batch) -> None:
        tasks = [task for task in batch.tasks if not task.done.done()]  # a client may have left meanwhile
        try:
            if tasks:
                now = time.monotonic()
                total = sum(task.size for task in tasks)
                rows = next((size for size in self._parameters.allowed_batch_sizes if size >= total), total)
                self._metrics.batched([now - task.began for task in tasks], rows, rows - total)
                parts = [task.inputs for task in tasks]
                outputs = await asyncio.get_running_loop().run_in_executor(
                    self._threads, run_together, queue, parts, rows, self._parameters.pad_variable_length_inputs
                )
                for task, part in zip(tasks, outputs, strict=True):
                    if not task.done.done():
                        task.done.set_result(part)
        except BaseException as error:
            for task in tasks:
                if not task.done.done():
                    task.done.set_exception(error)
        finally:
            self._idle += 1
            self._pump()


def run_together(queue: _Queue, calls: Sequence[Arrays], rows: int, pad: bool) -> list[Arrays]:
    """The outputs of each call, from one run of that many rows. Raises ServingError."""
    sizes = [_rows(call) for call in calls]
    merged = {name: _merge(name, [call[name] for call in calls], rows - sum(sizes), pad) for name in calls[0]}
    outputs = queue.bundle.run(queue.signature_name, merged, queue.outputs)
    for array in outputs.values():
        if array.ndim == 0:
            raise ServingError("FAILED_PRECONDITION", "Batched output tensor has 0 dimensions")
        if len(array) != rows:
            raise ServingError(
                "FAILED_PRECONDITION",
                "Batched output tensor's 0th dimension does not equal the sum of the 0th dimension sizes of the input tensors",
            )
    ends = np.cumsum(sizes).tolist()
    return [{name: array[end - size : end] for name, array in outputs.items()} for size, end in zip(sizes, ends, strict=True)]


def _rows(inputs: Mapping[str, Array]) -> int:
    if not inputs:
        raise invalid("Batching Run() must have at least one input tensor")
    if any(array.ndim == 0 for array in inputs.values()):
        raise invalid("Batching Run() input tensors must have at least one dimension")
    sizes = {len(array) for array in inputs.values()}
    if len(sizes) > 1:
        raise invalid("Batching Run() input tensors must have equal 0th-dimension size")
    return sizes.pop()


def _merge(name: str, arrays: list[Array], missing_rows: int, pad: bool) -> Array:
    """One array of all; the last one's first row again for rows that are missing to an allowed size."""
    if len({array.shape[1:] for array in arrays}) > 1:
        if not pad or len({array.ndim for array in arrays}) > 1:
            raise ServingError(
                "FAILED_PRECONDITION",
                f"Tensors with name '{name}' from different tasks have different shapes and padding is turned off. Set "
                "pad_variable_length_inputs to true, or ensure that all tensors with the same name have equal dimensions "
                "starting with the first dim.",
            )
        arrays = [_pad(array, tuple(map(max, zip(*(other.shape[1:] for other in arrays), strict=True)))) for array in arrays]
    if missing_rows and len(arrays[-1]):
        arrays = [*arrays, np.repeat(arrays[-1][:1], missing_rows, axis=0)]
    return arrays[0] if len(arrays) == 1 else np.concatenate(arrays)


def _pad(array: Array, shape: tuple[int, ...]) -> Array:
    """The array with rows of that shape; its first value where it had none."""
    if array.shape[1:] == shape:
        return array
    if not array.size:
        raise invalid("Got empty tensor in batch of non-empty tensors.")
    padded = np.full((len(array), *shape), array.flat[0], array.dtype)
    padded[tuple(slice(size) for size in array.shape)] = array
    return padded
