"""`isthmus fleet enrol`, `devices`, `remove`, `access`: what is typed, printed and refused, and where no secret shows."""

import json
import stat
from pathlib import Path

import pytest
from tests.cli.fleet_shell import URL, Done, Shell, shell_of
from tests.fleet_sayings import FLEET
from typer.testing import CliRunner

from isthmus.cli import main
from isthmus.repository import roster
from isthmus_agent.formats import enrolment, sealing
from isthmus_agent.formats.enrolment import SEALED, Token, enrolment_from
from isthmus_agent.formats.report import device_key
from isthmus_agent.formats.sealed_contents import content_key


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shell:
    found = shell_of(tmp_path / "keys", monkeypatch)
    assert found("keys", "init", FLEET).status == 0
    assert found("keys", "found").status == 0
    return found


@pytest.fixture
def identities(tmp_path: Path) -> Path:
    file = tmp_path / "s3.json"
    file.write_text('{"identities": [{"name": "admin"}]}')
    return file


def enrolled(shell: Shell, identities: Path, name: str, *more: str) -> Token:
    words = ["fleet", "enrol", name, "--identities", str(identities), *more, "--keys", str(shell.keys), "--store", URL]
    done = CliRunner().invoke(main.app, words)
    assert done.exit_code == 0, done.output
    return enrolment.token_from(done.stdout)  # nothing else is on standard output


def claim(shell: Shell, token: Token) -> None:
    name = enrolment.claim_of(token.secret)
    shell.store.objects[f"edge/enrol/{name}.claim"] = enrolment.claim(token.secret, b"n" * 16)


def text(done: Done) -> str:
    return " ".join(done.output.split())


def test_a_device_is_sent_a_token_and_joins_when_it_has_used_it(shell: Shell, identities: Path):
    token = enrolled(shell, identities, "camera-1", "--class", "small", "--label", "site=north", "--label", "floor=2", "--hours", "48")
    assert "cameras: 0 devices, 1 tokens not used" in text(shell("fleet", "devices"))
    assert "expires in 48 hours" in text(shell("fleet", "devices"))
    claim(shell, token)
    done = shell("fleet", "devices")
    assert "joined: camera-1" in text(done)
    assert "camera-1 small floor=2, site=north 0" in text(done)
    shown = json.loads(shell("fleet", "devices", "--json").output)
    assert shown["devices"] == [{"name": "camera-1", "class": "small", "labels": {"floor": "2", "site": "north"}, "generation": 0}]
    assert shown["pending"] == []


def test_the_token_opens_what_the_store_and_the_identities_have(shell: Shell, identities: Path):
    token = enrolled(shell, identities, "camera-1")
    (sealed,) = (content for key, content in shell.store.objects.items() if key.endswith(".sealed"))
    found = enrolment_from(sealing.unsealed(SEALED, token.secret, sealed))
    assert (found.url, found.device_class) == (URL + "/", "default")
    admin, device = json.loads(identities.read_text())["identities"]
    assert admin == {"name": "admin"}
    assert device["credentials"] == [{"accessKey": found.access_key, "secretKey": found.secret_key}]
    assert device["actions"][-1] == "Write:models/edge/health/*/camera-1~*"
    assert stat.S_IMODE(identities.stat().st_mode) == 0o600


def test_a_token_may_go_into_a_file_of_its_owners_alone(shell: Shell, identities: Path, tmp_path: Path):
    file = tmp_path / "token"
    done = shell("fleet", "enrol", "camera-1", "--identities", str(identities), "--token-file", str(file))
    assert (done.status, stat.S_IMODE(file.stat().st_mode)) == (0, 0o600)
    assert enrolment.token_from(file.read_text()).device == "camera-1"
    assert "isthmus-enrol-1." not in done.output
    again = shell("fleet", "enrol", "camera-2", "--identities", str(identities), "--token-file", str(file))
    assert (again.status, "exists already" in again.output) == (1, True)
    assert "camera-2" not in shell("fleet", "devices").output


def test_a_device_may_be_given_credentials_that_were_made_for_it(shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("DEVICE", '{"access_key": "AKIA", "secret_key": "hunter2"}')
    done = shell("fleet", "enrol", "camera-1", "--access", "env:DEVICE", "--token-file", str(tmp_path / "token"))
    assert (done.status, "hunter2" in done.output) == (0, False)
    monkeypatch.setenv("DEVICE", "hunter2")
    refused = shell("fleet", "enrol", "camera-2", "--access", "env:DEVICE")
    assert (refused.status, "hunter2" in refused.output, "has no credentials" in refused.output) == (1, False, True)
    assert "camera-2" not in shell("fleet", "devices").output


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("camera-1",), "neither is given"),
        (("camera-1", "--access", "env:X", "--identities", "x"), "both are given"),
        (("camera-1", "--identities", "no-such-file"), "cannot be read"),
        (("camera-1", "--access", "env:NO_SUCH"), "no variable NO_SUCH"),
        (("a~b", "--identities", "{}"), "a device's name"),
        (("camera-1", "--identities", "{}", "--label", "site"), "NAME=VALUE"),
        (("camera-1", "--identities", "{}", "--secret", "env:NO_SUCH"), "no variable NO_SUCH"),
        (("camera-1", "--identities", "{}", "--fleet", "doors"), "no fleet 'doors'"),
        (("--identities", "{}"), "no device is named"),
        (("camera-1", "--token-folder", "x", "--identities", "{}"), "both are given"),
        (("--token-folder", "x", "--identities", "{}", "--class", "small"), "--class: is of one device"),
    ],
)
def test_what_is_wrong_is_told_before_anybody_is_sent_a_token(shell: Shell, identities: Path, words: tuple[str, ...], told: str):
    before = dict(shell.store.objects)
    done = shell("fleet", "enrol", *(str(identities) if it == "{}" else it for it in words))
    assert (done.status, told in done.output) == (1, True), done.output
    assert shell.store.objects == before


