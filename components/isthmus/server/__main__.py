"""`python -m isthmus.server`: the embedded server as a process."""

import asyncio
import logging
import os
import signal
import sys

import uvloop

from isthmus.server.errors import StartError
from isthmus.server.flags import Options, parse_flags


def main() -> int:
    """Serve until SIGTERM or SIGINT. Returns the exit code: 1 where the server could not start."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname).1s %(name)s: %(message)s")
    options, notes = parse_flags(sys.argv[1:])
    for note in notes:
        sys.stderr.write(note + "\n")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    try:
        uvloop.run(_serve(options))
    except StartError as error:
        sys.stderr.write(f"Failed to start server. Error: {error}\n")
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


async def _serve(options: Options) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    from isthmus.server.app import serve  # imports TensorFlow, which takes seconds

    logging.getLogger("tensorflow").setLevel(logging.ERROR)  # it calls the session's loader deprecated
    await serve(options, stop)


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    sys.stderr.flush()
    # A prediction that outlives the drain must not hold the process, nor need TensorFlow be torn down piece by piece.
    os._exit(code)
