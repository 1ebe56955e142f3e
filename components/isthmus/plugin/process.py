"""A plugin's process: prints its port, serves until the engine ends it or is gone."""

import argparse
import asyncio
import logging
import signal
import sys
from collections.abc import Callable, Sequence

import grpc.aio
from pulumi.runtime.proto import provider_pb2_grpc

from isthmus.plugin.engine import Engine
from isthmus.plugin.servicing import ServicerBase

_MAX_MESSAGE_BYTES = 400 << 20
_STOP_GRACE_SECONDS = 4  # less than the engine waits


def run(description: str, make_servicer: Callable[[Engine], ServicerBase], arguments: Sequence[str]) -> None:
    """Serves a plugin. arguments: of the command line, as the engine gives them, without the program's name."""
    # stdout belongs to the port number; everything else goes to stderr, which the engine shows at debug level.
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING)
    parser = argparse.ArgumentParser(description=f"{description} The engine starts it.")
    parser.add_argument("engine", nargs="?", default="", help="the engine's address, host:port")
    parsed, _ = parser.parse_known_args(arguments)
    asyncio.run(_serve(parsed.engine, make_servicer))


async def _serve(engine_address: str, make_servicer: Callable[[Engine], ServicerBase]) -> None:
    engine = Engine(engine_address)
    servicer = make_servicer(engine)
    limits = [("grpc.max_receive_message_length", _MAX_MESSAGE_BYTES), ("grpc.max_send_message_length", _MAX_MESSAGE_BYTES)]
    server = grpc.aio.server(options=limits)
    provider_pb2_grpc.add_ResourceProviderServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    sys.stdout.write(f"{port}\n")
    sys.stdout.flush()

    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    # The engine closes a plugin with an interrupt, and waits 5 s for it to end. Ctrl-C does not get here: it arrives as a Cancel call.
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    gone = asyncio.ensure_future(engine.until_gone())
    stopped = asyncio.ensure_future(stop.wait())
    await asyncio.wait({gone, stopped}, return_when=asyncio.FIRST_COMPLETED)
    servicer.cancel()
    await server.stop(_STOP_GRACE_SECONDS)
