"""A preview knows what devices will fetch, from what is signed and what this machine has."""

from dataclasses import replace

from tests.fleet_sayings import FLEET
from tests.rollouts.world import World, intent

from isthmus.release import deltas
from isthmus.release.kept_deltas import KeptDeltas
from isthmus.release.manifest import Release
from isthmus.rollouts.contents import Make, contents_of
from isthmus.rollouts.foreseeing import foreseen_downloads
from isthmus.rollouts.intent import Fleet, Intent
from isthmus.sizing.rollout import Download


def about(release: Release, key: bytes | None = None) -> Intent:
    variants, files = contents_of({"*": release}, FLEET, {}, key=key)
    return replace(intent(b""), variants=variants, files=files)


def whole_alone(old: bytes, new: bytes) -> bytes:
    assert not old, "it is signed how large the delta is"
    return deltas.make(old, new)


def foreseen(fleet: Fleet | None, make: Make = deltas.make, *, encrypt: bool = False, **releases: Release) -> dict[str, Download]:
    return foreseen_downloads(FLEET, releases, fleet, make=make, encrypt=encrypt)


def test_of_sealed_contents_all_is_foreseen_with_the_key_and_the_size_of_the_whole_without(world: World, make_release):
    old, new = (make_release(model=bytes(range(256)) * 40 + end) for end in (b"old", b"new"))
    key = world.fleet.content_key
    world.bring(about(old, key))
    found, blind = (foreseen(it, encrypt=True, small=new) for it in (world.fleet, replace(world.fleet, secret=None)))
    world.bring(about(new, key), upto=0)
    (signed,) = world.told.deltas
    assert found == {"small": Download(about(new, key).variants[0].bytes, signed.bytes)}
    assert blind == {"small": replace(found["small"], delta_bytes=None)}


def test_devices_fetch_the_delta_that_publishing_will_make_from_what_the_fleet_had(world: World, make_release):
    old, new = (make_release(model=bytes(range(256)) * 40 + end) for end in (b"old", b"new"))
    full = Download(about(new).variants[0].bytes, None)
    assert foreseen(None, small=new) == foreseen(world.fleet, small=new) == {"small": full}
    world.bring(about(old))
    assert foreseen(world.fleet, small=old)["small"].delta_bytes is None
    found = foreseen(world.fleet, small=new, large=new)
    world.bring(about(new), upto=0)
    (signed,) = world.told.deltas
    assert found == dict.fromkeys(["small", "large"], replace(full, delta_bytes=signed.bytes))
    assert foreseen(world.fleet, small=new) == {"small": found["small"]}
    world.bring(about(new))
    assert foreseen(world.fleet, whole_alone, small=new) == {"small": found["small"]}


def test_where_nothing_signed_can_be_read_no_delta_is_known(world: World, make_release):
    world.store.objects.clear()
    assert [it.delta_bytes for it in foreseen(world.fleet, small=make_release()).values()] == [None]


def test_what_was_made_for_a_preview_is_not_made_again(world: World, make_release, tmp_path, monkeypatch):
    old, new = (make_release(model=bytes(range(256)) * 40 + end) for end in (b"old", b"new"))
    make = KeptDeltas(tmp_path / "deltas").make
    world.bring(about(old))
    first = foreseen(world.fleet, make, small=new)
    monkeypatch.setattr(deltas, "make", None)
    assert foreseen(world.fleet, make, small=new) == first
