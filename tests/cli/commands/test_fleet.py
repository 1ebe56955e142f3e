"""`isthmus fleet`: what an operator types, prints and is refused. What it does to devices is tested in tests/repository."""

import hashlib
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from tests.cli.fleet_shell import Shell, ran, shell_of
from tests.fleet_sayings import FLEET, path_of, telling

from isthmus.cli.commands.fleet import changing
from isthmus.cli.commands.fleet.upkeep import refreshed
from isthmus.cli.commands.fleet.view import read_told, rendered
from isthmus.cli.shared.repositories import Located, in_stack
from isthmus.errors import InputError, IsthmusError
from isthmus.observing.stack_state import StackState
from isthmus.release.store import Store
from isthmus.repository import changes, reading, roster
from isthmus.repository.keyring import Keyring
from isthmus.repository.keys import make_key
from isthmus.repository.objects import Place, RacedError
from isthmus.repository.publish import publish
from isthmus_agent.formats.roster import Device

pytestmark = pytest.mark.slow

ONE, TWO = b"the first bundle", b"the second bundle"
OFFLINE = ("root-1", "root-2", "root-3", "targets-1")


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shell:
    found = shell_of(tmp_path / "keys", monkeypatch)
    assert found("keys", "init", FLEET).status == 0
    return found


@pytest.fixture
def told(shell: Shell) -> Shell:
    shell.tell(ONE)
    shell.tell(TWO)
    return shell


def later(days: float) -> datetime:
    return datetime.now(UTC) + timedelta(days=days)


def test_a_fleet_that_was_told_nothing_is_shown_as_such(shell: Shell):
    done = shell("fleet", "status")
    assert (done.status, "nothing yet" in done.output) == (0, True)
    assert json.loads(shell("fleet", "status", "--json").output)["assignment"] is None


def test_the_status_shows_what_the_fleet_is_told(told: Shell):
    done = told("fleet", "status")
    assert done.status == 0, done.output
    assert max(len(line) for line in done.output.splitlines()) <= 80
    text = " ".join(done.output.split())
    for part in (
        "fleet · cameras · number 2",
        "store http://127.0.0.1:8333/models/edge/",
        f"content {hashlib.sha256(TWO).hexdigest()[:12]}, 17 bytes",
        f"before {hashlib.sha256(ONE).hexdigest()[:12]} (number 1), which devices outside of the open waves keep",
        "probation 60 s, 0 crashes at most",
        "paused no",
        "signed timestamp expires in 3 days",
        "canary open 25 % by draw",
        "rest closed all",
    ):
        assert part in text


def test_the_status_as_json_has_the_assignment_as_it_is_signed(told: Shell):
    found = json.loads(told("fleet", "status", "--json").output)
    assert found["assignment"]["number"] == 2
    assert found["waves"] == [{"name": "canary", "is_open": True}, {"name": "rest", "is_open": False}]
    assert found["expires"].keys() == {"root", "targets", "snapshot", "timestamp", FLEET}


def test_the_status_needs_no_private_key(told: Shell):
    for path in told.keys.glob("*.pem"):
        path.unlink()
    assert told("fleet", "status").status == 0


def test_what_has_expired_is_said(told: Shell):
    found = read_told(Located(told.place, "here"), told.keyring, FLEET)
    console = Console(width=80, record=True)
    console.print(rendered(found, later(5)))
    assert "timestamp has expired 2 days ago: no device follows" in " ".join(console.export_text().split())
    assert found.expired(later(5)) == ["timestamp"]


