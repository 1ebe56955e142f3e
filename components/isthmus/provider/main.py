"""The plugin's process: prints its port, serves until the engine ends it or is gone."""

import argparse
import asyncio
import logging
import signal
import sys
from collections.abc import Sequence
from importlib import metadata

import grpc.aio
from pulumi.runtime.proto import provider_pb2_grpc

from isthmus.provider.engine import Engine
from isthmus.provider.registry import HANDLERS, PACKAGE
from isthmus.provider.servicer import Servicer

_MAX_MESSAGE_BYTES = 400 << 20
_STOP_GRACE_SECONDS = 5
_VERSION_WITHOUT_METADATA = "0.1.0"


def main(arguments: Sequence[str]) -> None:
    """Serves the plugin. arguments: of the command line, as the engine gives them, without the program's name."""
    # stdout belongs to the port number; everything else goes to stderr, which the engine shows at debug level.
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING)
    parser = argparse.ArgumentParser(description="The Isthmus plugin for Pulumi. The engine starts it.")
    parser.add_argument("engine", nargs="?", default="", help="the engine's address, host:port")
    parsed, _ = parser.parse_known_args(arguments)
    asyncio.run(_serve(parsed.engine))


def version() -> str:
    """The package's version, semver."""
    try:
        return metadata.version(PACKAGE)
    except metadata.PackageNotFoundError:  # run from its folder, without having been installed
        return _VERSION_WITHOUT_METADATA


async def _serve(engine_address: str) -> None:
    engine = Engine(engine_address)
    servicer = Servicer(PACKAGE, version(), HANDLERS, engine)
    limits = [("grpc.max_receive_message_length", _MAX_MESSAGE_BYTES), ("grpc.max_send_message_length", _MAX_MESSAGE_BYTES)]
    server = grpc.aio.server(options=limits)
    provider_pb2_grpc.add_ResourceProviderServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    sys.stdout.write(f"{port}\n")
    sys.stdout.flush()

    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    # Ctrl-C reaches the whole process group. The engine then wants to hear what exists, so waiting ends and serving does not.
    loop.add_signal_handler(signal.SIGINT, servicer.cancel)
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    gone = asyncio.ensure_future(engine.until_gone())
    stopped = asyncio.ensure_future(stop.wait())
    await asyncio.wait({gone, stopped}, return_when=asyncio.FIRST_COMPLETED)
    servicer.cancel()
    await server.stop(_STOP_GRACE_SECONDS)
