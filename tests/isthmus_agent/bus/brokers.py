"""Brokers for tests: amqtt in a process of its own, and Mosquitto where Debian's is installed or unpacked."""

import json
import os
import shutil
import socket
import subprocess
import sys
import threading
from functools import cache
from pathlib import Path

import pytest
from tests.isthmus_agent.bus import device
from toolchain.prepare import debian
from toolchain.prepare.layout import load
from toolchain.prepare.steps import PrepareError

from isthmus.repository import broker_access

PROJECT = Path(__file__).parents[3]
GROUP = device.GROUP
DEVICES = ("a", "b", "c", "asks")
PASSWORDS = {name: broker_access.derived_password(b"secret", GROUP, name) for name in DEVICES}
_AMQTT = """
import asyncio, json, sys, warnings
warnings.simplefilter("ignore")
from amqtt.broker import Broker
async def main():
    broker = Broker(json.load(open(sys.argv[1])))
    # A subscription that comes while 0.12.1 passes a message on ends its passing on for good (a dictionary that changed while it was read).
    class Steady(type(broker._subscriptions)):
        def items(self):
            return list(super().items())
    broker._subscriptions = Steady(broker._subscriptions)
    await broker.start()
    print("ready", flush=True)
    await asyncio.Event().wait()
asyncio.run(main())
"""


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@cache
def mosquitto_program() -> tuple[str, dict[str, str]]:
    """The program and what its process needs in its environment: the machine's, or Debian's, unpacked into the cache. Skips the test where
    there is none."""
    if found := shutil.which("mosquitto", path=f"{os.environ['PATH']}:/usr/sbin:/usr/local/sbin"):
        return found, dict(os.environ)
    try:
        root = debian.packages(load(PROJECT), ["mosquitto"])
    except PrepareError as error:
        pytest.skip(f"no Mosquitto here: {error}")
    return str(root / "usr" / "sbin" / "mosquitto"), debian.environment(root)


class RunningBroker:
    """A broker's process, which can be killed and started again at the same port. Without a certificate (amqtt alone) there is no TLS."""

    def __init__(self, kind: str, folder: Path, certificate: Path | None = None, key: Path | None = None) -> None:
        self.kind, self.folder, self.port, self.speaks_5 = kind, folder, free_port(), kind == "mosquitto"
        self.process: subprocess.Popen[bytes] | None = None
        groups = {GROUP: PASSWORDS}
        if kind == "mosquitto":
            found = mosquitto_program()
            files = broker_access.mosquitto(groups, certificate=str(certificate), key=str(key), address="127.0.0.1", port=self.port)
            for name, content in files.by_name.items():
                (folder / name).write_text(content)
            # Started by root, it becomes a user that may not read the test's folder.
            with (folder / "mosquitto.conf").open("a") as file:
                file.write(f"user {os.environ.get('USER') or 'root'}\n")
            self._command, self._environment = [found[0], "-c", "mosquitto.conf"], found[1]
        else:
            from pwdlib.hashers.argon2 import Argon2Hasher

            # Cheap: the default of 64 MB for each connection would be most of what the tests cost.
            hasher = Argon2Hasher(time_cost=1, memory_cost=8, parallelism=1)
            configuration, passwords = broker_access.amqtt(
                groups,
                bind=f"127.0.0.1:{self.port}",
                password_file=str(folder / "passwords"),
                hashed=hasher.hash,
                certificate=certificate and str(certificate),
                key=key and str(key),
            )
            (folder / "passwords").write_text(passwords)
            (folder / "amqtt.json").write_text(json.dumps(configuration))
            self._command, self._environment = [sys.executable, "-c", _AMQTT, "amqtt.json"], dict(os.environ)

    def start(self) -> None:
        log = (self.folder / "log").open("ab")
        self.process = subprocess.Popen(self._command, cwd=self.folder, env=self._environment, stdout=log, stderr=log)
        log.close()
        tries = threading.Event()
        for _ in range(600):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            assert self.process.poll() is None, (self.folder / "log").read_text()
            tries.wait(0.02)
        raise AssertionError("the broker does not listen")

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None
