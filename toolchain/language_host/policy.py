"""Starts a policy pack with its stack's configuration.

The engine tells a policy pack which stack it is for only after it has connected, but the Python policy SDK wants to know
before it starts. So this proxy answers the engine first, starts the pack with what it learned, and then hands every
other call of `pulumirpc.Analyzer` on, byte for byte.
"""

import json
import subprocess
import threading
from collections.abc import Callable, Mapping
from concurrent import futures
from typing import Any

import grpc
from toolchain.language_host.protocol import analyzer

_SERVICE = "/pulumirpc.Analyzer/"
_OWN = {
    "Handshake": analyzer.AnalyzerHandshakeResponse,
    "ConfigureStack": analyzer.AnalyzerStackConfigureResponse,
}
START_SECONDS = 300.0
LAST_ANSWERS_SECONDS = 2.0
LONGEST_DEADLINE_SECONDS = 1e8


def variables(request: Any) -> dict[str, str]:
    """The environment that the policy SDK reads, for an AnalyzerStackConfigureRequest."""
    found = {
        "PULUMI_ORGANIZATION": request.organization,
        "PULUMI_PROJECT": request.project,
        "PULUMI_STACK": request.stack,
        "PULUMI_DRY_RUN": "true" if request.dry_run else "false",
        "PULUMI_CONFIG": json.dumps(dict(request.config)),
    }
    return {name: value for name, value in found.items() if value}


def _call(channel: Any, method: str, request: bytes, timeout_seconds: float | None) -> bytes:
    """One call on raw bytes."""
    reply: bytes = channel.unary_unary(method)(request, timeout=timeout_seconds, wait_for_ready=True)
    return reply


def _time_left_seconds(context: Any) -> float | None:
    """Until the caller's deadline; None where it gave none: gRPC tells of one far in the future then, which overflows when passed on."""
    left: float | None = context.time_remaining()
    return left if left is not None and left < LONGEST_DEADLINE_SECONDS else None


class PolicyProxy(grpc.GenericRpcHandler):  # type: ignore[type-arg, misc, unused-ignore]
    """An Analyzer server that starts the real one when it is told the stack, or asked for anything else."""

    def __init__(self) -> None:
        self.configured = threading.Event()
        self.configuration: Any = None
        self._ready = threading.Event()
        self._channel: grpc.Channel | None = None
        self._error = ""
        self._server = grpc.server(futures.ThreadPoolExecutor(max_workers=16))
        self._server.add_generic_rpc_handlers((self,))
        self.port = self._server.add_insecure_port("127.0.0.1:0")
        self._server.start()

    def service(self, details: Any) -> Any:
        """Called by gRPC for each call: one handler for every method, on raw bytes."""
        name = details.method.removeprefix(_SERVICE)
        handler = self._answer(name) if name in _OWN else self._forward(details.method)
        return grpc.unary_unary_rpc_method_handler(handler)

    def _answer(self, name: str) -> Callable[[bytes, Any], bytes]:
        def answer(request: bytes, _context: Any) -> bytes:
            if name == "ConfigureStack":
                self.configuration = analyzer.AnalyzerStackConfigureRequest.FromString(request)
                self.configured.set()
            reply: bytes = _OWN[name]().SerializeToString()
            return reply

        return answer

    def _forward(self, method: str) -> Callable[[bytes, Any], bytes]:
        def forward(request: bytes, context: Any) -> bytes:
            self.configured.set()  # asked for something else first: the pack starts without a stack
            if not self._ready.wait(START_SECONDS) or self._channel is None:
                context.abort(grpc.StatusCode.UNAVAILABLE, f"policy pack not started: {self._error or 'it did not answer in time'}")
            try:
                return _call(self._channel, method, request, _time_left_seconds(context))
            except grpc.RpcError as error:
                context.abort(error.code(), error.details())
                raise

        return forward

    def attach(self, port: int) -> None:
        """Connects to the pack that now listens on `port`, and tells it the stack."""
        channel = grpc.insecure_channel(f"127.0.0.1:{port}")
        if self.configuration is not None:
            try:
                _call(channel, _SERVICE + "ConfigureStack", self.configuration.SerializeToString(), START_SECONDS)
            except grpc.RpcError as error:
                if error.code() != grpc.StatusCode.UNIMPLEMENTED:  # older packs do not have it
                    self.fail(f"its configuration failed: {error.details()}")
                    return
        self._channel = channel
        self._ready.set()

    def fail(self, reason: str) -> None:
        """Lets every call that waits for the pack fail with `reason`."""
        self._error = reason
        self._ready.set()

    def close(self) -> None:
        """Stops serving. Calls that wait for the pack are told why before their connection goes."""
        self.fail("it has ended")
        self._server.stop(LAST_ANSWERS_SECONDS).wait()


def port_of(line: bytes) -> int | None:
    """The port in the first line that a plugin prints; None if that is something else."""
    text = line.strip()
    return int(text) if text.isdigit() else None


def read_port(process: "subprocess.Popen[bytes]") -> int | None:
    """Reads the first line of a pack's standard output."""
    assert process.stdout is not None  # noqa: S101 it is piped
    line = b""
    while not line.endswith(b"\n") and (byte := process.stdout.read(1)):
        line += byte
    return port_of(line)


def environment(base: Mapping[str, str], proxy: PolicyProxy) -> dict[str, str]:
    """`base` with what the engine told the proxy."""
    return {**base, **(variables(proxy.configuration) if proxy.configuration is not None else {})}
