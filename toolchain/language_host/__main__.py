"""The entry point: `pulumi-language-python [flags] [engine address]`. Prints the port that it serves on, then nothing more."""

import os
import signal
import sys
import threading
from concurrent import futures
from pathlib import Path

# This folder's own place on the path would let `language_host`'s modules shadow others; its parents' name them properly.
sys.path[0] = str(Path(__file__).resolve().parents[2])
os.environ.setdefault("GRPC_VERBOSITY", "ERROR")  # nothing but errors: what gRPC writes would show up as the program's own words

import grpc  # noqa: E402
from toolchain.language_host.processes import Children  # noqa: E402
from toolchain.language_host.protocol import language_grpc  # noqa: E402
from toolchain.language_host.service import LanguageHost  # noqa: E402

MAX_MESSAGE_BYTES = 400 * 1024 * 1024  # as the engine's own limit
PARENT_CHECK_SECONDS = 1.0


def _sdk_version() -> str:
    from importlib.metadata import version

    return version("pulumi")


def _engine_address(arguments: list[str]) -> str:
    positional = [argument for argument in arguments if not argument.startswith("-")]
    return positional[-1] if positional else ""


def main(arguments: list[str]) -> int:
    """Serves until it is interrupted or the engine that started it is gone."""
    if arguments[:1] in (["-version"], ["--version"]):
        sys.stdout.write(f"{_sdk_version()}\n")
        return 0
    stopping = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopping.set())

    children = Children()
    limits = [("grpc.max_receive_message_length", MAX_MESSAGE_BYTES), ("grpc.max_send_message_length", MAX_MESSAGE_BYTES)]
    # One thread for each program or plugin that runs; they are made only when needed.
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=256), options=limits)
    language_grpc.add_LanguageRuntimeServicer_to_server(LanguageHost(_engine_address(arguments), _sdk_version(), children), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    sys.stdout.write(f"{port}\n")
    sys.stdout.flush()

    parent = os.getppid()
    while not stopping.wait(PARENT_CHECK_SECONDS):
        if os.getppid() != parent:  # the engine died without saying so
            break
    children.close()
    server.stop(None).wait(PARENT_CHECK_SECONDS)
    sys.stdout.flush()
    os._exit(0)  # a thread that still waits for gRPC must not hold the process open


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
