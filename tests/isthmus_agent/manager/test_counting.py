"""What servers have counted: kept over their ends, bounded on disk, and told once a day to whoever may know it."""

import os
import threading
from pathlib import Path
from typing import Any

import pytest
from tests.isthmus_agent.manager.test_sampling import URL, Now, Store
from toolchain.testing import patience

from isthmus_agent.core.seeing import Tally
from isthmus_agent.disk import durable
from isthmus_agent.formats import experience, told_counts
from isthmus_agent.formats.experience import Row
from isthmus_agent.formats.numbers import FormatError
from isthmus_agent.manager import counting as counting_room
from isthmus_agent.manager.counting import SAVE_SECONDS, TELL_SECONDS, Counting
from isthmus_agent.manager.reporter import Sender

KEY = bytes(range(32))
OBJECT = told_counts.object_key("", "cameras", "camera-1")
MEANING, OTHER = "sha256:" + "a" * 64, "sha256:" + "b" * 64


def seen(count: int = 20, meaning: str = MEANING, following: int = 2) -> dict[str, Any]:
    it = Tally(meaning, "*", 2, 4)
    it.add((0, 1), following, count)
    return it.to_value()


class Device:
    """What keeps counts, a clock and a store."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.now, self.store, self.file = Now(), Store(), folder / "counted"
        self.settings = settings
        self.counting = self.begun()

    def begun(self) -> Counting:
        sender = Sender("camera-1", "cameras", URL, KEY)
        self.counting = Counting(self.file, sender, self.store, by_itself=False, monotonic=self.now, **self.settings)
        return self.counting

    def after(self, seconds: float) -> float | None:
        self.now.seconds += seconds
        return self.counting.turn()

    def told(self) -> experience.Experience | None:
        content = self.store.objects.get(OBJECT)
        return None if content is None else experience.read(told_counts.read(content, "cameras", "camera-1", KEY))


@pytest.fixture
def device(tmp_path: Path) -> Device:
    return Device(tmp_path)


def test_what_is_counted_adds_up_and_is_kept_over_a_new_start(device: Device):
    for _ in range(3):
        device.counting.heard(seen())
    assert not device.file.exists()
    assert device.counting.turn() == SAVE_SECONDS
    device.after(SAVE_SECONDS)
    assert device.file.exists()
    device.begun().heard(seen(40))
    device.counting.close()
    device.begun().follow(True)
    device.after(TELL_SECONDS)
    assert device.told().rows == {(0, 1): Row(0, {2: 100})}


def test_cells_that_are_cut_otherwise_begin_anew(device: Device):
    device.counting.heard(seen())
    device.counting.heard(seen(30, OTHER))
    device.counting.follow(True)
    device.after(TELL_SECONDS)
    assert (device.told().meaning, device.told().rows) == (OTHER, {(0, 1): Row(0, {2: 30})})


def test_it_is_told_where_the_owner_wants_it_and_once_a_day(device: Device):
    device.counting.heard(seen())
    device.after(3 * TELL_SECONDS)
    assert device.store.tries == 0
    device.counting.follow(True)
    assert device.counting.turn() <= TELL_SECONDS
    device.after(0)
    assert device.store.tries == 1
    for _ in range(10):
        device.counting.heard(seen())
        device.after(TELL_SECONDS / 20)
    assert device.store.tries == 1
    device.after(TELL_SECONDS / 2)
    assert device.store.tries == 2
    assert list(device.store.objects) == [OBJECT]
    device.counting.follow(False)
    device.counting.heard(seen())
    device.after(2 * TELL_SECONDS)
    assert device.store.tries == 2


def test_the_first_time_comes_within_a_day_and_not_at_once(tmp_path: Path):
    waits = []
    for _ in range(20):
        device = Device(tmp_path)
        device.counting.heard(seen())
        device.counting.follow(True)
        device.after(SAVE_SECONDS)
        waits.append(device.counting.turn())
    assert max(waits) <= TELL_SECONDS
    assert max(waits) - min(waits) > TELL_SECONDS / 10


def test_what_has_not_changed_and_what_may_not_leave_is_not_sent(device: Device):
    device.counting.follow(True)
    device.counting.heard(seen(9))  # rare
    device.after(TELL_SECONDS)
    assert device.store.tries == 0
    device.counting.heard(seen(20))
    device.after(TELL_SECONDS)
    device.after(TELL_SECONDS)
    assert device.store.tries == 1


def test_a_device_may_refuse_whatever_is_signed(tmp_path: Path):
    device = Device(tmp_path, may_tell=False)
    device.counting.heard(seen())
    device.counting.follow(True)
    device.after(3 * TELL_SECONDS)
    assert (device.store.tries, device.counting.status["told_to_owner"]) == (0, False)


def test_a_store_that_is_away_is_asked_again_later_and_later_and_changes_nothing(device: Device):
    device.store.answers = False
    device.counting.heard(seen())
    device.counting.follow(True)
    waits = [device.after(TELL_SECONDS)]
    for _ in range(12):
        waits.append(device.after(waits[-1]))
    assert waits[0] <= 5
    assert 300 < waits[-1] <= 900
    assert "cannot reach" in device.counting.status["fails"]
    device.store.answers = True
    device.after(900)
    assert device.told().rows == {(0, 1): Row(0, {2: 20})}
    assert device.counting.status == {"told_to_owner": True, "sent": 1, "fails": None}


@pytest.mark.parametrize("content", [b"", b"{}", b"\xff" * 100, b"isthmus 1 " + b"0" * 64 + b"\n{}"])
def test_a_damaged_file_is_begun_anew(tmp_path: Path, content: bytes):
    (tmp_path / "counted").write_bytes(content)
    device = Device(tmp_path)
    device.counting.heard(seen())
    device.after(SAVE_SECONDS)
    device.begun().follow(True)
    device.after(TELL_SECONDS)
    assert device.told().rows == {(0, 1): Row(0, {2: 20})}


def test_a_disk_that_takes_nothing_stops_nothing(tmp_path: Path):
    (tmp_path / "none").touch()
    device = Device(tmp_path / "none")
    device.counting.heard(seen())
    device.after(SAVE_SECONDS)
    device.counting.follow(True)
    device.after(TELL_SECONDS)
    assert device.told() is not None
    device.counting.close()


def test_the_file_is_bounded_whatever_a_server_says(device: Device):
    for place in range(64):
        full = Tally(MEANING, "*", 64, 512)
        for cell in range(512):
            for following in range(0, 512, 64):
                full.add((place, cell), following, 999_999)
        device.counting.heard(full.to_value())
    device.after(SAVE_SECONDS)
    assert 100_000 < os.path.getsize(device.file) < 1 << 20
    device.begun()
    assert device.counting._tally is not None


def test_what_no_server_says_is_refused_and_changes_nothing(device: Device):
    device.counting.heard(seen())
    for value in ({}, [], seen() | {"rows": [[0, 9, 1]]}):
        with pytest.raises(FormatError):
            device.counting.heard(value)
    device.counting.follow(True)
    device.after(TELL_SECONDS)
    assert device.told().rows == {(0, 1): Row(0, {2: 20})}


def test_whoever_counts_does_not_wait_for_a_disk_that_is_slow(device: Device, monkeypatch: pytest.MonkeyPatch):
    reached, goes_on = threading.Event(), threading.Event()

    def slow(file: Path, value: object) -> None:
        reached.set()
        assert goes_on.wait(patience.scaled(30))

    monkeypatch.setattr(durable, "write_document", slow)
    device.counting.heard(seen())
    device.now.seconds += SAVE_SECONDS
    writer = threading.Thread(target=device.counting.turn)
    writer.start()
    assert reached.wait(patience.scaled(30))
    device.counting.heard(seen())
    device.counting.follow(True)
    assert device.counting.status["told_to_owner"]
    goes_on.set()
    writer.join()


def test_by_itself_it_keeps_and_tells_what_is_due(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(counting_room, "SAVE_SECONDS", 0.01)
    monkeypatch.setattr(counting_room, "TELL_SECONDS", 0.01)
    store = Store()
    it = Counting(tmp_path / "counted", Sender("camera-1", "cameras", URL, KEY), store)
    it.follow(True)
    it.heard(seen())
    patience.wait_until(lambda: store.objects)
    patience.wait_until((tmp_path / "counted").exists)
    it.heard(seen(40))
    patience.wait_until(lambda: store.tries == 2)
    it.follow(False)
