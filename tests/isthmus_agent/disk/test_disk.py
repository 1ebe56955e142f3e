"""No state on disk may need a visit: every file and folder in every kind of damage; and every write killed at each of its steps."""

import hashlib
import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.isthmus_agent.drawing import counts, digests

from isthmus_agent.core.effects import Say
from isthmus_agent.core.state import Kept, Verdict
from isthmus_agent.disk import durable, marks
from isthmus_agent.disk.opening import opened
from isthmus_agent.disk.queue import MOST_VERDICTS, MOST_WITHOUT_VERDICT, Queue
from isthmus_agent.disk.slots import Parts
from isthmus_agent.formats.numbers import FormatError
from isthmus_agent.formats.probation import Probation
from isthmus_agent.formats.report import Outcome, Reason

OLD, NEW, NEXT = b"old model" * 100, b"new model" * 100, b"next model" * 100


def _digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


KEPT = Kept(7, "ab" * 16, 1000, 3, _digest(NEW), 7, _digest(OLD), 6, verdict=Verdict(7, _digest(NEW), Outcome.CONFIRMED))


def _put(root: Path, content: bytes, number: int) -> bool:
    disk = opened(root)
    with disk.parts.going_on("x.part", 0) as stream:
        stream.write(content)
    return disk.slots.put(disk.parts.path("x.part"), _digest(content), number)


def _fill(root: Path) -> None:
    assert _put(root, OLD, 6)
    assert _put(root, NEW, 7)
    disk = opened(root)
    disk.keep(KEPT)
    disk.queue.put(Say(7, _digest(NEW), Outcome.CONFIRMED))
    with disk.parts.going_on("y.part", 0) as stream:
        stream.write(b"begun")


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("filled")
    _fill(folder)
    return folder


@pytest.fixture
def root(filled: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(filled, tmp_path / "state"))


def _device(file: Path) -> None:
    try:
        os.mknod(file, 0o600 | 0o020000, os.makedev(1, 5))  # /dev/zero
    except PermissionError:
        pytest.skip("devices are made by root alone")


def _instead(make: Callable[[Path], object]) -> Callable[[Path], None]:
    def damage(path: Path) -> None:
        durable.remove(path)
        make(path)

    return damage


def _folder(path: Path) -> None:
    path.mkdir()
    (path / "inside").write_bytes(b"x")


