import os
import socket

from isthmus.provider.local import ports


def test_a_chosen_port_is_free_and_given_out_once() -> None:
    chosen = [ports.choose(()) for _ in range(20)]
    assert len(set(chosen)) == 20
    assert all(ports.is_free(port) for port in chosen)


def test_the_holder_of_a_port_is_named() -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        port = server.getsockname()[1]
        assert not ports.is_free(port)
        assert str(os.getpid()) in ports.holder(port).description
