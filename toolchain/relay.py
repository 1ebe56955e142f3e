"""Carries TCP connections from one network namespace to another.

`python relay.py LISTEN_NAMESPACE ADDRESS:PORT CONNECT_NAMESPACE ADDRESS:PORT PID` prints the port that it listens on, and goes on
until it is ended, or the process PID ends. The standard library alone, so that it starts fast.
"""

import asyncio
import contextlib
import ctypes
import os
import signal
import socket
import sys

CLONE_NEWNET = 0x40000000
CHUNK_BYTES = 1 << 18
# The namespace of whoever starts the relay.
OWN_NAMESPACE = "/proc/self/ns/net"


def command(listen_namespace: str, listen: str, connect_namespace: str, connect: str, pid: int) -> list[str]:
    """The command line of a relay, see above. listen: its port may be 0."""
    return [sys.executable, "-IS", os.path.abspath(__file__), listen_namespace, listen, connect_namespace, connect, str(pid)]


def enter(namespace: int) -> None:
    """Moves this thread into an open network namespace. Sockets made before stay where they were made."""
    if ctypes.CDLL(None, use_errno=True).setns(namespace, CLONE_NEWNET):
        number = ctypes.get_errno()
        raise OSError(number, f"a network namespace can't be entered: {os.strerror(number)}")


def address(text: str) -> tuple[str, int]:
    """`HOST:PORT` → both."""
    host, _, port = text.rpartition(":")
    return host, int(port)


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while chunk := await reader.read(CHUNK_BYTES):
        writer.write(chunk)
        await writer.drain()
    if writer.can_write_eof():
        writer.write_eof()


async def _carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, host: str, port: int) -> None:
    with contextlib.suppress(OSError):
        try:
            far_reader, far_writer = await asyncio.open_connection(host, port)
        except OSError:
            # The peer sees a reset, as it would see a refusal, and no orderly end.
            writer.transport.abort()
            return
        try:
            # A broken half breaks the other, too; a half that has ended in good order does not.
            async with asyncio.TaskGroup() as group:
                group.create_task(_copy(reader, far_writer))
                group.create_task(_copy(far_reader, writer))
        except* OSError:
            far_writer.transport.abort()
            writer.transport.abort()
        finally:
            far_writer.close()
            writer.close()


async def _serve(listener: socket.socket, host: str, port: int, pid: int) -> None:
    done, loop = asyncio.Event(), asyncio.get_running_loop()
    loop.add_reader(os.pidfd_open(pid), done.set)
    loop.add_signal_handler(signal.SIGTERM, done.set)
    async with await asyncio.start_server(lambda reader, writer: _carry(reader, writer, host, port), sock=listener):
        await done.wait()
        os._exit(0)  # connections end with the process


def main(listen_namespace: str, listen: str, connect_namespace: str, connect: str, pid: str) -> None:
    """See above."""
    # Both are opened here, where a path through /proc/self still means the namespace that this process was started in.
    there, here = (os.open(path, os.O_RDONLY | os.O_CLOEXEC) for path in (connect_namespace, listen_namespace))
    enter(here)
    listener = socket.create_server(address(listen), backlog=1024)
    print(listener.getsockname()[1], flush=True)
    sys.stdout.close()
    enter(there)
    asyncio.run(_serve(listener, *address(connect), int(pid)))


if __name__ == "__main__":
    main(*sys.argv[1:])
