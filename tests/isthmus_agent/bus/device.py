"""A device of a group as a process of its own, to be killed: python device.py NAME PORT CA_FILE PASSWORD CAPACITY START VERSION."""

import sys
import threading
from pathlib import Path
from typing import Any

from isthmus_agent.bus.link import Broker
from isthmus_agent.bus.member import Member
from isthmus_agent.formats.passing import Outcome
from isthmus_agent.group.core import Core
from isthmus_agent.group.settings import Settings

GROUP = "yard"
SETTINGS = Settings(beat_seconds=0.2, expiry_seconds=1.0, answer_seconds=1.0, aside_seconds=0.5, most_aside_seconds=2.0)

BACKOFF = {"first_backoff_seconds": 0.05, "most_backoff_seconds": 0.4}


class Server:
    """Does requests at once: a request turned round, with who did it."""

    def __init__(self, name: str) -> None:
        self.name, self.worked = name, 0
        self.member: Member | None = None

    def work(self, key: tuple[str, int, int], stream: str, payload: bytes) -> None:
        self.worked += 1
        assert self.member
        self.member.done(key, Outcome.DONE, self.name.encode() + b":" + payload[::-1])


def made(
    name: str, port: int, ca_file: Path | None, password: str, capacity: int, *, start: int, is_5: bool, say=lambda text: None, **more: Any
) -> tuple[Member, Server]:
    broker = Broker(host="127.0.0.1", user=name, password=password, ca_file=ca_file, port=port, speaks_5=is_5, **BACKOFF)
    server = Server(name)
    server.member = Member(GROUP, broker, Core(name, start, capacity, SETTINGS), server.work, say=say, **more)
    return server.member, server


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    name, port, ca_file, password, capacity, start, version = sys.argv[1:]
    member, _ = made(name, int(port), Path(ca_file), password, int(capacity), start=int(start), is_5=version == "5", say=_say)
    member.start()
    threading.Event().wait()
