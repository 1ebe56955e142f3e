"""Mishaps that ended devices of the program before this one, on whole devices."""

import os
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from tests.isthmus_agent import contents
from tests.isthmus_agent.cutting import Disk, Placed, need, why_no_disk
from tests.isthmus_agent.living import Fleet, Living

from isthmus_agent.formats.probation import Probation
from isthmus_agent.formats.report import Reason

Content = Callable[..., bytes]
pytestmark = pytest.mark.slow


FATAL: dict[str, tuple[Callable[[], bytes], object, int, Reason]] = {
    "ends the interpreter": (contents.fmod_content, contents.DIVIDES, 500, Reason.CRASHED),
    "never ends": (contents.loop_content, contents.LOOPS, 504, Reason.HUNG),
}


@pytest.mark.parametrize("how", FATAL)
def test_one_request_that_a_release_does_not_survive_costs_that_request_and_takes_the_device_back(
    fleet: Fleet, confirmed: Living, content: Content, how: str
):
    make, rows, status, reason = FATAL[how]
    number = fleet.tell(make(), probation=Probation(600))
    confirmed.await_served(make())
    assert confirmed.predict(rows) == status
    report = fleet.await_outcome(number, "rolled_back")
    assert (report.reason, report.figures.crashes) == (reason, 1)
    confirmed.await_served(content(1))
    assert isinstance(confirmed.predict(), list)


def test_a_device_with_few_descriptors_and_many_clients_that_say_nothing_is_updated_and_answers(
    fleet: Fleet, device: Living, content: Content
):
    """Case 10: it could start no server and read no file any more."""
    number = fleet.tell(content(1), probation=Probation(0))
    device.start(["prlimit", "--nofile=40:40", *device.arguments("run")])
    fleet.await_outcome(number, "confirmed")
    address = urlsplit(device.url)
    with ExitStack() as clients:
        for _ in range(45):
            client = clients.enter_context(socket.create_connection((address.hostname, address.port)))
            client.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        fleet.await_outcome(fleet.tell(content(2), probation=Probation(0)), "confirmed")
    assert isinstance(device.predict(), list)
    assert [it["what"] for it in device.told()["events"] if "Too many open files" in it["what"]] == []


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    need(why_no_disk())
    disk = Disk(tmp_path)
    yield disk
    disk.close()


def fill(file: Path) -> None:
    """Takes what is free on a disk."""
    with suppress(OSError), file.open("wb", buffering=0) as stream:
        while True:
            stream.write(bytes(1 << 12))


@pytest.fixture
def placed(fleet: Fleet, disk: Disk, content: Content, tmp_path: Path) -> Iterator[Placed]:
    """It serves content 1, and its state is on a disk of its own."""
    pace = {"poll_seconds": 0.1, "retry_seconds": 0.05, "measure_seconds": 0.05}
    device = Placed(fleet, tmp_path / "device", pace, at=disk.root / "state")
    number = fleet.tell(content(1), probation=Probation(0))
    try:
        device.start()
        fleet.await_outcome(number, "confirmed")
        yield device
    finally:
        device.kill()


def test_a_full_disk_blocks_an_update_until_there_is_room(fleet: Fleet, disk: Disk, placed: Placed, content: Content):
    fill(disk.root / "filler")
    report = fleet.await_outcome(fleet.tell(content(2), probation=Probation(0)), "blocked")
    assert report.reason is Reason.DISK_FULL
    placed.stop()
    placed.start()  # what it has, it serves
    placed.await_served(content(1))
    os.unlink(disk.root / "filler")
    placed.await_served(content(2))


def test_a_device_whose_disk_became_read_only_serves_on_and_is_updated_once_it_is_not(
    fleet: Fleet, disk: Disk, placed: Placed, content: Content
):
    placed.stop()
    subprocess.run(["mount", "-o", "remount,ro", str(disk.root)], check=True)
    placed.start()
    placed.await_served(content(1))
    fleet.tell(content(2), probation=Probation(0))
    assert isinstance(placed.predict(), list)
    subprocess.run(["mount", "-o", "remount,rw", str(disk.root)], check=True)
    placed.await_served(content(2))
