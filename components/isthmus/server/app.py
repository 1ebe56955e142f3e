"""The server as a whole: start, serve, drain, stop."""

import asyncio
import contextlib
import logging
import socket
import threading
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import uvloop

from isthmus.server.bundle import Parallelism, load_bundle
from isthmus.server.config import ModelConfig, read_batching, read_metrics_path, read_models
from isthmus.server.errors import StartError
from isthmus.server.flags import LOOPBACK, Options, parse_flags
from isthmus.server.grpc_api import GrpcApi
from isthmus.server.http import HttpServer
from isthmus.server.limits import MAX_IN_FLIGHT_BYTES, Budget, CountedLine, connection_limits, raise_descriptor_limit
from isthmus.server.listeners import bind_path, bind_port, free_path, make_private, remove_path
from isthmus.server.manager import ModelManager, Watching
from isthmus.server.metrics import Metrics
from isthmus.server.prediction import Predictor
from isthmus.server.rest import RestApi

_BACKLOG = 1024
_STOP_SECONDS = 10.0
# No gRPC, no look-out for new versions, and no second try: whoever waits wants to know at once.
_ONE_SHOT_FLAGS = ("--port=0", "--file_system_poll_wait_seconds=0", "--max_num_load_retries=0")
_log = logging.getLogger(__name__)


async def serve(
    options: Options, stop: asyncio.Event, *, rest_socket: socket.socket | None = None, on_ready: Callable[[], None] = lambda: None
) -> None:
    """Serve until stop is set; then let the calls under way finish.

    A port accepts connections only when every model is available.

    Args:
        rest_socket: a bound socket for REST, instead of `options.rest_api_port`.
        on_ready: called when the ports are open.

    Raises:
        StartError: a configuration, a model or a port is wrong.
    """
    configs = read_models(options)
    batching = read_batching(options)
    metrics_path = read_metrics_path(options.monitoring_config_file)
    max_connections, max_grpc_connections = connection_limits(raise_descriptor_limit())
    manager = _manager(options)
    rest_sockets = _bind_rest(options, rest_socket)
    # gRPC binds and listens in one step, so its port is only held until then.
    grpc_holder = bind_port(options.bind_address, options.port) if options.port else None
    if options.grpc_socket_path:
        free_path(options.grpc_socket_path)
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(_LoopErrors())
    executor = ThreadPoolExecutor(options.rest_api_num_threads, thread_name_prefix="predict")
    budget = Budget(MAX_IN_FLIGHT_BYTES)
    predictor = Predictor(manager, Metrics(), executor, batching)
    async with contextlib.AsyncExitStack() as stack:
        stack.callback(executor.shutdown, wait=False, cancel_futures=True)
        stack.callback(predictor.close)
        manager.start(configs)
        stack.callback(manager.stop)
        if not await _unless_stopped(manager.wait_until_available, stop):
            return
        drains: list[Callable[[], Awaitable[object]]] = []
        listeners = []
        if grpc_holder is not None or options.grpc_socket_path:
            if grpc_holder is not None:
                grpc_holder.close()
            rpc = GrpcApi(
                predictor,
                budget,
                allow_reload=options.enable_reload_config,
                as_content=options.enable_serialization_as_tensor_content,
            )
            server = rpc.server(max_grpc_connections, with_health=options.enable_grpc_healthcheck_service)
            await _listen_grpc(server, options)
            drains.append(lambda: server.stop(options.drain_seconds))
        if rest_sockets:
            api = RestApi(predictor, budget, options.rest_api_timeout_in_ms / 1000, metrics_path)
            http = HttpServer(api, budget, max_connections, cors=options.rest_api_enable_cors_support)
            drains.append(lambda: http.shut_down(options.drain_seconds))
        for bound in rest_sockets:
            listener = await loop.create_server(http, sock=bound, backlog=_BACKLOG)
            listeners.append(listener)
            name = bound.getsockname()
            if isinstance(name, str):
                stack.callback(remove_path, name)
            _log.info("Exporting HTTP/REST API at:%s ...", name if isinstance(name, str) else f"{name[0]}:{name[1]}")
        on_ready()
        await stop.wait()
        _log.info("stopping")
        for listener in listeners:
            listener.close()
        await asyncio.gather(*(drain() for drain in drains))  # both interfaces side by side