def test_a_rollout_is_taken_through_its_waves_and_back(told: Shell):
    assert told("fleet", "pause").output == (
        "cameras: number 2, open waves 1 of 2 (canary)\npaused: devices begin nothing new until `isthmus fleet resume`\n"
    )
    assert "nothing to do: number 2" in told("fleet", "pause", FLEET).output
    promoted = told("fleet", "promote").output.splitlines()
    assert promoted == [
        "cameras: number 2, open waves 1 → 2 of 2 (canary, rest)",
        "wave rest is open; it is paused: devices begin nothing until `isthmus fleet resume`",
    ]
    assert "devices go on with " in told("fleet", "resume").output
    assert "is the fleet's" in told("fleet", "promote").output
    assert "all 2 waves are open" in told("fleet", "promote").output
    aborted = told("fleet", "abort").output.splitlines()
    assert aborted[0] == "cameras: number 2 → 3, open waves 2 → 1 of 1 (all)"
    assert aborted[1].startswith("every device goes back to the content of number 1: ")
    assert "nothing before this release" in told("fleet", "abort").output


@pytest.mark.parametrize("command", ["pause", "resume", "promote", "abort"])
def test_a_fleet_that_was_told_nothing_cannot_be_changed(shell: Shell, command: str):
    done = shell("fleet", command)
    assert (done.status, "told nothing yet" in done.output) == (1, True)


def test_a_key_is_found_by_where_it_is_said_to_be(told: Shell, monkeypatch: pytest.MonkeyPatch):
    """As in CI: the key ring is committed, its private keys are the environment's."""
    words = []
    for role in (FLEET, "snapshot", "timestamp"):
        path = told.keys / f"{role}-1.pem"
        monkeypatch.setenv(f"KEY_OF_{role}", path.read_text())
        path.unlink()
        words += ["--key", f"env:KEY_OF_{role}"]
    ring = (told.keys / "keyring.json").read_bytes()
    assert told("fleet", "pause", *words).status == 0
    assert told("fleet", "refresh", *words[2:]).status == 0
    assert (told.keys / "keyring.json").read_bytes() == ring


def test_without_the_key_nothing_is_written(told: Shell):
    (told.keys / "cameras-1.pem").unlink()
    before = dict(told.store.objects)
    done = told("fleet", "pause")
    assert done.status == 1
    assert "role cameras needs 1 keys, and 0 are at hand" in done.output
    assert "--key env:NAME or file:PATH" in done.output
    assert told.store.objects == before


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("file:other.pem", "file:other.pem is another key than any of the key ring"),
        ("env:NO_SUCH_KEY", "the environment has no variable NO_SUCH_KEY"),
        ("awskms:other", "awskms:other is none of the key ring's"),
        ("paper:1", "names no kind of key"),
    ],
)
def test_a_wrong_key_is_one_message(told: Shell, uri: str, message: str):
    make_key("file:other.pem", told.keys)
    done = told("fleet", "pause", "--key", uri)
    assert (done.status, message in done.output) == (1, True), done.output


def test_a_fleet_is_one_of_the_key_rings(told: Shell):
    assert "has no fleet 'doors'; expected one of cameras" in told("fleet", "status", "doors").output
    told("keys", "add", "doors")
    assert "which fleet is not said" in told("fleet", "status").output
    assert told("fleet", "status", FLEET).status == 0


def test_a_place_without_a_repository_is_said_to_be_none(told: Shell):
    told.store.objects.clear()
    done = told("fleet", "status")
    assert (done.status, "there is no repository below edge/" in done.output) == (1, True)


def test_nothing_is_signed_below_a_root_that_has_expired(told: Shell, monkeypatch: pytest.MonkeyPatch):
    def expired(current: Any) -> None:
        reading.check_not_expired(current, later(400))

    monkeypatch.setattr(changing, "check_not_expired", expired)
    before = dict(told.store.objects)
    done = told("fleet", "pause")
    assert done.status == 1
    assert "root has expired on" in done.output
    assert "Fix: `isthmus fleet refresh` with the offline keys" in done.output
    assert told.store.objects == before


