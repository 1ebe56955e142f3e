"""gRPC calls as bytes: received within bounds, read, answered, refused, counted.

Messages come as bytes, compressed ones as they were sent, so that nothing is unpacked before its size is known and
nothing large on the event loop. A request is read by hand, as a stream of one: that way few are received at a time.
"""

import asyncio
import logging
import time
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Protocol

import grpc
import grpc.aio

from isthmus.server.errors import ServingError
from isthmus.server.limits import MAX_BODY_BYTES_ON_LOOP, MAX_DECOMPRESSED_BYTES, MAX_GRPC_RECEIVING, STALLED_SECONDS, Budget
from isthmus.server.prediction import Predictor
from isthmus_agent.protocol import RestError

_MAX_TEXT = 1024
_GZIP, _ANY_WINDOW = b"\x1f\x8b", 47
_ZLIB, _ZLIB_CHECK = b"\x78", 31
_SLOW_SECONDS = 2.0
_SWEEP_SECONDS = 1.0
_log = logging.getLogger(__name__)

Work = Callable[[Any, bytes], bytes | Awaitable[bytes]]


class Familiar(Protocol):
    """A message that is like an earlier one of the same method."""

    @property
    def name(self) -> str:
        """The model's."""

    def answer(self) -> bytes | Awaitable[bytes]:
        """The response. Raises RestError."""


class Calls:
    """What all methods share.

    Args:
        budget: for the messages of all calls.
    """

    def __init__(self, predictor: Predictor, budget: Budget) -> None:
        self._predictor = predictor
        self._budget = budget
        self._places = asyncio.Semaphore(MAX_GRPC_RECEIVING)
        # Calls whose message is being received, the oldest first, and since when; and those of them that have to go.
        self._receiving: dict[asyncio.Task[Any], float] = {}
        self._late: set[asyncio.Task[Any]] = set()
        self._sweeper: asyncio.TimerHandle | None = None

    def method(self, message: Any, work: Work, api: str = "", recall: Callable[[bytes], Familiar | None] = lambda _: None) -> Any:
        """A handler for grpc.

        Args:
            message: the request's class.
            work: the response's bytes to a request and its bytes. Raises RestError.
            api: what the calls are counted as; empty: they are not.
            recall: what is known of a message before it is read.
        """

        async def call(_: AsyncIterator[bytes], context: Any) -> bytes:
            began, taken, name, code = time.perf_counter(), 0, None, "OK"
            try:
                data = await self._receive(context)
                if not self._budget.take(len(data)):
                    raise ServingError("RESOURCE_EXHAUSTED", "the server holds as many requests as it can; try again")
                taken = len(data)
                familiar = recall(data)
                if familiar is not None:
                    name = familiar.name
                    response = familiar.answer()
                else:
                    if _compressed(data):
                        data = await self._predictor.in_thread(_decompress, data)
                    small = len(data) <= MAX_BODY_BYTES_ON_LOOP
                    request = _read(message, data) if small else await self._predictor.in_thread(_read, message, data)
                    if api:
                        name = request.model_spec.name
                    response = work(request, data)
                return response if isinstance(response, bytes) else await response
            except RestError as error:
                code = error.code
                text = error.message if len(error.message) <= _MAX_TEXT else error.message[:_MAX_TEXT] + "...TRUNCATED"
                await context.abort(grpc.StatusCode[code], text)
            except (asyncio.CancelledError, grpc.aio.AbortError):
                code = "CANCELLED"
                raise
            except Exception:
                code = "INTERNAL"
                _log.exception("a gRPC call failed")
                await context.abort(grpc.StatusCode.INTERNAL, "internal error of the server; its log has the details")
            finally:
                self._budget.give(taken)
                if name is not None and self._predictor.manager.knows(name):
                    self._predictor.metrics.answered(name, api, "GRPC", code, time.perf_counter() - began)
            raise AssertionError("abort raises")

        return grpc.stream_unary_rpc_method_handler(call)

    async def _receive(self, context: Any) -> bytes:
        if self._places.locked():
            self._end_older_than(_SLOW_SECONDS)
        async with self._places:
            task: asyncio.Task[Any] = asyncio.current_task()  # type: ignore[assignment]
            self._receiving[task] = time.monotonic()
            if self._sweeper is None:
                self._sweep()
            try:
                data = await context.read()
            except asyncio.CancelledError:
                if task not in self._late:
                    raise
                task.uncancel()
                raise ServingError("DEADLINE_EXCEEDED", "the message was not received in time") from None
            finally:
                self._late.discard(task)
                del self._receiving[task]
        if data is grpc.aio.EOF:  # type: ignore[attr-defined]
            raise ServingError("INTERNAL", "the call has no message")
        return data  # type: ignore[no-any-return]

    def _sweep(self) -> None:
        """Ends calls whose message does not come: now, and from time to time as long as messages are being received.

        One timer for all: one for each call costs as much as reading a small message.
        """
        while self._end_older_than(STALLED_SECONDS):
            pass
        self._sweeper = asyncio.get_running_loop().call_later(_SWEEP_SECONDS, self._sweep) if self._receiving else None

    def _end_older_than(self, seconds: float) -> bool:
        """Whether the oldest call that is not yet being ended has received for that long; it is ended then."""
        for task, began in self._receiving.items():
            if task not in self._late:
                if time.monotonic() - began <= seconds:
                    return False
                self._late.add(task)
                task.cancel()
                return True
        return False


def _compressed(data: bytes) -> bool:
    """Whether a message was compressed: none of ours begins with these bytes, which are no field of theirs."""
    return data[:2] == _GZIP or (data[:1] == _ZLIB and int.from_bytes(data[:2]) % _ZLIB_CHECK == 0)


def _read(message: Any, data: bytes) -> Any:
    try:
        return message.FromString(data)
    except Exception:  # protobuf's DecodeError, which its implementations derive differently
        raise ServingError("INTERNAL", f"the message is no {message.DESCRIPTOR.name}") from None


def _decompress(data: bytes) -> bytes:
    decompressor = zlib.decompressobj(_ANY_WINDOW)
    try:
        text = decompressor.decompress(data, MAX_DECOMPRESSED_BYTES + 1)
    except zlib.error:
        raise ServingError("INTERNAL", "the compressed message is damaged") from None
    if len(text) > MAX_DECOMPRESSED_BYTES:
        raise ServingError("RESOURCE_EXHAUSTED", f"the message has more than {MAX_DECOMPRESSED_BYTES} bytes when it is decompressed")
    if not decompressor.eof:
        raise ServingError("INTERNAL", "the compressed message is cut off")
    return text
