"""`isthmus fleet counts`: what devices have told, shown and written for `isthmus policy`; what cannot be read is named."""

from pathlib import Path

import pytest
from tests.cli.fleet_shell import Shell, shell_with
from tests.fleet_sayings import FLEET
from tests.repository.test_counts import seen

from isthmus.migration.learning.relearning import documents
from isthmus.repository import roster
from isthmus_agent.formats import told_counts
from isthmus_agent.formats.roster import Device

CAMERA, DOOR = Device("camera-1", "small", {"site": "a"}), Device("camera-2", "small")


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shell:
    return shell_with(tmp_path / "keys", monkeypatch, CAMERA, DOOR)


def tell(shell: Shell, device: Device) -> None:
    report_key = device.report_key(roster.fleet_secret(roster.secret_uri(FLEET), shell.keys), FLEET)
    content = told_counts.written(seen(), FLEET, device.name, report_key)
    shell.store.put(told_counts.object_key("edge/", FLEET, device.name), content)


def test_counts_are_shown_and_written_and_what_cannot_be_read_is_named(shell: Shell, tmp_path: Path):
    out = tmp_path / "told"
    nothing = shell("fleet", "counts", "--fleet", FLEET)
    assert (nothing.status, "0 looks of 0 devices" in nothing.output) == (0, True)
    tell(shell, CAMERA)
    shell.store.put(told_counts.object_key("edge/", FLEET, DOOR.name), b"\x1b[31m")
    done = shell("fleet", "counts", "--out", str(out))
    assert (done.status, "\x1b" in done.output) == (1, False)
    output = " ".join(done.output.split())
    assert f"60 looks of 1 devices; {out} has them; 1 could not be read" in output
    assert "not read: camera-2: " in output
    assert documents({it.stem: it.read_bytes() for it in out.iterdir()}).by_device == {"camera-1": seen()}
    tell(shell, DOOR)
    assert shell("fleet", "counts", "--out", str(out)).status == 0
    assert len(list(out.iterdir())) == 2


def test_a_folder_that_cannot_be_written_is_said(shell: Shell, tmp_path: Path):
    tell(shell, CAMERA)
    (tmp_path / "file").touch()
    assert "--out" in shell("fleet", "counts", "--out", str(tmp_path / "file")).output
