"""Messages that do not come."""

import asyncio
from types import SimpleNamespace

import grpc
import pytest

pytestmark = pytest.mark.slow


class AbortedError(Exception):
    """A call was refused."""


class Call:
    """One call's context: its message comes when it is told to."""

    def __init__(self):
        self.message: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self.code: grpc.StatusCode | None = None

    async def read(self) -> bytes:
        return await self.message

    async def abort(self, code: grpc.StatusCode, text: str) -> None:
        self.code = code
        raise AbortedError(text)


@pytest.fixture
def answer(monkeypatch):
    """A method of two messages at a time, which answers with what it was sent; a call of it that runs."""
    from isthmus.server import grpc_calls
    from isthmus.server.limits import Budget

    monkeypatch.setattr(grpc_calls, "MAX_GRPC_RECEIVING", 2)
    monkeypatch.setattr(grpc_calls, "_SWEEP_SECONDS", 0.01)
    predictor = SimpleNamespace(manager=SimpleNamespace(knows=lambda name: False))
    message = SimpleNamespace(FromString=lambda data: data, DESCRIPTOR=SimpleNamespace(name="Message"))
    calls = grpc_calls.Calls(predictor, Budget(1 << 20))
    handler = calls.method(message, lambda request, data: data)
    return lambda call: asyncio.ensure_future(handler.stream_unary(None, call))


async def test_a_message_that_does_not_come_is_not_waited_for_any_more(answer, monkeypatch):
    from isthmus.server import grpc_calls

    monkeypatch.setattr(grpc_calls, "STALLED_SECONDS", 0.05)
    stalled = Call()
    with pytest.raises(AbortedError, match="not received in time"):
        await asyncio.wait_for(answer(stalled), 30)
    assert stalled.code is grpc.StatusCode.DEADLINE_EXCEEDED
    prompt = Call()
    prompt.message.set_result(b"here")
    assert await answer(prompt) == b"here"


async def test_few_messages_are_received_at_a_time_and_the_slowest_sender_gives_way(answer, monkeypatch):
    from isthmus.server import grpc_calls

    slow, second, waiting = Call(), Call(), Call()
    waiting.message.set_result(b"here")
    tasks = [answer(slow), answer(second)]
    await asyncio.sleep(0)
    third = answer(waiting)
    await asyncio.sleep(0)
    assert not third.done()
    monkeypatch.setattr(grpc_calls, "_SLOW_SECONDS", 0.0)
    fourth = Call()
    fourth.message.set_result(b"too")
    assert await asyncio.wait_for(answer(fourth), 30) == b"too"
    assert await third == b"here"
    with pytest.raises(AbortedError):
        await tasks[0]
    assert slow.code is grpc.StatusCode.DEADLINE_EXCEEDED
    second.message.set_result(b"late")
    assert await tasks[1] == b"late"


async def test_a_client_that_leaves_is_no_stalled_one(answer):
    left, other = Call(), Call()
    task = answer(left)
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert left.code is None
    other.message.set_result(b"here")
    assert await answer(other) == b"here"
