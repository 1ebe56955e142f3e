"""Contents as a fleet gets them, and deltas from what is on it."""

import io
from dataclasses import replace

import pytest
from tests.fleet_sayings import FLEET
from tests.rollouts.world import NEW, OLD, THIRD, World, digest_of, intent

from isthmus.release import deltas
from isthmus.repository.objects import Place
from isthmus.rollouts.contents import MOST_OLD_CONTENTS, contents_of, deltas_to
from isthmus.rollouts.looking import read_signed
from isthmus_agent.formats.contents import Variant
from isthmus_agent.formats.sealed_contents import opened


def old_of(*contents: bytes) -> list[Variant]:
    return [intent(it).variants[0] for it in contents]


def made(world: World, *old: Variant, new: bytes = NEW) -> dict[str, str]:
    its = intent(new)
    found, files = deltas_to(its.variants, its.files, old, read_signed(world.fleet).targets, world.fleet.place)
    assert {it.path for it in found} == set(files)
    assert all(it.bytes == len(files[it.path]) < its.variants[0].bytes for it in found)
    return {it.from_: it.to for it in found}


def test_a_delta_is_made_from_each_content_that_is_on_the_fleet(settled: World):
    settled.bring(intent(NEW), upto=0)
    assert made(settled, *old_of(NEW, OLD), new=THIRD) == dict.fromkeys([digest_of(NEW), digest_of(OLD)], digest_of(THIRD))


def test_a_delta_between_sealed_contents_is_that_of_the_plain_ones_sealed_and_is_made_with_the_key_alone(settled: World):
    key = settled.fleet.content_key
    settled.bring(intent(NEW, key=key))
    its, targets, place = intent(THIRD, key=key), read_signed(settled.fleet).targets, settled.fleet.place
    found, files = deltas_to(its.variants, its.files, settled.told.contents, targets, place, key=key)
    assert {it.from_: opened(io.BytesIO(files[it.path]), it.key, key).read() for it in found} == {
        digest_of(it): deltas.make(it, THIRD) for it in (OLD, NEW)
    }
    assert {it.key for it in found} == {its.variants[0].key}
    assert all(it.bytes == len(files[it.path]) < its.variants[0].bytes for it in found)
    for other in (None, bytes(32)):
        assert deltas_to(its.variants, its.files, settled.told.contents, targets, place, key=other) == ((), {})


def test_there_is_none_from_what_it_is_itself_and_from_what_the_repository_does_not_have(settled: World):
    assert made(settled, *old_of(NEW, THIRD)) == {}


def test_there_is_none_where_it_would_not_be_smaller(settled: World):
    assert made(settled, *old_of(OLD), new=bytes(50)) == {}


@pytest.mark.parametrize("content", [None, b"something else"])
def test_a_bundle_that_is_lost_or_damaged_in_the_store_costs_a_delta_and_no_more(settled: World, content: bytes | None):
    (key,) = (it for it in settled.store.objects if it.endswith(".bundle"))
    if content is None:
        del settled.store.objects[key]
    else:
        settled.store.objects[key] = content
    assert made(settled, *old_of(OLD)) == {}


def test_there_is_none_between_devices_of_different_classes(settled: World):
    its = intent(NEW)
    targets, place = read_signed(settled.fleet).targets, settled.fleet.place
    for new, old, is_made in [("small", "large", False), ("small", "small", True), ("*", "large", True), ("small", "*", True)]:
        wanted, had = replace(its.variants[0], device_class=new), replace(old_of(OLD)[0], device_class=old)
        found, _ = deltas_to([wanted], its.files, [had], targets, place)
        assert bool(found) == is_made


def test_no_more_than_a_handful_are_made():
    asked = []

    class Asked(dict):  # type: ignore[type-arg]
        def get(self, path, default=None):
            asked.append(path)

    its = intent(NEW)
    old = [Variant("*", f"sha256:{number:064x}", f"{FLEET}/{number}.bundle", 1) for number in range(20)]
    deltas_to(its.variants, its.files, old, Asked(), Place(None, ""))  # type: ignore[arg-type]
    assert len(asked) == MOST_OLD_CONTENTS


VALUES = {"p95_ms": 1.5}


def test_a_release_is_the_same_content_each_time_and_one_file_for_classes_that_share_it(make_release):
    release = make_release()
    variants, files = contents_of({"small": release, "*": release}, FLEET, {"small": VALUES, "*": VALUES})
    assert [it.device_class for it in variants] == ["small", "*"]
    assert len({it.digest for it in variants}) == len(files) == 1
    assert variants[0].bundle == f"{FLEET}/{variants[0].digest[7:]}.bundle"
    assert contents_of({"small": release, "*": release}, FLEET, {"small": VALUES, "*": VALUES}) == (variants, files)
    assert contents_of({"*": release}, FLEET, {})[0][0].digest != variants[0].digest
    assert contents_of({"small": release, "*": release}, FLEET, {"small": VALUES})[0][1].digest != variants[1].digest
    key = b"k" * 32
    (sealed,), stored = contents_of({"*": release}, FLEET, {"*": VALUES}, key=key)
    assert contents_of({"*": release}, FLEET, {"*": VALUES}, key=key) == ((sealed,), stored)
    assert sealed.digest == variants[0].digest
    assert sealed.bundle != variants[0].bundle
    assert opened(io.BytesIO(stored[sealed.bundle]), sealed.key, key).read() == files[variants[0].bundle]