class _LoopErrors:
    """What goes wrong on the event loop outside of any request: one counted line, not a traceback for each."""

    def __init__(self) -> None:
        self._line = CountedLine(_log, "%d connections failed")

    def __call__(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        if isinstance(context.get("exception"), OSError):
            self._line.add()
        else:
            loop.default_exception_handler(context)


def _bind_rest(options: Options, given: socket.socket | None) -> list[socket.socket]:
    sockets = [given] if given is not None else []
    if given is None and options.rest_api_port:
        sockets.append(bind_port(options.bind_address, options.rest_api_port))
    if options.rest_api_socket_path:
        sockets.append(bind_path(options.rest_api_socket_path))
    return sockets


def _manager(options: Options) -> ModelManager:
    parallelism = Parallelism(options.tensorflow_intra_op_parallelism, options.tensorflow_inter_op_parallelism)
    watching = Watching(
        poll_seconds=options.file_system_poll_wait_seconds,
        load_retries=options.max_num_load_retries,
        retry_seconds=options.load_retry_interval_micros / 1e6,
        labels_need_available=not options.allow_version_labels_for_unavailable_models,
    )
    load = partial(load_bundle, parallelism=parallelism, warmup=options.enable_model_warmup)
    return ModelManager(load, watching, _config_reader(options))


def _config_reader(options: Options) -> Callable[[], list[ModelConfig] | None]:
    """Reads the model configuration file again when it is time to."""
    if not options.model_config_file or options.model_config_file_poll_wait_seconds <= 0:
        return lambda: None
    return partial(read_models, options)


async def _listen_grpc(server: grpc.aio.Server, options: Options) -> None:
    """Opens the gRPC port and socket. Raises StartError."""
    addresses = [f"{options.bind_address}:{options.port}"] if options.port else []
    if options.grpc_socket_path:
        addresses.append(f"unix:{options.grpc_socket_path}")
    for address in addresses:
        try:
            server.add_insecure_port(address)
        except RuntimeError as error:
            raise StartError(f"cannot listen on {address}: {error}") from None
    if options.grpc_socket_path:
        make_private(options.grpc_socket_path)
    await server.start()
    for address in addresses:
        _log.info("Running gRPC ModelServer at %s ...", address)


async def _unless_stopped(work: Callable[[], None], stop: asyncio.Event) -> bool:
    """Do work in a daemon thread; False where stop was set first. Raises what work raises."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[None] = loop.create_future()

    def finish(error: BaseException | None) -> None:
        if not done.done():
            done.set_result(None) if error is None else done.set_exception(error)

    def target() -> None:
        error: BaseException | None = None
        try:
            work()
        except BaseException as raised:
            error = raised
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(finish, error)

    threading.Thread(target=target, name="starting", daemon=True).start()
    stopped: asyncio.Future[object] = asyncio.ensure_future(stop.wait())
    await asyncio.wait((done, stopped), return_when=asyncio.FIRST_COMPLETED)
    stopped.cancel()
    if done.done():
        done.result()
        return True
    return False


@contextlib.contextmanager
def serving(model_base_path: Path, model_name: str) -> Iterator[str]:
    """Serve a model from this process, in a background thread, on a free loopback port.

    Args:
        model_base_path: folder with the model's numbered versions.

    Yields:
        the REST interface's base URL, such as `http://127.0.0.1:41234`; the model is available.

    Raises:
        StartError: the model cannot be loaded.
    """
    if not model_base_path.is_dir():
        raise StartError(f"{model_base_path} is not a folder")
    flags = [f"--model_name={model_name}", f"--model_base_path={model_base_path.absolute()}", *_ONE_SHOT_FLAGS]
    options, _ = parse_flags(flags)
    bound = bind_port(LOOPBACK, 0)
    ready: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = Future()

    async def work() -> None:
        stop = asyncio.Event()
        handle = (asyncio.get_running_loop(), stop)
        await serve(options, stop, rest_socket=bound, on_ready=lambda: ready.set_result(handle))

    def run() -> None:
        try:
            uvloop.run(work())
        except BaseException as error:
            if ready.done():
                _log.exception("the server ended")
            else:
                ready.set_exception(error)

    thread = threading.Thread(target=run, name="serving", daemon=True)
    thread.start()
    loop, stop = ready.result()
    try:
        yield f"http://{LOOPBACK}:{bound.getsockname()[1]}"
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(_STOP_SECONDS)
