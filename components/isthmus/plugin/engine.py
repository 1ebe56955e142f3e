"""The engine's side of the conversation: messages for the user, and whether the engine is still there."""

import asyncio
import logging
from typing import Literal

import grpc
from pulumi.runtime.proto import engine_pb2, engine_pb2_grpc

logger = logging.getLogger(__name__)

Severity = Literal["debug", "info", "warning", "error"]
_SEVERITIES = {
    "debug": engine_pb2.DEBUG,
    "info": engine_pb2.INFO,
    "warning": engine_pb2.WARNING,
    "error": engine_pb2.ERROR,
}
_SEND_TIMEOUT_SECONDS = 5
WATCH_INTERVAL_SECONDS = 5.0
_MISSES_UNTIL_GONE = 3


class Engine:
    """A connection to the engine. Messages may be sent from any thread; one that cannot be sent is not an error.

    address: host:port; empty: no engine (the plugin was started by hand), messages go to the log.
    """

    def __init__(self, address: str) -> None:
        self._address = address
        self._stub: engine_pb2_grpc.EngineStub | None = None
        if address:
            self._stub = engine_pb2_grpc.EngineStub(grpc.insecure_channel(address))

    def log(self, severity: Severity, message: str, urn: str = "", *, ephemeral: bool = False) -> None:
        """Shows a message on the resource's row. ephemeral: in the status column only, replaced by the next one."""
        if self._stub is None:
            logger.info("%s: %s", severity, message)
            return
        request = engine_pb2.LogRequest(severity=_SEVERITIES[severity], message=message, urn=urn, ephemeral=ephemeral)
        try:
            self._stub.Log(request, timeout=_SEND_TIMEOUT_SECONDS)
        except grpc.RpcError as error:
            logger.debug("message not sent: %s", error)

    async def until_gone(self, interval_seconds: float = WATCH_INTERVAL_SECONDS) -> None:
        """Returns once nobody listens at the engine's address any more, so that a killed engine leaves no plugin behind."""
        if not self._address:
            await asyncio.Event().wait()
        host, _, port = self._address.rpartition(":")
        misses = 0
        while misses < _MISSES_UNTIL_GONE:
            await asyncio.sleep(interval_seconds)
            try:
                _, writer = await asyncio.wait_for(asyncio.open_connection(host or "127.0.0.1", int(port)), interval_seconds)
                writer.close()
                misses = 0
            except (TimeoutError, OSError):
                misses += 1
