"""A TCP forwarder between two network namespaces: `python -m toolchain.docker_engine.forward LISTEN_NAMESPACE HOST NAMESPACE HOST PORT`.

It listens in one namespace, on a port that the system chooses and that it prints, and connects in the other. It ends with its
standard input, so that it can't outlive the process that started it.
"""

import asyncio
import ctypes
import os
import socket
import sys

_CLONE_NEWNET = 0x40000000
_BLOCK_BYTES = 1 << 16


def _enter(namespace: str) -> None:
    # os.setns came with Python 3.12.
    with open(namespace, "rb") as file:
        if ctypes.CDLL(None, use_errno=True).setns(file.fileno(), _CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), namespace)


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while block := await reader.read(_BLOCK_BYTES):
            writer.write(block)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()
    except OSError:
        writer.close()


async def _serve(listener: socket.socket, host: str, port: int) -> None:
    async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            far_reader, far_writer = await asyncio.open_connection(host, port)
        except OSError:
            writer.transport.abort()  # the client sees a reset, as it would without a forwarder between
            return
        await asyncio.gather(_copy(reader, far_writer), _copy(far_reader, writer))
        for end in (writer, far_writer):
            end.close()

    server = await asyncio.start_server(forward, sock=listener)
    async with server:
        await asyncio.to_thread(sys.stdin.buffer.read)


def main(arguments: list[str]) -> None:
    """Serves until standard input ends."""
    listen_namespace, listen_host, namespace, host, port = arguments
    _enter(listen_namespace)
    listener = socket.create_server((listen_host, 0), backlog=512)
    _enter(namespace)
    print(listener.getsockname()[1], flush=True)
    asyncio.run(_serve(listener, host, int(port)))


if __name__ == "__main__":
    main(sys.argv[1:])
