"""The commands of a device, on devices that run and on some that don't."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.fleet_store import Reply
from tests.isthmus_agent.living import FLEET, SECRET, Fleet, Living, digest_of
from toolchain.testing import patience

from isthmus_agent.formats.probation import Probation
from isthmus_agent.formats.sealed_contents import content_key

Content = Callable[..., bytes]
pytestmark = pytest.mark.slow


def mirrored(fleet: Fleet, folder: Path) -> Path:
    """The fleet's repository as files, as somebody copies it onto a stick."""
    for key in fleet.store.list("edge/"):
        path = folder / key.removeprefix("edge/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(fleet.store.objects[key])
    return folder


def cut_off(fleet: Fleet) -> None:
    """The store answers nothing any more."""
    fleet.http.checks = lambda method, target, headers: 503


def test_status_says_what_is_served(confirmed: Living, content: Content):
    text = confirmed.ask("status")
    assert text.returncode == 0
    assert "camera-1 of cameras" in text.stdout
    told = confirmed.told()
    assert (told["running"], told["serving"]) == (True, digest_of(content(1)))
    assert told["phase"] in {"confirmed", "checking"}
    control = confirmed.state / "control"
    assert control.is_socket()
    assert control.stat().st_mode & 0o777 == 0o600


def test_status_and_explain_tell_from_the_disk_what_a_program_left_that_does_not_run(confirmed: Living, content: Content):
    confirmed.kill()
    found = confirmed.ask("status", "--json")
    told = json.loads(found.stdout)
    assert (found.returncode, told["running"], told["current"]["digest"]) == (3, False, digest_of(content(1)))
    explained = confirmed.ask("explain")
    assert explained.returncode == 0
    assert "does not run" in explained.stdout
    assert "fetched" in explained.stdout


def test_commands_on_a_device_that_never_ran_say_so(device: Living):
    assert device.ask("status").returncode == 3
    assert device.ask("explain").returncode == 0
    found = device.ask("rollback")
    assert found.returncode == 3
    assert "Fix: start it" in found.stderr


def test_explain_says_why_a_release_was_refused(fleet: Fleet, confirmed: Living, content: Content):
    number = fleet.tell(content(2, is_fit=False))
    fleet.await_outcome(number, "unfit")
    text = patience.wait_until(lambda: "It waits for another release" in (it := confirmed.ask("explain").stdout) and it)
    assert f"The verdict on release {number}: unfit, self_test_failed." in text
    assert "golden vectors: an answer is off by" in text


def test_explain_says_what_is_wrong_with_the_way_to_the_store(fleet: Fleet, confirmed: Living):
    fleet.http.fault = lambda path, headers: Reply(200, b"<html>")
    confirmed.await_told(lambda it: any("not_the_store" in entry["what"] for entry in it["events"]))
    assert "the store could not be asked: not_the_store" in confirmed.ask("explain").stdout


def test_rollback_serves_the_model_before_and_the_release_is_not_tried_again(fleet: Fleet, confirmed: Living, content: Content):
    assert "nothing to go back to" in confirmed.ask("rollback").stderr
    number = fleet.tell(content(2))
    fleet.await_outcome(number, "confirmed")
    assert confirmed.ask("rollback").returncode == 0
    confirmed.await_served(content(1))
    report = fleet.await_outcome(number, "blocked")
    assert report.reason.name == "HELD_BY_OPERATOR"
    after = fleet.tell(content(3))
    fleet.await_outcome(after, "confirmed")


def test_a_running_device_without_a_store_is_updated_from_a_stick(fleet: Fleet, confirmed: Living, content: Content, tmp_path: Path):
    fleet.http.fault = lambda path, headers: Reply(503)
    number = fleet.tell(content(2))
    found = confirmed.ask("update", "--from", str(mirrored(fleet, tmp_path / "stick")), "--json")
    assert found.returncode == 0, found.stderr + found.stdout
    assert json.loads(found.stdout)["verdict"]["number"] == number
    assert confirmed.served() == digest_of(content(2))
    fleet.http.fault = lambda path, headers: None
    fleet.await_outcome(number, "confirmed")


def test_a_device_that_does_not_run_is_updated_from_a_stick_that_nobody_else_can_read(
    fleet: Fleet, device: Living, content: Content, tmp_path: Path
):
    fleet.tell(content(1), key=(key := content_key(SECRET, FLEET)))
    device.changes["content_key"] = key.hex()
    stick = mirrored(fleet, tmp_path / "stick")
    cut_off(fleet)
    found = device.ask("update", "--from", str(stick))
    assert found.returncode == 0, found.stderr + found.stdout
    device.start()
    device.await_served(content(1))


@pytest.mark.parametrize("wrong", ["older", "damaged", "another's"])
def test_a_stick_is_checked_like_the_store(fleet: Fleet, confirmed: Living, content: Content, tmp_path: Path, wrong: str):
    old = mirrored(fleet, tmp_path / "stick")
    fleet.await_outcome(fleet.tell(content(2)), "confirmed")
    if wrong == "damaged":
        fleet.http.fault = lambda path, headers: Reply(503)
        fleet.tell(content(3))
        shutil.rmtree(old)
        for file in mirrored(fleet, old).glob("targets/*/*.bundle"):
            file.write_bytes(bytes(file.stat().st_size))
    elif wrong == "another's":
        other = Fleet.founded(fleet.http, tmp_path / "other-keys") if not fleet.store.objects.clear() else fleet
        other.tell(content(3))
        shutil.rmtree(old)
        mirrored(other, old)
    found = confirmed.ask("update", "--from", str(old))
    assert found.returncode == 1, found.stdout
    assert confirmed.served() == digest_of(content(2))


def test_a_folder_that_is_no_mirror_is_refused_at_once(confirmed: Living, tmp_path: Path):
    found = confirmed.ask("update", "--from", str(tmp_path))
    assert found.returncode == 2
    assert "has no metadata/" in found.stderr


def test_a_release_on_probation_is_left_by_rollback(fleet: Fleet, confirmed: Living, content: Content):
    number = fleet.tell(content(2), probation=Probation(600))
    confirmed.await_served(content(2))
    assert "on probation" in confirmed.ask("explain").stdout
    assert confirmed.ask("rollback").returncode == 0
    confirmed.await_served(content(1))
    fleet.await_outcome(number, "blocked")
