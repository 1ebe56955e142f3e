"""`python -m isthmus_agent.server START`, as the manager starts it (see `channel`)."""

import os
import resource
import signal
import socket
import sys

from isthmus_agent import channel
from isthmus_agent.channel import Channel, Start
from isthmus_agent.formats.report import Reason


def main(start: Start) -> int:
    """Serves until the manager has it end. The status: 0 where it was drained."""
    channel.end_with(start.parent)
    for number in (signal.SIGINT, signal.SIGTERM):  # meant for the manager, which drains
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGALRM})
    os.nice(start.limits.niceness)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if start.limits.memory_bytes is not None:
        resource.setrlimit(resource.RLIMIT_DATA, (start.limits.memory_bytes, start.limits.memory_bytes))
    control = Channel(socket.socket(fileno=start.control))
    try:
        # Not above: a device without the interpreter has to be able to say so. And what has no content does without it.
        if not start.content:
            from isthmus_agent.server import relay

            return relay.run(start, control)
        from isthmus_agent.server import process
    except ImportError as error:
        control.send(channel.UNFIT, reason=int(Reason.NO_INTERPRETER), text=f"the interpreter cannot be loaded: {str(error)[:200]}")
        return 1
    return process.run(start, control)


if __name__ == "__main__":
    sys.exit(main(Start.from_text(sys.argv[1])))
