"""`isthmus-agent enrol`, and a device that knows who it is by its enrolment alone."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.fleet_store import Reply
from tests.isthmus_agent.living import FLEET, PREFIX, SECRET, Fleet, Living

from isthmus_agent.cli.joining import become_owner
from isthmus_agent.cli.main import main
from isthmus_agent.formats.report import device_key
from isthmus_agent.manager.enrolment import enrolled

pytestmark = pytest.mark.slow


@pytest.fixture
def newcomer(device: Living) -> Living:
    """A device that knows nothing of any fleet."""
    device.is_enrolled = True
    return device


def test_a_device_that_has_used_a_token_runs_without_another_word(fleet: Fleet, newcomer: Living, content: Callable[..., bytes]):
    number = fleet.tell(content(1))
    found = newcomer.ask("enrol", told=fleet.invite() + "\n")
    assert (found.returncode, found.stderr) == (0, "")
    assert found.stdout == "this device is camera-1 of fleet cameras\n"
    newcomer.start()
    fleet.await_outcome(number, "confirmed")
    told = newcomer.told()
    assert (told["device"], told["fleet"], told["class"], told["labels"]) == ("camera-1", FLEET, "small", {"site": "a"})


def test_new_keys_are_taken_up_at_the_next_start(fleet: Fleet, newcomer: Living, content: Callable[..., bytes]):
    newcomer.ask("enrol", told=fleet.invite())
    newcomer.start()
    found = newcomer.ask("enrol", told=fleet.invite(generation=2))
    assert found.returncode == 0
    assert "takes this up at its next start" in found.stdout
    now = enrolled(newcomer.state)
    assert now is not None
    assert now.report_key == device_key(SECRET, FLEET, "camera-1", 2)


def test_enrol_may_be_asked_again_and_a_token_of_another_device_is_refused(fleet: Fleet, newcomer: Living, tmp_path: Path):
    file = tmp_path / "token"
    file.write_text(fleet.invite())
    config = ["--config", str(newcomer.configured())]
    assert main(["enrol", "--token-file", str(file), *config]) == 0
    assert main(["enrol", "--token-file", str(file), *config]) == 0
    assert not any(key.endswith("sealed") for key in fleet.store.list(PREFIX + "enrol/"))
    file.write_text(fleet.invite("camera-2"))
    assert main(["enrol", "--token-file", str(file), *config]) == 2


@pytest.mark.parametrize("fault", [Reply(503), Reply(200, b"<html>Welcome</html>")])
def test_a_store_that_cannot_be_asked_costs_no_token(
    fleet: Fleet, newcomer: Living, tmp_path: Path, capsys: pytest.CaptureFixture[str], fault: Reply
):
    file = tmp_path / "token"
    file.write_text(fleet.invite())
    config = ["--config", str(newcomer.configured())]
    fleet.http.fault = lambda path, headers: fault
    assert main(["enrol", "--token-file", str(file), *config]) == 1
    assert "run the same command again" in capsys.readouterr().err
    fleet.http.fault = lambda path, headers: None
    assert main(["enrol", "--token-file", str(file), *config]) == 0


def test_a_token_in_the_list_of_processes_is_taken_and_said_to_be_seen(fleet: Fleet, newcomer: Living, capsys: pytest.CaptureFixture[str]):
    assert main(["enrol", fleet.invite(), "--config", str(newcomer.configured())]) == 0
    assert "the next one is better read from a file" in capsys.readouterr().err


def test_what_is_no_token_and_no_file_is_told_without_repeating_it(newcomer: Living, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    file, config = tmp_path / "token", ["--config", str(newcomer.configured())]
    assert main(["enrol", "--token-file", str(file), *config]) == 2
    assert f"--token-file: cannot read {file}: No such file" in capsys.readouterr().err
    file.write_text("isthmus-enrol-1.hunter2")
    assert main(["enrol", "--token-file", str(file), *config]) == 2
    assert "hunter2" not in capsys.readouterr().err


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives folders away")
def test_root_works_as_the_user_that_owns_the_devices_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    became: list[object] = []
    for name in ("setgroups", "setgid", "setuid"):
        monkeypatch.setattr(os, name, became.append)
    become_owner(tmp_path / "nothing")
    become_owner(tmp_path)
    assert became == []
    os.chown(tmp_path, 65533, 65534)
    become_owner(tmp_path)
    assert became == [[], 65534, 65533]


def test_commands_on_a_device_of_no_fleet_say_what_to_do(newcomer: Living, capsys: pytest.CaptureFixture[str]):
    assert main(["status", "--config", str(newcomer.configured())]) == 2
    assert "this device is in no fleet" in (said := capsys.readouterr().err)
    assert "Fix: isthmus-agent enrol --token-file FILE" in said


def test_a_configuration_of_its_own_that_says_something_else_than_the_enrolment_is_refused(
    fleet: Fleet, newcomer: Living, capsys: pytest.CaptureFixture[str]
):
    newcomer.ask("enrol", told=fleet.invite("camera-2"))
    newcomer.is_enrolled = False
    assert main(["status", "--config", str(newcomer.configured())]) == 2
    said = capsys.readouterr().err
    assert said.startswith("device, class, labels, report_key: another one than that of the enrolment")
    assert len(said.splitlines()) == 1
    value = json.loads(newcomer.configured().read_text())
    assert value["report_key"] not in said