def test_of_two_at_once_one_is_told_that_it_lost(told: Shell, monkeypatch: pytest.MonkeyPatch):
    def late(place: Place, keyring: Keyring, fleet: str, change: Any) -> Any:
        monkeypatch.setattr(changing, "publish", publish)

        def meanwhile(before: Any, number: int) -> Any:
            publish(place, keyring, fleet, changes.paused)
            return change(before, number)

        return publish(place, keyring, fleet, meanwhile)

    monkeypatch.setattr(changing, "publish", late)
    done = told("fleet", "promote")
    assert (done.status, done.output) == (1, str(RacedError()))
    assert "nothing to do" in told("fleet", "pause").output


def test_a_refresh_says_what_it_signed(told: Shell):
    assert told("fleet", "refresh").output == "signed timestamp; the timestamp expires in 3 days\n"


@pytest.mark.parametrize(("days", "word", "well"), [(300, "root expires in 65 days", True), (370, "root has expired 5 days ago", False)])
def test_a_refresh_says_what_waits_for_keys_that_are_not_here(told: Shell, days: int, word: str, well: bool):
    for name in OFFLINE:
        (told.keys / f"{name}.pem").unlink()
    text, is_well = refreshed(told.place, told.keyring, later(days))
    assert f"{word}, and its keys are not here" in text
    assert is_well == well


def test_a_sweep_says_what_it_removes_and_in_a_dry_run_only_that(told: Shell):
    told.tell(b"the third bundle")
    before = dict(told.store.objects)
    assert "1 files that nothing in force names would be removed" in told("fleet", "sweep", "--dry-run").output
    assert told.store.objects == before
    assert "1 files that nothing in force names are removed" in told("fleet", "sweep").output
    assert told("fleet", "sweep").output == "nothing to remove\n"


def test_a_recovery_says_what_was_wrong(told: Shell):
    assert told("fleet", "recover").output == "nothing to mend\n"
    told.store.objects["edge/metadata/timestamp.json"] = b"torn"
    done = told("fleet", "recover")
    assert done.status == 0, done.output
    assert "edge/metadata/timestamp.json is no metadata, or torn" in done.output
    assert "the keys of timestamp are replaced" in done.output
    assert told("fleet", "status").status == 0


def test_a_recovery_that_needs_a_release_again_says_so(told: Shell):
    del told.store.objects[next(key for key in told.store.objects if key.endswith(path_of(TWO).rpartition("/")[2]))]
    done = told("fleet", "recover")
    assert (done.status, f"missing: {path_of(TWO)}: publish its release again" in done.output) == (1, True)


def test_a_roster_that_is_lost_comes_back_from_a_copy_or_what_to_do_is_said(told: Shell, tmp_path: Path):
    roster.change(told.place, told.keyring, FLEET, lambda it: it.with_device(Device("camera-1", "small")))
    copy = told.keys / f"{FLEET}-roster.json"
    copy.rename(elsewhere := tmp_path / "copy.json")
    del told.store.objects[next(key for key in told.store.objects if "targets/roster/" in key)]
    done = told("fleet", "recover")
    assert done.status == 1
    assert f"missing: roster/{FLEET}.json: give a copy of it: --roster FILE" in done.output
    assert f"give --new-roster {FLEET}" in done.output
    done = told("fleet", "recover", "--roster", str(told.keys / "keyring.json"))
    assert (done.status, "--roster" in done.output and "cannot be read" in done.output) == (1, True)
    done = told("fleet", "recover", "--roster", str(elsewhere))
    assert (done.status, f"roster/{FLEET}.json is put back from a copy" in done.output) == (0, True)
    assert [it.name for it in roster.read(told.place, told.keyring, FLEET).devices] == ["camera-1"]


def test_a_roster_of_which_nothing_is_left_may_begin_anew(told: Shell):
    roster.change(told.place, told.keyring, FLEET, lambda it: it.with_device(Device("camera-1", "small")))
    (told.keys / f"{FLEET}-roster.json").unlink()
    del told.store.objects[next(key for key in told.store.objects if "targets/roster/" in key)]
    done = told("fleet", "recover", "--new-roster", FLEET)
    assert (done.status, "with 0 devices" in done.output) == (0, True)
    assert roster.read(told.place, told.keyring, FLEET).devices == ()


