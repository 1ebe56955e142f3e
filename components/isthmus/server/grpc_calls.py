"""gRPC calls as bytes: received within bounds, read, answered, refused, counted.

Messages come as bytes, compressed ones as they were sent, so that nothing is unpacked before its size is known and
nothing large on the event loop. A request is read by hand, as a stream of one: that way few are received at a time.
"""

import asyncio
import logging
import time
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc
import grpc.aio

from isthmus.protocol import RestError
from isthmus.server.errors import ServingError
from isthmus.server.limits import MAX_BODY_BYTES_ON_LOOP, MAX_DECOMPRESSED_BYTES, MAX_GRPC_RECEIVING, STALLED_SECONDS, Budget
from isthmus.server.prediction import Predictor

_MAX_TEXT = 1024
_GZIP, _ANY_WINDOW = b"\x1f\x8b", 47
_ZLIB, _ZLIB_CHECK = b"\x78", 31
_SLOW_SECONDS = 2.0
_log = logging.getLogger(__name__)

Work = Callable[[Any], bytes | Awaitable[bytes]]


class Calls:
    """What all methods share.

    Args:
        budget: for the messages of all calls.
    """

    def __init__(self, predictor: Predictor, budget: Budget) -> None:
        self._predictor = predictor
        self._budget = budget
        self._receiving: dict[asyncio.Timeout, float] = {}
        self._places = asyncio.Semaphore(MAX_GRPC_RECEIVING)

    def method(self, message: Any, work: Work, api: str = "") -> Any:
        """A handler for grpc.

        Args:
            message: the request's class.
            work: the response's bytes to a request. Raises RestError.
            api: what the calls are counted as; empty: they are not.
        """

        async def call(_: AsyncIterator[bytes], context: Any) -> bytes:
            began, taken, request = time.perf_counter(), 0, None
            code = "OK"
            try:
                data = await self._receive(context)
                if not self._budget.take(len(data)):
                    raise ServingError("RESOURCE_EXHAUSTED", "the server holds as many requests as it can; try again")
                taken = len(data)
                if data[:2] == _GZIP or (data[:1] == b"\x78" and int.from_bytes(data[:2]) % 31 == 0):
                    data = await self._predictor.in_thread(_decompress, data)
                request = (
                    _read(message, data) if len(data) <= MAX_BODY_BYTES_ON_LOOP else await self._predictor.in_thread(_read, message, data)
                )
                response = work(request)
                if not isinstance(response, bytes):
                    response = await response
                return response
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
                if api and request is not None and self._predictor.manager.knows(request.model_spec.name):
                    self._predictor.metrics.answered(request.model_spec.name, api, "GRPC", code, time.perf_counter() - began)
            raise AssertionError("abort raises")

        return grpc.stream_unary_rpc_method_handler(call)

    async def _receive(self, context: Any) -> bytes:
        if self._places.locked():
            self._hurry()
        async with self._places:
            timeout = asyncio.timeout(STALLED_SECONDS)
            self._receiving[timeout] = time.monotonic()
            try:
                async with timeout:
                    data = await context.read()
            except TimeoutError:
                raise ServingError("DEADLINE_EXCEEDED", "the message was not received in time") from None
            finally:
                del self._receiving[timeout]
        if data is grpc.aio.EOF:  # type: ignore[attr-defined]
            raise ServingError("INTERNAL", "the call has no message")
        return data  # type: ignore[no-any-return]

    def _hurry(self) -> None:
        """Others wait for a place: whoever has taken longest to send has to go."""
        for timeout, began in self._receiving.items():
            if time.monotonic() - began > _SLOW_SECONDS:
                timeout.reschedule(asyncio.get_running_loop().time())
            return


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
