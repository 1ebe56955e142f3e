"""What nothing in force names any more is removed, and never what is named, also by somebody who publishes meanwhile."""

import hashlib
from pathlib import Path

import pytest
from tests.fleet_sayings import FLEET, ONE, THREE, TWO, path_of, telling
from tests.fleet_store import MemoryStore

from isthmus.errors import IntegrityError
from isthmus.repository import sweeping
from isthmus.repository.keyring import Keyring
from isthmus.repository.objects import Place
from isthmus.repository.publish import publish, publish_roster


def key_of(place: Place, content: bytes) -> str:
    return place.target_key(path_of(content), hashlib.sha256(content).hexdigest())


def tell(place: Place, keyring: Keyring, content: bytes) -> None:
    publish(place, keyring, FLEET, telling(content), {path_of(content): content})


def test_files_of_releases_that_are_over_are_removed_and_all_else_stays(place: Place, keyring: Keyring, store: MemoryStore):
    for content in (ONE, TWO, THREE):
        tell(place, keyring, content)
    for roster in (b"{}", b"[]"):
        publish_roster(place, keyring, roster)
    store.objects["edge/targets/doors/a.bundle"] = b"another's"
    before = set(store.objects)
    assert list(sweeping.sweep(place, keyring)) == [key_of(place, ONE)]
    assert before - set(store.objects) == {key_of(place, ONE)}  # what was before is what devices go back to
    assert list(sweeping.sweep(place, keyring)) == []
    tell(place, keyring, ONE)
    assert key_of(place, ONE) in store.objects


def test_what_is_put_in_force_while_it_is_swept_stays(place: Place, keyring: Keyring, store: MemoryStore, monkeypatch: pytest.MonkeyPatch):
    for content in (ONE, TWO, THREE):
        tell(place, keyring, content)
    listed, published = store.list, []

    def listing(prefix: str) -> list[str]:
        found = listed(prefix)
        if not published:
            published.append(prefix)
            tell(place, keyring, ONE)  # it is there already
        return found

    monkeypatch.setattr(store, "list", listing)
    assert list(sweeping.sweep(place, keyring)) == [key_of(place, TWO)]
    assert key_of(place, ONE) in store.objects


def test_what_is_swept_while_it_is_put_in_force_is_put_again(
    place: Place, keyring: Keyring, store: MemoryStore, monkeypatch: pytest.MonkeyPatch
):
    put = store.put

    def putting(key: str, data: bytes | Path, **how: object) -> bool:
        if key == place.timestamp_key:
            assert list(sweeping.sweep(place, keyring)) == [key_of(place, ONE)]  # nothing names it yet
        return put(key, data, **how)  # type: ignore[arg-type]

    monkeypatch.setattr(store, "put", putting)
    tell(place, keyring, ONE)
    assert store.objects[key_of(place, ONE)] == ONE


def test_where_what_is_in_force_cannot_be_read_nothing_is_removed(place: Place, keyring: Keyring, store: MemoryStore):
    for content in (ONE, TWO, THREE):
        tell(place, keyring, content)
    store.objects[place.timestamp_key] = b"{}"
    before = dict(store.objects)
    with pytest.raises(IntegrityError):
        list(sweeping.sweep(place, keyring))
    assert store.objects == before
