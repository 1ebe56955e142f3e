"""`isthmus fleet watch` and what `isthmus fleet status` shows of devices. The rollout itself is tested in tests/rollouts."""

import json
import time
from base64 import b64encode
from dataclasses import replace
from pathlib import Path

import pytest
from tests.cli.fleet_shell import Shell, shell_of
from tests.fleet_sayings import FLEET, ONE, TWO, path_of, telling

from isthmus.repository import changes, roster
from isthmus.repository.keys import write_private
from isthmus.repository.publish import publish
from isthmus_agent.formats.assignment import Assignment
from isthmus_agent.formats.gate import Gate
from isthmus_agent.formats.report import Figures, Outcome, Reason, Report
from isthmus_agent.formats.roster import Device, Roster

pytestmark = pytest.mark.slow

SECRET = b"s" * 32
DEVICES = [Device(f"camera-{index}", "small") for index in range(6)]


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shell:
    """A fleet of six; its secret is beside the key ring."""
    found = shell_of(tmp_path / "keys", monkeypatch)
    assert found("keys", "init", FLEET).status == 0
    roster.change(found.place, found.keyring, FLEET, lambda _: Roster(FLEET, tuple(DEVICES)))
    write_private(roster.secret_uri(FLEET), found.keys, b64encode(SECRET))
    return found


def tell(shell: Shell, content: bytes) -> Assignment:
    def change(told: Assignment | None, number: int) -> Assignment:
        its = telling(content)(told, number)
        gate = Gate(20_000, soak_seconds=0, deadline_seconds=3600)
        waves = (replace(its.waves[0], share=0, devices=("camera-0", "camera-1"), gate=gate), replace(its.waves[1], gate=gate))
        return replace(its, waves=waves, opened_seconds=(int(time.time()),))

    return publish(shell.place, shell.keyring, FLEET, change, {path_of(content): content}).assignment


def say(shell: Shell, told: Assignment, outcome: Outcome, devices: list[Device] = DEVICES) -> None:
    reason = Reason.SELF_TEST_FAILED if outcome is Outcome.UNFIT else Reason.NONE
    for device in devices:
        said = Report(device.name, told.number, outcome, told.variants[0].digest, reason, figures=Figures(boots=1, boot_mark=1))
        shell.store.put(said.object_key("edge/", FLEET, device.report_key(SECRET, FLEET)), b"")


def test_it_opens_what_may_be_opened_and_ends_well(shell: Shell):
    say(shell, tell(shell, ONE), Outcome.CONFIRMED)
    done = shell("fleet", "watch")
    assert done.status == 0, done.output
    assert done.output.splitlines() == [
        "wave canary: 2 of 2 confirmed",
        "wave rest is open: 4 devices",
        "wave rest: 4 of 4 confirmed",
        "number 1 is the fleet's: all waves have passed",
    ]


def test_once_it_does_not_wait(shell: Shell):
    say(shell, tell(shell, ONE), Outcome.CONFIRMED, DEVICES[:1])
    done = shell("fleet", "watch", "--once")
    assert (done.status, done.output) == (0, "wave canary: 1 of 2 confirmed, 1 silent\n")


def test_a_release_that_is_taken_back_is_status_1_and_one_that_is_paused_3(shell: Shell):
    say(shell, tell(shell, ONE), Outcome.UNFIT)
    done = shell("fleet", "watch")
    assert done.status == 3
    assert "fails, and is paused in wave canary" in done.output
    for how in (changes.resumed, changes.opened, changes.passed):
        publish(shell.place, shell.keyring, FLEET, how)
    say(shell, tell(shell, TWO), Outcome.UNFIT)
    done = shell("fleet", "watch")
    assert done.status == 1
    assert "number 2" in done.output
    assert done.output.endswith("unfit, self test failed: camera-0, camera-1")


def test_the_secret_has_to_be_here(shell: Shell):
    tell(shell, ONE)
    (shell.keys / f"{FLEET}-devices.secret").unlink()
    done = shell("fleet", "watch")
    assert done.status == 1
    assert f"{FLEET}-devices.secret" in done.output


def test_the_status_shows_what_devices_say_where_the_secret_is_here(shell: Shell):
    told = tell(shell, ONE)
    say(shell, told, Outcome.CONFIRMED, DEVICES[:1])
    say(shell, told, Outcome.UNFIT, DEVICES[1:2])
    text = " ".join(shell("fleet", "status").output.split())
    for part in (
        "canary paused",
        "rest closed",
        "1 of 2 1",
        "failed 1 × self test failed: camera-1",
        "on 1",
    ):
        assert part in text
    assert json.loads(shell("fleet", "status", "--json").output)["standing"]["waves"][0]["counts"]["failed"] == 1
    (shell.keys / f"{FLEET}-devices.secret").unlink()
    text = " ".join(shell("fleet", "status").output.split())
    assert "canary open" in text
    assert "what devices say was not read: " in text
    assert f"{FLEET}-devices.secret" in text
