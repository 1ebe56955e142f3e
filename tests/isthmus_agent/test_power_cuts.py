"""A whole device whose power is cut right before each system call by which an update changes its disk (ext4 on a disk of its own)."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.isthmus_agent.cutting import EVERY_SECONDS, REPORTED, Disk, LawBrokenError, bench, need, need_wish, some, why_no_disk
from tests.isthmus_agent.living import Fleet

pytestmark = [pytest.mark.slow, pytest.mark.timeout(EVERY_SECONDS)]
CALLS = 4
NO_SYNC = "import os; os.fsync = lambda descriptor: None"


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    need(why_no_disk())
    disk = Disk(tmp_path)
    yield disk
    disk.close()


@pytest.mark.parametrize("how_many", ["some", "every"])
@pytest.mark.parametrize("by_delta", [False, True], ids=["whole", "delta"])
def test_without_power_at_calls_all_over_an_update_the_law_holds(
    fleet: Fleet, tmp_path: Path, disk: Disk, how_many: str, *, by_delta: bool
):
    need_wish(how_many)
    with bench(fleet, tmp_path, disk=disk) as device:
        calls = device.record(by_delta=by_delta)
        chosen = calls if how_many == "every" else some(calls, CALLS, 0.25 + 0.5 * by_delta)
        for call in chosen:
            device.cut_at(call, by_delta=by_delta)
        assert len(device.missed) <= len(chosen) // 5, device.missed


def test_a_disk_that_others_hold_a_mount_of_comes_back_with_power(disk: Disk):
    (disk.root / "old").write_text("kept")
    disk.sync()
    with subprocess.Popen(["unshare", "--mount", "sh", "-c", "echo; exec sleep 60"], stdout=subprocess.PIPE) as other:
        try:
            assert other.stdout is not None
            other.stdout.readline()  # it has its own mounts by now
            disk.cut(after_another=False)
            disk.come_back()
            (disk.root / "new").write_text("taken")
        finally:
            other.kill()
    assert (disk.root / "old").read_text() == "kept"


def test_a_program_that_syncs_nothing_is_found_out(fleet: Fleet, tmp_path: Path, disk: Disk):
    with bench(fleet, tmp_path, disk=disk, broken=NO_SYNC) as device, pytest.raises(LawBrokenError, match="played back"):
        device.cut_at(REPORTED)
