import os
import socket
import subprocess
import sys

import psutil
import pytest

from isthmus.provider.local import ports


def test_a_chosen_port_is_free_and_given_out_once() -> None:
    chosen = [ports.choose(()) for _ in range(20)]
    assert len(set(chosen)) == 20
    assert all(ports.is_free(port) for port in chosen)


def test_a_port_that_one_process_chose_is_not_chosen_by_another_before_its_server_listens() -> None:
    port = ports.choose(())
    program = "import sys; from isthmus.provider.local import ports; ports.random.randint = lambda *_: int(sys.argv[1]); ports.choose(())"
    found = subprocess.run([sys.executable, "-c", program, str(port)], capture_output=True, text=True, check=False, timeout=60)
    assert "ResourceFullError" in found.stderr


def test_a_server_that_began_to_listen_during_the_look_is_known_for_whose_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    look = psutil.net_connections
    looks = 0

    def one_opened_meanwhile(kind: str) -> list[object]:
        nonlocal looks
        looks += 1
        return [it._replace(pid=None) if looks == 1 else it for it in look(kind)]

    monkeypatch.setattr(psutil, "net_connections", one_opened_meanwhile)
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        port = server.getsockname()[1]
        assert ports.listeners({port}) == [(port, os.getpid())]


def test_the_holder_of_a_port_is_named() -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        port = server.getsockname()[1]
        assert not ports.is_free(port)
        assert str(os.getpid()) in ports.holder(port).description