def test_a_store_that_is_away_is_one_message(told: Shell, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.undo()
    for name in ("ISTHMUS_FLEET_STORE_ACCESS_KEY", "ISTHMUS_FLEET_STORE_SECRET_KEY"):
        monkeypatch.setenv(name, "x")
    done = told("fleet", "status", store="http://127.0.0.1:1/models/edge")
    assert (done.status, "cannot reach the store at http://127.0.0.1:1" in done.output) == (1, True)
    assert "Fix: see whether it runs" in done.output


def test_credentials_are_told_to_be_missing(told: Shell, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.undo()
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name, raising=False)
    done = told("fleet", "status")
    assert "ISTHMUS_FLEET_STORE_ACCESS_KEY: missing" in done.output
    assert "or AWS_SECRET_ACCESS_KEY" in done.output


def test_store_and_stack_are_not_given_both(told: Shell):
    assert "--stack: is given beside --store" in told("fleet", "status", "--stack", "prod").output


STORE = {"endpoint": "http://127.0.0.1:8333", "region": "eu-north-1", "access_key": "a", "secret_key": "s"}
STATE = StackState("prod", {}, {"Rollout": {"x": {"store": STORE, "bucket": "models", "prefix": "cameras/", "fleet": FLEET}}})


def test_a_stack_says_where_its_fleet_is():
    store, prefix = in_stack(STATE, [FLEET], {"AWS_ACCESS_KEY_ID": "somebody else's"})
    assert (store.address.endpoint, store.address.region, store.address.access_key) == ("http://127.0.0.1:8333", "eu-north-1", "a")
    assert (store.bucket, prefix) == ("models", "cameras/")


def test_credentials_for_the_fleet_go_before_the_stacks():
    own = {"ISTHMUS_FLEET_STORE_ACCESS_KEY": "mine", "ISTHMUS_FLEET_STORE_SECRET_KEY": "too"}
    assert in_stack(STATE, [FLEET], own)[0].address.access_key == "mine"


def test_a_stack_without_the_fleet_says_which_it_has():
    with pytest.raises(InputError, match=r"stack 'prod' has no fleet doors; expected one of cameras"):
        in_stack(STATE, ["doors"], {})
    with pytest.raises(IsthmusError, match="it deploys none"):
        in_stack(StackState("prod", {}, {}), ["doors"], {})


def test_the_commands_on_a_real_store(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("ISTHMUS_FLEET_STORE", f"{store.address.endpoint}/{store.bucket}/edge")
    monkeypatch.setenv("ISTHMUS_FLEET_STORE_ACCESS_KEY", store.address.access_key)
    monkeypatch.setenv("ISTHMUS_FLEET_STORE_SECRET_KEY", store.address.secret_key)
    monkeypatch.setenv("ISTHMUS_FLEET_KEYS", str(tmp_path / "keys"))
    assert ran(["keys", "init", FLEET]).status == 0
    publish(Place(store, "edge/"), Keyring.load(tmp_path / "keys"), FLEET, telling(ONE), {path_of(ONE): ONE})
    for words in (["fleet", "promote"], ["fleet", "pause"], ["fleet", "refresh"], ["keys", "rotate", FLEET], ["fleet", "recover"]):
        done = ran(words)
        assert done.status == 0, done.output
    assert "paused     yes" in ran(["fleet", "status"]).output
    assert ran(["keys", "status"]).status == 0
    monkeypatch.setenv("ISTHMUS_FLEET_STORE_SECRET_KEY", "wrong")
    assert "Fix: set ISTHMUS_FLEET_STORE_ACCESS_KEY (or AWS_ACCESS_KEY_ID)" in ran(["fleet", "status"]).output
