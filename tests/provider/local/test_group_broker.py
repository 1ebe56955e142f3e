"""The broker of a fleet's groups, as a stack starts it."""

import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from random import SystemRandom

import pytest
from tests.isthmus_agent.bus.brokers import free_port, mosquitto_program
from toolchain.testing import patience

from isthmus.platforms.local import desired as local
from isthmus.provider.local.certificates import for_loopback
from isthmus_agent.bus.link import Broker, Down, Link, Up

GROUPS = {"yard": {"a": "word-of-a", "b": "word-of-b"}}
CERTIFICATE = for_loopback()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[[dict[str, str]], int]]:
    """Starts one, and gives its port."""
    for name, content in local.broker_files(GROUPS, CERTIFICATE.certificate_pem, CERTIFICATE.private_pem).items():
        (tmp_path / name).write_text(content)
    processes: list[subprocess.Popen[bytes]] = []

    def begin(environment: dict[str, str]) -> int:
        port = free_port()
        command = [sys.executable, *local.broker("x").command[1:3], str(tmp_path), str(port)]
        environment = {**environment, "PYTHONPATH": os.pathsep.join(sys.path)}
        processes.append(subprocess.Popen(command, env=environment, cwd=tmp_path, stderr=subprocess.DEVNULL))

        def is_open() -> bool:
            with socket.socket() as probe:
                return probe.connect_ex(("127.0.0.1", port)) == 0

        patience.wait_until(is_open, 60)
        return port

    yield begin
    for it in processes:
        it.kill()
        it.wait()


def first(port: int, user: str, password: str, ca_file: Path) -> Up | Down:
    """What a device is told first."""
    told, found = threading.Event(), []
    broker = Broker(host="127.0.0.1", user=user, password=password, ca_file=ca_file, port=port, speaks_5=False)
    reads = [f"isthmus/yard/requests/{user}/+"]
    link = Link(broker, reads, lambda: (f"isthmus/yard/presence/{user}", b""), lambda it: (found.append(it), told.set()), SystemRandom())
    link.start()
    assert told.wait(patience.scaled(30))
    link.close()
    return found[0]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["amqtt", "mosquitto"])
def test_devices_of_a_group_come_in_by_their_passwords_and_nobody_else_does(start, tmp_path, kind):
    environment = {"PATH": str(tmp_path)}
    if kind == "mosquitto":
        program, environment = mosquitto_program()
        environment = {**environment, "PATH": str(Path(program).parent)}
    port = start(environment)
    assert (tmp_path / "mosquitto.conf").exists() is (kind == "mosquitto")
    assert json.loads((tmp_path / "groups.json").read_text()) == GROUPS
    ca_file = tmp_path / "broker.crt"
    assert isinstance(first(port, "a", "word-of-a", ca_file), Up)
    assert isinstance(first(port, "a", "word-of-b", ca_file), Down)
    assert isinstance(first(port, "c", "word-of-a", ca_file), Down)
    for name in ("passwords", *(["acl"] if kind == "mosquitto" else [])):
        assert (tmp_path / name).stat().st_mode & 0o077 == 0
        assert "word-of-a" not in (tmp_path / name).read_text()
