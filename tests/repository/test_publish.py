"""Publishing: in an order that can be broken off anywhere, and against others who publish at the same time."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from threading import Barrier

import pytest
from tests.fleet_sayings import FLEET, ONE, THREE, TWO, overstated, path_of, telling
from tests.fleet_store import MemoryStore, Served
from tests.repository.devices import Device
from toolchain.testing import patience

from isthmus.errors import InputError, IntegrityError, IsthmusError
from isthmus.repository import changes
from isthmus.repository.keyring import Keyring
from isthmus.repository.keys import KeyNotAtHandError
from isthmus.repository.objects import Place, RacedError
from isthmus.repository.publish import publish, publish_roster
from isthmus.repository.roles import meta_of, signed, snapshot_of
from isthmus_agent.formats.assignment import Assignment
from isthmus_agent.formats.probation import Probation
from isthmus_agent.manager.failures import RepositoryFailure


def tell(place: Place, keyring: Keyring, content: bytes) -> int:
    return publish(place, keyring, FLEET, telling(content), {path_of(content): content}).assignment.number


def test_numbers_grow_by_one(place: Place, keyring: Keyring):
    assert [tell(place, keyring, content) for content in (ONE, TWO, THREE)] == [1, 2, 3]


def test_files_come_first_and_what_is_in_force_last(place: Place, keyring: Keyring, store: MemoryStore):
    store.puts.clear()
    tell(place, keyring, ONE)
    names = [key.removeprefix("edge/").rpartition("/")[2].partition(".")[2] or key for key in store.puts]
    assert names == [path_of(ONE).rpartition("/")[2], "cameras.json", "snapshot.json", "json"]
    assert store.puts[-1] == "edge/metadata/timestamp.json"


def test_a_wave_is_opened_by_three_small_files_however_large_the_roster_is(place: Place, keyring: Keyring, store: MemoryStore):
    publish_roster(place, keyring, b"x" * (1 << 20))
    tell(place, keyring, ONE)
    store.puts.clear()
    opened = publish(place, keyring, FLEET, changes.opened)
    assert (opened.assignment.number, opened.assignment.open_waves) == (1, 2)
    assert [key.rpartition("/")[2] for key in store.puts] == ["2.cameras.json", "4.snapshot.json", "timestamp.json"]
    assert sum(len(store.objects[key]) for key in store.puts) < 4096


def test_an_abort_tells_the_content_before_under_a_new_number(place: Place, keyring: Keyring):
    tell(place, keyring, ONE)
    tell(place, keyring, TWO)
    aborted = publish(place, keyring, FLEET, changes.aborted).assignment
    assert (aborted.number, aborted.variants[0].bundle) == (3, path_of(ONE))
    wanted = aborted.wanted("any", {}, "*")
    assert wanted is not None
    assert wanted.number == 3


def test_what_was_asked_of_a_release_is_not_asked_of_the_one_that_devices_go_back_to(place: Place, keyring: Keyring):
    tell(place, keyring, ONE)
    tell(place, keyring, TWO)
    strict = Probation(5, 1, max_p95_microseconds=1, max_rss_bytes=1, max_distribution_distance_millionths=0)
    publish(place, keyring, FLEET, lambda told, number: replace(told, probation=strict))
    assert publish(place, keyring, FLEET, changes.aborted).assignment.probation == Probation(5, 1)


def test_there_is_nothing_to_abort_to_before_a_second_release(place: Place, keyring: Keyring):
    tell(place, keyring, ONE)
    with pytest.raises(InputError, match="nothing before"):
        publish(place, keyring, FLEET, changes.aborted)


@pytest.mark.parametrize("number", [4, 2**40])
def test_no_other_number_than_the_next_can_be_published(place: Place, keyring: Keyring, number: int):
    tell(place, keyring, ONE)
    tell(place, keyring, TWO)
    with pytest.raises(InputError, match=f"has number {number}; expected 3"):
        publish(place, keyring, FLEET, overstated(number))


def test_one_number_does_not_stand_for_two_contents(place: Place, keyring: Keyring):
    tell(place, keyring, ONE)
    with pytest.raises(InputError, match="has number 1; expected 2"):
        publish(place, keyring, FLEET, lambda told, number: telling(TWO)(None, 1), {path_of(TWO): TWO})


# A publisher's writes: bundle, role, snapshot, timestamp.
@pytest.mark.parametrize("write", [1, 2, 3, 4])
def test_a_publisher_killed_at_any_write_leaves_what_was_in_force_and_the_next_one_completes(
    place: Place, keyring: Keyring, http: Served, tmp_path: Path, write: int
):
    store = http.store
    tell(place, keyring, ONE)
    device, newcomer = (Device(http, keyring, tmp_path / name) for name in ("device", "newcomer"))
    assert device.number() == 1
    with store.killed_at(write):
        tell(place, keyring, TWO)
    assert (device.number(), newcomer.number()) == (1, 1)
    assert tell(place, keyring, TWO) == 2
    assert (device.number(), newcomer.number()) == (2, 2)
    device.repository.download(path_of(TWO), tmp_path / "part")
    assert (tmp_path / "part").read_bytes() == TWO


def test_all_writes_of_a_publisher_were_tried(place: Place, keyring: Keyring, store: MemoryStore):
    tell(place, keyring, ONE)
    store.attempts = 0
    tell(place, keyring, TWO)
    assert store.attempts == 4


class Backwards(MemoryStore):
    """A store through which a publisher's writes arrive in the wrong order: what is in force first."""

    def __init__(self, behind: MemoryStore) -> None:
        super().__init__()
        self.objects, self._behind, self._held = behind.objects, behind, list[tuple[str, bytes | Path]]()

    def put(self, key: str, data: bytes | Path, *, only_new: bool = False, over: str = "") -> bool:
        if not key.endswith("timestamp.json"):
            self._held.append((key, data))
            return True
        return all(self._behind.put(*it) for it in [(key, data), *self._held])


