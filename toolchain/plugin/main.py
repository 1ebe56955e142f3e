"""A plugin's process: prints its port, serves until the engine ends it or is gone."""

import argparse
import asyncio
import logging
import sys
from collections.abc import Sequence

from toolchain.plugin.handler import Provider
from toolchain.plugin.servicer import Servicer

from isthmus.provider.main import serve


def main(provider: Provider, arguments: Sequence[str]) -> None:
    """Serves the provider. arguments: of the command line, as the engine gives them, without the program's name."""
    # stdout belongs to the port number; everything else goes to stderr, which the engine shows at debug level.
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING)
    parser = argparse.ArgumentParser(description=f"A fall-back {provider.package} plugin for Pulumi. The engine starts it.")
    parser.add_argument("engine", nargs="?", default="", help="the engine's address, host:port")
    parsed, _ = parser.parse_known_args(arguments)
    asyncio.run(serve(parsed.engine, lambda engine: Servicer(provider, engine)))