DAMAGES: dict[str, Callable[[Path], object]] = {
    "missing": durable.remove,
    "empty": _instead(lambda path: path.write_bytes(b"")),
    "other content": _instead(lambda path: path.write_bytes(b"{}")),
    "binary": _instead(lambda path: path.write_bytes(bytes(range(256)) * 1000)),
    "folder": _instead(_folder),
    "pipe": _instead(os.mkfifo),
    "device": _instead(_device),
    "dangling link": _instead(lambda path: path.symlink_to("nowhere")),
    "link to itself": _instead(lambda path: path.symlink_to(path.name)),
    "link to a file": _instead(lambda path: path.symlink_to("/etc/hostname")),
    "no permissions": lambda path: path.chmod(0),
    "read-only": lambda path: path.chmod(0o400),
    "duplicated": lambda path: path.is_file() and shutil.copy(path, path.with_name(f"{path.name}.bak")),
    "torn": lambda path: path.is_file() and os.truncate(path, path.stat().st_size // 2),
    "zeroed": lambda path: path.is_file() and path.write_bytes(bytes(path.stat().st_size)),
    "one bit flipped": lambda path: path.is_file() and path.write_bytes(path.read_bytes()[:-1] + bytes([path.read_bytes()[-1] ^ 1])),
}
OLD_HEX, NEW_HEX = _digest(OLD)[7:], _digest(NEW)[7:]
SLOTS = [f"slots/{OLD_HEX}", f"slots/{NEW_HEX}", f"slots/{OLD_HEX}.note", f"slots/{NEW_HEX}.note", "slots/number"]
PLACES = ["mark-a", "mark-b", *SLOTS, "parts/y.part", "reports/7", "slots", "parts", "reports"]


def _works(root: Path, least_number: int) -> None:
    """What holds after every damage: only whole contents are held, the number is not lower, and the folder can be used."""
    disk = opened(root)
    assert disk.kept.number >= least_number
    for digest in disk.held:
        assert _digest(disk.slots.path(digest).read_bytes()) == digest
    assert _put(root, NEXT, 8)
    disk = opened(root)
    disk.keep(replace(disk.kept, number=8, current=_digest(NEXT)))
    disk.queue.put(Say(8, _digest(NEXT), Outcome.CONFIRMED))
    again = opened(root)
    assert (again.kept.number, again.kept.current, again.is_lost) == (8, _digest(NEXT), False)
    assert _digest(NEXT) in again.held
    assert Say(8, _digest(NEXT), Outcome.CONFIRMED) in again.queue.waiting


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("place", PLACES)
def test_one_thing_that_is_damaged_loses_no_number_and_is_mended(root, place, damage):
    DAMAGES[damage](root / place)
    disk = opened(root)
    assert (disk.kept, disk.is_lost) == (KEPT, False)
    if place not in ("slots", f"slots/{NEW_HEX}"):
        assert _digest(NEW) in disk.held
    _works(root, 7)


@pytest.mark.parametrize("damage", [name for name in DAMAGES if name not in ("duplicated", "read-only", "no permissions")])
def test_without_a_valid_mark_the_number_is_witnessed_and_only_what_is_fresh_is_believed(root, damage):
    for name in marks.NAMES:
        DAMAGES[damage](root / name)
    disk = opened(root)
    assert (disk.kept.number, disk.is_lost) == (7, True)
    assert disk.kept.current == _digest(OLD), "the newer one may never have been confirmed"
    _works(root, 7)


@pytest.mark.parametrize(
    "gone", [["mark-a", "mark-b", "slots/number"], ["mark-a", "mark-b", "slots"], ["mark-a", "mark-b", "slots", "parts"]]
)
def test_every_trace_of_an_earlier_life_closes_the_door_to_old_assignments(root, gone):
    for name in [*marks.NAMES, *gone]:
        durable.remove(root / name)
    disk = opened(root)
    assert (disk.kept.number, disk.is_lost) == (7, True)


def test_a_folder_without_a_trace_is_a_new_devices(tmp_path):
    disk = opened(tmp_path / "deep" / "state")
    assert (disk.kept, disk.held, disk.is_lost) == (Kept(), frozenset(), False)


def test_a_folder_that_is_restored_from_a_backup_without_links_is_whole(root, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(root, copy, ignore=lambda folder, names: {name for name in names if (Path(folder) / name).is_symlink()})
    disk = opened(copy)
    assert (disk.kept, disk.held, disk.is_lost) == (KEPT, {_digest(OLD), _digest(NEW)}, False)


@pytest.mark.parametrize("damage", ["missing", "dangling link", "empty"])
def test_the_whole_folder_may_be_gone_or_something_else(root, damage):
    DAMAGES[damage](root)
    assert opened(root).kept == Kept()
    _works(root, 0)


def test_the_folder_may_be_a_link_to_another_disk(root, tmp_path):
    (tmp_path / "link").symlink_to(root)
    assert opened(tmp_path / "link").kept == KEPT
    assert (tmp_path / "link").is_symlink()


def test_an_older_mark_does_not_win_and_takes_no_number_back(root):
    older = (root / "mark-a").read_bytes()
    disk = opened(root)
    disk.keep(replace(KEPT, number=9))
    (root / "mark-b").write_bytes(older)
    assert opened(root).kept.number == 9


def test_the_highest_number_and_time_of_any_valid_mark_hold(root):
    disk = opened(root)
    disk.keep(replace(KEPT, number=9, time_floor=5000))
    newer = durable.read_document(root / "mark-a")
    assert isinstance(newer, dict)
    newer["sequence"] += 1
    newer["kept"] |= {"number": 2, "time_floor": 3}
    durable.write_document(root / "mark-b", newer)
    kept = opened(root).kept
    assert (kept.number, kept.time_floor) == (9, 5000)


def test_a_time_that_was_forgotten_does_not_come_back_with_an_older_mark(root):
    disk = opened(root)
    disk.keep(replace(KEPT, time_floor=9_000_000, time_keys="old"))
    older = (root / "mark-a").read_bytes()
    disk.keep(replace(KEPT, time_floor=5000, time_keys="new"))
    (root / "mark-a").write_bytes(older)
    assert (opened(root).kept.time_floor, opened(root).kept.time_keys) == (5000, "new")


maybe_digests, maybe_counts = st.none() | digests, st.none() | counts
contents = (maybe_digests, counts, maybe_digests, counts, maybe_digests, counts, counts)
kepts = st.builds(
    Kept,
    *(counts, st.text(max_size=32), counts, counts, *contents),
    probation=st.builds(Probation, counts, counts, maybe_counts, maybe_counts, maybe_counts),
    crashes=counts,
    trial_reboots=counts,
    **{name: st.text(max_size=32) for name in ("time_keys", "boot_id")},
    is_stopped=st.booleans(),
    verdict=st.none() | st.builds(Verdict, counts, digests, st.sampled_from(Outcome), st.sampled_from(Reason)),
)


@given(kepts)
def test_what_is_read_is_what_was_kept(kept):
    assert marks.from_value(marks.to_value(kept)) == kept


@given(st.binary(max_size=200))
def test_no_content_of_a_document_is_too_odd(tmp_path_factory, content):
    file = tmp_path_factory.getbasetemp() / "odd"
    file.write_bytes(content)
    assert durable.read_document(file) is None


# Every step of a write, in its order, and killed at each.

STEPS = ("open", "fsync", "replace", "unlink")


class KilledError(Exception):
    """The program ended here."""


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Records what is asked of the system from now on; an entry `kill N` before makes the Nth raise."""
    done: list[str] = []
    for name in STEPS:
        real = getattr(os, name)

        def call(*given: object, real: Callable[..., object] = real, name: str = name, **more: object) -> object:
            kill = next((int(it[5:]) for it in done if it.startswith("kill ")), None)
            if kill is not None and len(done) - 1 >= kill:
                raise KilledError
            done.append(name)
            return real(*given, **more)

        monkeypatch.setattr(os, name, call)
    return done


def test_a_write_syncs_the_file_renames_it_and_syncs_the_folder(tmp_path, steps):
    durable.write(tmp_path / "x", b"content")
    assert [step for step in steps if step != "open"] == ["fsync", "replace", "fsync"]


def test_a_slot_is_synced_before_it_has_its_name_and_its_folder_after(root, steps):
    steps.clear()
    (root / "parts" / "z.part").write_bytes(NEXT)
    assert opened(root).slots.put(root / "parts" / "z.part", _digest(NEXT), 8)
    assert [step for step in steps if step in ("fsync", "replace")][-6:] == ["fsync", "fsync", "replace", "fsync", "replace", "fsync"]


@pytest.mark.parametrize("kill", range(20))
def test_a_keep_that_is_killed_at_any_step_leaves_the_old_or_the_new(root, steps, kill):
    disk = opened(root)
    new = replace(KEPT, number=8, trial=_digest(OLD), trial_number=8)
    steps[:] = [f"kill {kill}"]
    killed = False
    try:
        disk.keep(new)
    except KilledError:
        killed = True
    steps.clear()
    again = opened(root)
    assert again.kept in ((KEPT, new) if killed else (new,))
    assert killed or kill >= 10
    assert not again.is_lost
    _works(root, 7)


@pytest.mark.parametrize("kill", range(14))
def test_a_slot_that_is_put_and_killed_at_any_step_is_whole_or_not_there(root, steps, kill):
    disk = opened(root)
    (root / "parts" / "z.part").write_bytes(NEXT)
    steps[:] = [f"kill {kill}"]
    with suppress(KilledError):
        assert disk.slots.put(root / "parts" / "z.part", _digest(NEXT), 8)
    steps.clear()
    assert {_digest(OLD), _digest(NEW)} <= opened(root).held
    _works(root, 7)


def test_a_disk_that_is_full_says_so_and_keeps_what_it_has(root, monkeypatch):
    disk = opened(root)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        disk.keep(replace(KEPT, number=8))
    assert disk.marks.read() == KEPT
    disk.queue.put(Say(8, "", Outcome.BLOCKED, Reason.DISK_FULL))
    assert disk.queue.waiting[-1].number == 8
    assert opened(root).kept == KEPT


# Slots and parts.


def test_a_content_that_is_not_what_it_is_called_gets_no_slot(root):
    file = root / "parts" / "z.part"
    file.write_bytes(b"something else")
    disk = opened(root)
    assert not disk.slots.put(file, _digest(NEXT), 8)
    assert file.exists()
    assert opened(root).held == {_digest(OLD), _digest(NEW)}


def test_what_is_not_kept_is_swept(root):
    disk = opened(root)
    disk.slots.sweep({_digest(NEW)})
    disk.parts.sweep()
    assert opened(root).held == {_digest(NEW)}
    assert sorted(it.name for it in (root / "slots").iterdir()) == sorted([NEW_HEX, f"{NEW_HEX}.note", "number"])
    assert list((root / "parts").iterdir()) == []


def test_a_download_goes_on_where_it_ended_also_after_an_error(tmp_path):
    parts = Parts(tmp_path / "parts")
    with suppress(ConnectionError), parts.going_on("x.part", 0) as stream:
        stream.write(b"hello ")
        raise ConnectionError
    assert Parts(tmp_path / "parts").held_bytes("x.part") == 6
    with parts.going_on("x.part", 6) as stream:
        stream.write(b"world")
    assert parts.path("x.part").read_bytes() == b"hello world"
    with parts.going_on("x.part", 2) as stream:
        stream.write(b"y")
    assert parts.path("x.part").read_bytes() == b"hey"


@pytest.mark.parametrize("name", ["", "..", "a/b", "/etc/passwd", ".hidden", "a" * 300])
def test_a_part_stays_in_its_folder(tmp_path, name):
    with pytest.raises(FormatError):
        Parts(tmp_path).path(name)


# Reports that wait.


def test_a_verdict_is_not_dropped_for_something_that_is_none_nor_for_many(tmp_path):
    queue = Queue(tmp_path / "reports")
    verdict = Say(1, _digest(OLD), Outcome.UNFIT, Reason.SELF_TEST_FAILED)
    queue.put(verdict)
    queue.put(Say(1, _digest(OLD), Outcome.BLOCKED, Reason.DISK_FULL))
    for number in range(2, 100):
        queue.put(Say(number, _digest(NEW), Outcome.UPDATING))
    again = Queue(tmp_path / "reports")
    again.open()
    assert again.waiting[0] == verdict
    assert len(again.waiting) == MOST_WITHOUT_VERDICT + 1


def test_of_verdicts_that_nobody_takes_those_on_the_newest_assignments_stay(tmp_path):
    queue = Queue(tmp_path / "reports")
    for number in range(MOST_VERDICTS + 5, 0, -1):
        queue.put(Say(number, _digest(NEW), Outcome.CONFIRMED))
    queue.put(Say(9999, _digest(NEW), Outcome.UPDATING))
    again = Queue(tmp_path / "reports")
    again.open()
    assert [say.number for say in again.waiting] == [*range(MOST_VERDICTS + 5, 5, -1), 9999]


def test_a_later_verdict_takes_the_place_of_an_earlier_one(tmp_path):
    queue = Queue(tmp_path / "reports")
    first, second = Say(1, _digest(OLD), Outcome.CONFIRMED), Say(1, _digest(OLD), Outcome.ROLLED_BACK, Reason.CRASHED)
    queue.put(first)
    queue.put(second)
    queue.sent(first)
    assert queue.waiting == (second,)
    queue.sent(second)
    assert (queue.waiting, list((tmp_path / "reports").iterdir())) == ((), [])