def test_the_wrong_order_is_seen_to_fail(place: Place, keyring: Keyring, store: MemoryStore, http: Served, tmp_path: Path):
    """The negative control of the test above."""
    tell(place, keyring, ONE)
    device = Device(http, keyring, tmp_path / "device")
    assert device.number() == 1
    with store.killed_at(2):
        tell(Place(Backwards(store), place.prefix), keyring, TWO)
    with pytest.raises(RepositoryFailure):
        device.number()


def test_of_sixteen_racing_publishers_one_wins_and_the_others_are_told(place: Place, keyring: Keyring, http: Served, tmp_path: Path):
    tell(place, keyring, ONE)
    all_have_read = Barrier(16)

    def race(index: int) -> str:
        content = b"bundle %d" % index

        def change(told: Assignment | None, number: int) -> Assignment:
            all_have_read.wait(patience.scaled(60))
            return telling(content)(told, number)

        try:
            return f"number {publish(place, keyring, FLEET, change, {path_of(content): content}).assignment.number} is {path_of(content)}"
        except RacedError as error:
            return str(error)

    with ThreadPoolExecutor(16) as pool:
        results = sorted(pool.map(race, range(16)))
    assert results[0].startswith("number 2 is ")
    assert set(results[1:]) == {str(RacedError())}
    found = Device(http, keyring, tmp_path / "device").poll()
    assert found is not None
    assert found.assignment is not None
    assert results[0].endswith(found.assignment.variants[0].bundle)


def test_rubbish_under_the_next_names_is_passed_over(place: Place, keyring: Keyring, store: MemoryStore, http: Served, tmp_path: Path):
    for name in ("1.cameras.json", "2.cameras.json", "3.snapshot.json", "9" * 400 + ".cameras.json", "7.timestamp.json"):
        store.objects[f"edge/metadata/{name}"] = b"rubbish"
    assert tell(place, keyring, ONE) == 1
    assert Device(http, keyring, tmp_path).number() == 1


def test_a_wall_of_rubbish_is_one_clear_error(place: Place, keyring: Keyring, store: MemoryStore):
    store.objects |= {f"edge/metadata/{number}.cameras.json": b"rubbish" for number in range(1, 100)}
    with pytest.raises(IntegrityError, match="isthmus fleet recover"):
        tell(place, keyring, ONE)


@pytest.mark.parametrize("name", ["timestamp.json", "2.snapshot.json", "1.cameras.json", "1.targets.json"])
@pytest.mark.parametrize("content", [None, b"", b"<html>", b"{}"])
def test_metadata_that_is_missing_or_torn_is_told_with_what_mends_it(
    place: Place, keyring: Keyring, store: MemoryStore, name: str, content: bytes | None
):
    tell(place, keyring, ONE)
    if content is None:
        del store.objects[f"edge/metadata/{name}"]
    else:
        store.objects[f"edge/metadata/{name}"] = content
    with pytest.raises(IntegrityError, match=f"{name}.*isthmus fleet recover"):
        tell(place, keyring, TWO)


def test_what_lies_under_a_bundles_name_is_looked_at(place: Place, keyring: Keyring, store: MemoryStore, http: Served, tmp_path: Path):
    tell(place, keyring, ONE)
    (bundle,) = (key for key in store.objects if key.endswith(".bundle"))
    store.objects[bundle] = b"something else"
    tell(place, keyring, ONE)
    assert store.objects[bundle] == ONE


def test_a_named_file_that_is_nowhere_is_told(place: Place, keyring: Keyring):
    with pytest.raises(InputError, match=path_of(ONE)):
        publish(place, keyring, FLEET, telling(ONE))


class Deaf(MemoryStore):
    """Its first answer to the timestamp's write is lost, and the write is sent again."""

    def put(self, key: str, data: bytes | Path, *, only_new: bool = False, over: str = "") -> bool:
        done = super().put(key, data, only_new=only_new, over=over)
        return super().put(key, data, only_new=only_new, over=over) if key.endswith("timestamp.json") else done


def test_a_write_whose_answer_was_lost_is_no_race(keyring: Keyring, store: MemoryStore):
    deaf = Deaf()
    deaf.objects = store.objects
    assert tell(Place(deaf, "edge/"), keyring, ONE) == 1


def test_metadata_larger_than_devices_read_is_refused(keyring: Keyring):
    meta = {f"fleet-{number}": meta_of(1, b"{}") for number in range(2000)}
    with pytest.raises(InputError, match=r"snapshot would have \d+ bytes, and devices read 131072 at most"):
        signed(snapshot_of(1, datetime.now(UTC), meta), keyring.signers("snapshot"))


def test_nothing_is_written_without_the_keys(place: Place, keyring: Keyring, store: MemoryStore):
    (keyring.folder / "timestamp-1.pem").unlink()
    store.puts.clear()
    with pytest.raises(IsthmusError, match=r"role timestamp needs 1 keys, and 0 are at hand.*timestamp-1\.pem") as caught:
        tell(place, keyring, ONE)
    assert not isinstance(caught.value, KeyNotAtHandError)
    assert store.puts == []


def test_somebody_who_publishes_between_the_reading_and_the_writing_wins(place: Place, keyring: Keyring):
    def late(told, number):
        tell(place, keyring, TWO)
        return telling(ONE)(told, number)

    with pytest.raises(RacedError):
        publish(place, keyring, FLEET, late, {path_of(ONE): ONE})
    assert tell(place, keyring, THREE) == 2
