"""A roster that the store has lost: put back from a copy or from an earlier one, or what to do is said."""

from collections.abc import Callable

import pytest
from tests.fleet_sayings import FLEET, TWO, path_of, telling
from tests.fleet_store import MemoryStore

from isthmus.errors import InputError
from isthmus.repository import roster
from isthmus.repository.keyring import Keyring
from isthmus.repository.objects import Place
from isthmus.repository.publish import publish
from isthmus.repository.recover import recover
from isthmus_agent.formats.roster import Device, Roster

PATH = f"roster/{FLEET}.json"
ONE, BOTH = ["camera-1"], ["camera-1", "camera-2"]


def join(place: Place, keyring: Keyring, name: str) -> Roster:
    return roster.change(place, keyring, FLEET, lambda it: it.with_device(Device(name, "small")))


def names(place: Place, keyring: Keyring) -> list[str]:
    return [device.name for device in roster.read(place, keyring, FLEET).devices]


def objects_of(store: MemoryStore) -> list[str]:
    """The lists in the store, the newest last."""
    return [key for key in dict.fromkeys(store.puts) if key.startswith("edge/targets/roster/")]


@pytest.fixture
def joined(place: Place, told: Keyring) -> Keyring:
    """The key ring of a fleet with two devices, one after the other."""
    join(place, told, "camera-1")
    join(place, told, "camera-2")
    return told


def forget_copy(keyring: Keyring) -> bytes:
    """Removes the copy beside the key ring, and gives it."""
    path = keyring.folder / f"{FLEET}-roster.json"
    content = path.read_bytes()
    path.unlink()
    return content


DAMAGES: dict[str, Callable[[MemoryStore, str], object]] = {
    "missing": lambda store, key: store.objects.pop(key),
    "foreign": lambda store, key: store.objects.update({key: b"{}"}),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_it_is_put_back_as_it_was_from_the_copy_beside_the_key_ring(place: Place, joined: Keyring, store: MemoryStore, damage: str):
    DAMAGES[damage](store, objects_of(store)[-1])
    recovered = recover(place, joined)
    assert f"{PATH} is put back from a copy" in recovered.done
    assert recovered.missing == ()
    assert names(place, joined) == BOTH
    assert recover(place, joined).done == ()


def test_without_a_copy_the_newest_that_was_signed_takes_its_place_and_that_is_said(place: Place, joined: Keyring, store: MemoryStore):
    forget_copy(joined)
    del store.objects[objects_of(store)[-1]]
    recovered = recover(place, joined)
    assert any(f"{PATH} is signed anew from what was signed in version 1, with 1 devices" in line for line in recovered.done)
    assert (names(place, joined), recovered.missing) == (ONE, ())
    join(place, joined, "camera-3")
    assert names(place, joined) == ["camera-1", "camera-3"]


def test_a_list_in_the_store_that_nobody_signed_takes_no_place(place: Place, joined: Keyring, store: MemoryStore):
    forget_copy(joined)
    first, last = objects_of(store)
    store.objects[first] = store.objects.pop(last)
    assert recover(place, joined).missing == (PATH,)


def test_a_copy_that_is_given_goes_before_an_earlier_one(place: Place, joined: Keyring, store: MemoryStore):
    forget_copy(joined)
    del store.objects[objects_of(store)[-1]]
    copy = Roster(FLEET, (Device("camera-7", "small"),)).to_json()
    recover(place, joined, rosters={FLEET: copy})
    assert names(place, joined) == ["camera-7"]


def test_where_nothing_is_left_the_fleet_goes_on_and_an_empty_list_may_begin(place: Place, joined: Keyring, store: MemoryStore):
    forget_copy(joined)
    for key in objects_of(store):
        del store.objects[key]
    assert recover(place, joined).missing == (PATH,)
    publish(place, joined, FLEET, telling(TWO), {path_of(TWO): TWO})
    recover(place, joined, rosters={FLEET: Roster(FLEET).to_json()})
    assert names(place, joined) == []
    join(place, joined, "camera-1")
    assert names(place, joined) == ONE


@pytest.mark.parametrize("has_copy", [True, False])
def test_what_names_the_list_is_lost_as_well(place: Place, joined: Keyring, store: MemoryStore, has_copy: bool):
    if not has_copy:
        forget_copy(joined)
    for key in [it for it in store.objects if it.endswith(".roster.json")]:
        del store.objects[key]
    recovered = recover(place, joined)
    assert recovered.missing == (() if has_copy else (PATH,))
    assert names(place, joined) == (BOTH if has_copy else [])


def test_a_list_that_is_there_is_not_replaced_by_a_copy(place: Place, joined: Keyring):
    assert recover(place, joined, rosters={FLEET: Roster(FLEET).to_json()}).done == ()
    assert names(place, joined) == BOTH


def test_a_roster_key_that_is_not_here_is_said(place: Place, joined: Keyring, store: MemoryStore):
    forget_copy(joined)
    del store.objects[objects_of(store)[-1]]
    (joined.folder / "roster-1.pem").unlink()
    recovered = recover(place, joined)
    assert any(f"{PATH} is not put back: role roster needs 1 keys, and 0 are at hand" in line for line in recovered.done)
    assert recovered.missing == (PATH,)


@pytest.mark.parametrize("content", [b"", b"{}", Roster("doors").to_json()], ids=["nothing", "no roster", "another fleet's"])
def test_a_copy_that_is_none_is_refused_before_anything_is_changed(place: Place, joined: Keyring, store: MemoryStore, content: bytes):
    before = dict(store.objects)
    with pytest.raises(InputError, match="the copy"):
        recover(place, joined, rosters={FLEET: content})
    assert store.objects == before
