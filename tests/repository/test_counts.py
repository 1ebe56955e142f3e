"""What devices have told, read from a store: each its own, what changed is fetched, and nobody floods anybody."""

from pathlib import Path

import pytest
from tests.fleet_sayings import FLEET
from tests.fleet_store import MemoryStore

from isthmus.errors import StoreError
from isthmus.repository import counts
from isthmus.repository.counts import Kept, counted
from isthmus.repository.objects import Place
from isthmus_agent.formats import experience, told_counts
from isthmus_agent.formats.experience import Experience, Row
from isthmus_agent.formats.roster import Device, Roster

SECRET = bytes(range(32))
DEVICES = [Device(f"camera-{it}", "small") for it in range(5)]
ROSTER = Roster(FLEET, tuple(DEVICES))


def seen(device_class: str = "small", count: int = 50) -> Experience:
    return Experience("sha256:" + "a" * 64, device_class, 2, 4, {(0, 1): Row(10, {2: count})})


def key(device: Device) -> str:
    return told_counts.object_key("edge/", FLEET, device.name)


def tell(store: MemoryStore, device: Device, found: Experience, *, by: Device | None = None) -> None:
    store.put(key(device), told_counts.written(found, FLEET, device.name, (by or device).report_key(SECRET, FLEET)))


@pytest.fixture
def told(store: MemoryStore, place: Place) -> Place:
    for device in DEVICES[:3]:
        tell(store, device, seen())
    return place


def test_documents_are_read_by_device_and_those_that_are_none_are_named(told: Place, store: MemoryStore):
    tell(store, DEVICES[3], seen(), by=DEVICES[0])  # who can write to the store made it up
    tell(store, DEVICES[4], seen("large"))
    tell(store, Device("camera-9", "small"), seen())  # has left the roster
    found = counted(told, ROSTER, SECRET)
    assert list(found.contents) == ["camera-0", "camera-1", "camera-2"]
    assert experience.read(found.contents["camera-0"]) == seen()
    assert "has not written it" in found.broken["camera-3"]
    assert "of class large" in found.broken["camera-4"]
    assert list(found.broken) == ["camera-3", "camera-4"]


@pytest.mark.parametrize("content", [b"", b"isthmus-counts-1\n" + bytes(32), bytes(told_counts.MOST_OBJECT_BYTES + 1)])
def test_what_is_no_document_is_named_and_the_others_count(told: Place, store: MemoryStore, content: bytes):
    store.put(key(DEVICES[1]), content)
    found = counted(told, ROSTER, SECRET)
    assert list(found.contents) == ["camera-0", "camera-2"]
    assert list(found.broken) == ["camera-1"]


def test_a_document_of_every_class_is_one_of_this_class(told: Place, store: MemoryStore):
    tell(store, DEVICES[4], seen("*"))
    assert "camera-4" in counted(told, ROSTER, SECRET).contents


def test_what_was_read_once_is_not_fetched_again_and_what_changed_is(told: Place, store: MemoryStore, tmp_path: Path):
    folder = tmp_path / "counts"
    assert counted(told, ROSTER, SECRET, Kept(folder)).requests == 1 + 3
    again = counted(told, ROSTER, SECRET, Kept(folder))
    assert again.requests == 1
    assert again.contents == counted(told, ROSTER, SECRET).contents
    tell(store, DEVICES[1], seen(count=90))
    changed = counted(told, ROSTER, SECRET, Kept(folder))
    assert changed.requests == 2
    assert experience.read(changed.contents["camera-1"]).rows[0, 1].counts == {2: 90}
    assert len(list(folder.iterdir())) == 3  # what was before it is gone


def test_a_damaged_copy_is_checked_like_any_other(told: Place, tmp_path: Path):
    counted(told, ROSTER, SECRET, Kept(tmp_path))
    for file in tmp_path.iterdir():
        file.write_bytes(b"x")
    assert len(counted(told, ROSTER, SECRET, Kept(tmp_path)).broken) == 3


def test_a_folder_that_takes_nothing_stops_nothing(told: Place, tmp_path: Path):
    (tmp_path / "file").touch()
    assert len(counted(told, ROSTER, SECRET, Kept(tmp_path / "file")).contents) == 3


def test_of_too_many_devices_the_same_ones_are_read_each_time(told: Place, store: MemoryStore):
    found = counted(told, ROSTER, SECRET, most=2)
    assert (len(found.contents), found.left_out, found.requests) == (2, 1, 1 + 2)
    assert counted(told, ROSTER, SECRET, most=2) == found
    tell(store, DEVICES[3], seen())
    tell(store, DEVICES[4], seen())
    assert len(set(counted(told, ROSTER, SECRET, most=4).contents) & set(found.contents)) >= 1


def test_a_device_that_floods_the_store_costs_one_more_page(told: Place, store: MemoryStore):
    for index in range(3_500):
        store.objects[f"edge/health/counts/camera-0~{index:05}"] = b""
    store.pages = 0
    found = counted(told, ROSTER, SECRET)
    assert len(found.contents) >= 2
    assert "camera-2" in found.contents
    assert store.pages <= 2


def test_an_empty_store_tells_nothing_and_one_that_is_away_raises(place: Place, monkeypatch: pytest.MonkeyPatch):
    assert counted(place, ROSTER, SECRET) == counts.Counted({}, {}, 0, 1)

    def away(*_: object, **more: object) -> None:
        raise StoreError("cannot reach the store")

    monkeypatch.setattr(place.objects, "page", away)
    with pytest.raises(StoreError):
        counted(place, ROSTER, SECRET)
