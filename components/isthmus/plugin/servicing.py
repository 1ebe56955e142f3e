"""The part of Pulumi's ResourceProvider protocol that every plugin of ours serves alike.

Handlers block, so each call runs in a thread; the loop stays free to take a Cancel at any time. Whatever a handler raises
becomes one message for the user, with every secret of the call taken out of it.
"""

import asyncio
import errno
import threading
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, TypeVar

import grpc
from google.protobuf import empty_pb2
from pulumi.runtime.proto import plugin_pb2, provider_pb2_grpc

from isthmus.errors import GateError, InputError, IsthmusError, ResourceFullError, StoreError
from isthmus.plugin.engine import Engine
from isthmus.plugin.handler import Context, NotCoveredError, PartlyMadeError, StoppedWaitingError, describe
from isthmus.plugin.replies import THREADS, Failure
from isthmus.plugin.values import redact

T = TypeVar("T")

_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})
# Which gRPC status an error of ours becomes, the first match counts. None of them is Internal, DataLoss or Unknown: those
# would tell the engine that nobody knows whether the resource exists.
_CODES: Final[tuple[tuple[type[Exception], grpc.StatusCode], ...]] = (
    (StoppedWaitingError, grpc.StatusCode.CANCELLED),
    (NotCoveredError, grpc.StatusCode.UNIMPLEMENTED),
    (GateError, grpc.StatusCode.FAILED_PRECONDITION),
    (InputError, grpc.StatusCode.INVALID_ARGUMENT),
    (StoreError, grpc.StatusCode.UNAVAILABLE),
    (ResourceFullError, grpc.StatusCode.RESOURCE_EXHAUSTED),
    (IsthmusError, grpc.StatusCode.FAILED_PRECONDITION),
)


def status_of(error: IsthmusError | OSError) -> grpc.StatusCode:
    """The gRPC status that an error becomes."""
    if isinstance(error, OSError):
        return grpc.StatusCode.RESOURCE_EXHAUSTED if error.errno in _FULL else grpc.StatusCode.FAILED_PRECONDITION
    return next(code for kind, code in _CODES if isinstance(error, kind))


class ServicerBase(provider_pb2_grpc.ResourceProviderServicer):
    """What does not depend on how a plugin's resources are described.

    package: its name in type tokens. version: semver.
    """

    def __init__(self, package: str, version: str, engine: Engine) -> None:
        self._package = package
        self._version = version
        self._engine = engine
        self._cancelled = threading.Event()
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="handler")

    def cancel(self) -> None:
        """Ends every waiting handler; each reports what exists by then."""
        self._cancelled.set()

    async def GetPluginInfo(self, request: Any, context: Any) -> plugin_pb2.PluginInfo:
        return plugin_pb2.PluginInfo(version=self._version)

    async def Cancel(self, request: Any, context: Any) -> empty_pb2.Empty:
        self.cancel()
        return empty_pb2.Empty()

    async def _run(self, context: Any, call: Context, work: Callable[[], T], half_made: Callable[[PartlyMadeError], Failure]) -> T:
        """Runs work in a thread, and aborts the call with one clear message where it fails."""
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work)
        except PartlyMadeError as error:
            await context.abort(*half_made(error))
        except (IsthmusError, OSError) as error:
            await context.abort(status_of(error), redact(describe(error), call.secrets))
        except Exception as error:
            self._engine.log("debug", redact(traceback.format_exc(), call.secrets), call.urn)
            message = redact(f"{type(error).__name__}: {error}", call.secrets)
            await context.abort(grpc.StatusCode.INTERNAL, f"internal error of the {self._package} plugin: {message}")
        raise AssertionError("abort returned")