def test_a_fleets_secret_that_is_lost_is_not_made_anew(shell: Shell, identities: Path):
    enrolled(shell, identities, "camera-1")
    (shell.keys / "cameras-devices.secret").unlink()
    done = shell("fleet", "enrol", "camera-2", "--identities", str(identities))
    assert (done.status, "cameras-devices.secret" in done.output) == (1, True)


def test_after_a_secret_was_stolen_every_device_gets_keys_of_a_new_one(shell: Shell, identities: Path, tmp_path: Path):
    claim(shell, enrolled(shell, identities, "camera-1", "--class", "small", "--label", "site=north"))
    assert "joined: camera-1" in text(shell("fleet", "devices"))
    enrolled(shell, identities, "camera-2")  # its token has keys of the former secret too
    stolen, before = (shell.keys / "cameras-devices.secret").read_bytes(), json.loads(identities.read_text())["identities"]
    done = shell("fleet", "rekey")
    secret = roster.fleet_secret(roster.secret_uri(FLEET), shell.keys)
    assert (done.status, "until then nothing that they say counts" in text(done)) == (0, True)
    assert (shell.keys / "cameras-devices.former.secret").read_bytes() == stolen
    again = shell("fleet", "rekey")
    assert (again.status, "exists already" in again.output) == (1, True)
    assert roster.fleet_secret(roster.secret_uri(FLEET), shell.keys) == secret

    words, folder = ("fleet", "enrol", "--identities", str(identities), "--token-folder"), tmp_path / "tokens"
    assert "2 new tokens" in text(shell(*words, str(folder)))
    tokens = {file.name: enrolment.token_from(file.read_text()) for file in folder.iterdir()}
    assert tokens.keys() == {"camera-1.token", "camera-2.token"}
    assert {stat.S_IMODE(file.stat().st_mode) for file in folder.iterdir()} == {0o600}
    sealed = shell.store.objects[f"edge/enrol/{enrolment.claim_of(tokens['camera-1.token'].secret)}.sealed"]
    found = enrolment_from(sealing.unsealed(SEALED, tokens["camera-1.token"].secret, sealed))
    assert (found.device_class, found.labels, found.generation) == ("small", {"site": "north"}, 1)
    assert found.report_key == device_key(secret, FLEET, "camera-1", 1)
    assert found.content_key == content_key(secret, FLEET)
    after = {it["name"]: it.get("credentials") for it in json.loads(identities.read_text())["identities"] if it.get("actions")}
    assert not [it["name"] for it in before if it.get("credentials") and after.get(it["name"]) == it["credentials"]]
    assert "0 new tokens" in text(shell(*words, str(folder)))  # and is run again after it was ended


def test_a_device_that_is_removed_is_in_neither_the_roster_nor_the_identities(shell: Shell, identities: Path):
    claim(shell, enrolled(shell, identities, "camera-1"))
    enrolled(shell, identities, "camera-2")
    assert "0 devices are left" not in text(shell("fleet", "devices"))
    assert "1 devices are left" in text(shell("fleet", "remove", "camera-2"))
    assert "0 devices are left" in text(shell("fleet", "remove", "camera-1"))
    assert shell("fleet", "remove", "camera-1").status == 1
    done = shell("fleet", "access", "--identities", str(identities))
    assert "0 identities" in text(done)
    admin, *gone = json.loads(identities.read_text())["identities"]
    assert (admin, [it["actions"] for it in gone]) == ({"name": "admin"}, [[], []])
    assert not [key for key in shell.store.objects if key.startswith("edge/enrol/")]
    assert roster.read(shell.place, shell.keyring, FLEET).next_generation("camera-1") == 1


def test_who_has_no_keys_sees_the_devices_and_changes_nothing(shell: Shell, identities: Path):
    claim(shell, enrolled(shell, identities, "camera-1"))
    (shell.keys / "timestamp-1.pem").unlink()
    before = dict(shell.store.objects)
    assert "cameras: 0 devices, 1 tokens not used" in text(shell("fleet", "devices"))
    assert shell.store.objects == before


def test_the_policy_for_aws_is_printed(shell: Shell):
    one, every = (json.loads(shell("fleet", "access", *more).output) for more in (("--device", "camera-1"), ()))
    assert one["Statement"][1]["Resource"] == ["arn:aws:s3:::models/edge/health/*/camera-1~*"]
    assert every["Statement"][1]["Resource"] == ["arn:aws:s3:::models/edge/health/*/${aws:PrincipalTag/isthmus-device}~*"]
