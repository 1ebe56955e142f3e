"""`python -m isthmus.agent --config FILE`."""

import argparse
import asyncio
import logging
import signal
import socket
import sys
import threading
from pathlib import Path

from aiohttp import web

from isthmus.agent import config as configuration
from isthmus.agent.config import AgentConfig
from isthmus.agent.rest import RestServer
from isthmus.agent.state import State
from isthmus.agent.updater import Updater
from isthmus.errors import InputError, IsthmusError, PlatformError, Problem

# How long a stop waits: for requests under way, and for the store to take the report back.
SHUTDOWN_SECONDS = 2.0
WITHDRAW_SECONDS = 2.0
EXIT_INPUT = 2


async def _serve(config: AgentConfig) -> None:
    state = State()
    stop = threading.Event()
    updater = Updater(config, state, stop)
    runner = web.AppRunner(RestServer(config, state).application(), access_log=None, shutdown_timeout=SHUTDOWN_SECONDS)
    await runner.setup()
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    try:
        site = web.TCPSite(runner, config.bind_address, config.port)
        try:
            await site.start()
        except OSError as error:
            where = f"{config.bind_address}:{config.port}"
            raise PlatformError(f"cannot listen on {where}: {error.strerror}. Fix: choose another port, or end what uses it") from None
        state.endpoint = f"http://{_host(config.bind_address)}:{runner.addresses[0][1]}"
        logging.getLogger(__name__).info("device %s listens on %s", config.device, state.endpoint)
        # A daemon: a store that does not answer must not keep the process from ending. Every write of it is crash-safe.
        thread = threading.Thread(target=updater.run, name="updater", daemon=True)
        thread.start()
        await stopped.wait()
        stop.set()
        await asyncio.to_thread(thread.join, WITHDRAW_SECONDS)
    finally:
        await runner.cleanup()


def _host(bind_address: str) -> str:
    if bind_address in {"0.0.0.0", "::", ""}:  # noqa: S104 - asks whether the user bound to all
        return socket.gethostname()
    return f"[{bind_address}]" if ":" in bind_address else bind_address


def main() -> int:
    """Runs until SIGTERM or SIGINT. 0: stopped; 1: could not run; 2: the configuration is wrong."""
    parser = argparse.ArgumentParser(prog="python -m isthmus.agent", description="Serves one device's release and keeps it up to date.")
    parser.add_argument("--config", type=Path, required=True, metavar="FILE", help="JSON, mode 0600; docs/edge.md has the keys")
    path = parser.parse_args().config
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    try:
        config = configuration.load(path)
        try:
            config.state_directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            problem = Problem(f"{path}: state_directory", f"cannot make {config.state_directory}: {error.strerror}", "a folder of its own")
            raise InputError([problem]) from None
        asyncio.run(_serve(config))
    except InputError as error:
        sys.stderr.write(f"{error}\n")
        return EXIT_INPUT
    except IsthmusError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
