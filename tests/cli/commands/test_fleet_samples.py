"""`isthmus keys sampling` and `isthmus fleet samples`: the owner's key, what it opens, and what is named instead of opened."""

import json
import os
import stat
from dataclasses import replace
from pathlib import Path

import pytest
from tests.cli.fleet_shell import URL, Shell, shell_with
from tests.fleet_sayings import FLEET
from typer.testing import CliRunner

from isthmus.cli import main
from isthmus.repository import roster
from isthmus.repository.publish import publish
from isthmus.repository.sampling import OwnerKey, owner_key
from isthmus_agent.formats import samples, samples_wanted
from isthmus_agent.formats.roster import Device
from isthmus_agent.formats.samples import Origin, Sample
from isthmus_agent.formats.samples_wanted import SamplesWanted

CAMERA, DOOR = Device("camera-1", "small", {"site": "a"}), Device("camera-2", "small")
SAMPLE = Sample(29_000_000, f"sha256:{'a' * 64}", "digits", 200, 987_654, b'{"instances": [[1]]}', b'{"predictions": [[0.5]]}')
FAILED = replace(SAMPLE, minutes=0, status=500, confidence_millionths=None, request=b"\xff", answer=b"{}")


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shell:
    return shell_with(tmp_path / "keys", monkeypatch, CAMERA, DOOR)


def made(shell: Shell) -> OwnerKey:
    done = CliRunner().invoke(main.app, ["keys", "sampling", "--keys", str(shell.keys)])
    found = owner_key("file:samples.pem", shell.keys)
    assert done.stdout == f"{found.text}\n"  # nothing else is on standard output
    return found


def sent(shell: Shell, key: bytes, device: Device = CAMERA, *listed: Sample) -> str:
    origin = Origin(FLEET, device.name, os.urandom(16))
    report_key = device.report_key(roster.fleet_secret(roster.secret_uri(FLEET), shell.keys), FLEET)
    shell.store.put(origin.object_key("edge/"), samples.sealed(listed, key, origin, report_key, os.urandom))
    return origin.object_key("edge/")


def test_the_owners_key_is_made_once_and_shown_after_that(shell: Shell):
    found = made(shell)
    file = shell.keys / "samples.pem"
    assert samples_wanted.key_from(found.text, "") == found.public
    assert (stat.S_IMODE(file.stat().st_mode), made(shell).public) == (0o600, found.public)
    assert "no variable NO_SUCH" in shell("keys", "sampling", "--key", "env:NO_SUCH").output
    assert "no key that samples can be encrypted to" in shell("keys", "sampling", "--key", "file:root-1.pem").output


def test_samples_are_shown_written_and_removed_and_what_does_not_open_is_named_and_left(shell: Shell, tmp_path: Path):
    key = made(shell)
    good = [sent(shell, key.public, CAMERA, SAMPLE, FAILED), sent(shell, key.public, DOOR, SAMPLE)]
    assert shell("fleet", "samples", "--fleet", FLEET).status == 0
    bad = {
        sent(shell, b"\x09" + bytes(31), CAMERA, SAMPLE): "another key",
        sent(shell, key.public, replace(CAMERA, generation=1), SAMPLE): "has not written it",
        sent(shell, key.public, Device("camera-9", "small"), SAMPLE): "not on the roster",
        f"edge/samples/{FLEET}/\x1b[31m[bold]": "not the key of a batch",
        f"edge/samples/{FLEET}/camera-1~{'0' * 32}": "larger than",
    }
    shell.store.put(f"edge/samples/{FLEET}/\x1b[31m[bold]", b"")
    shell.store.put(f"edge/samples/{FLEET}/camera-1~{'0' * 32}", bytes(samples.MOST_OBJECT_BYTES + 1))
    done = shell("fleet", "samples", "--out", str(tmp_path / "lab"), "--delete")
    output = " ".join(done.output.split())
    assert (done.status, "\x1b" in done.output) == (1, False)
    assert f"3 samples in 2 batches; {tmp_path}/lab/samples.jsonl has them; they are no longer in the store; 5 batches not opened" in output
    for why in bad.values():
        assert why in output, (why, output)
    assert sorted(shell.store.list("edge/samples/")) == sorted(bad)
    assert not set(good) & set(shell.store.objects)
    lines = [json.loads(it) for it in (tmp_path / "lab" / "samples.jsonl").read_text().splitlines()]
    whole = next(it for it in lines if it["device"] == "camera-2")
    assert whole == {
        "device": "camera-2",
        "asked_at": "2025-02-19T21:20Z",
        "content": SAMPLE.digest,
        "model": "digits",
        "status": 200,
        "confidence": 0.987654,
        "request": {"instances": [[1]]},
        "answer": {"predictions": [[0.5]]},
    }
    failed = next(it for it in lines if it["status"] == 500)
    assert (failed["asked_at"], failed["confidence"], failed["request"]) == (None, None, {"b64": "/w=="})
    assert "a folder without one" in shell("fleet", "samples", "--out", str(tmp_path / "lab")).output


def test_the_file_of_identities_follows_what_is_signed(shell: Shell, tmp_path: Path):
    file = tmp_path / "s3.json"
    file.write_text('{"identities": []}')

    def writers() -> list[str]:
        assert shell("fleet", "access", "--identities", str(file)).status == 0
        found = [action for it in json.loads(file.read_text())["identities"] for action in it["actions"]]
        return [it for it in found if "/samples/" in it]

    shell.tell(b"content")
    assert writers() == []
    wanted = SamplesWanted(made(shell).public, 5000, labels={"site": "a"})
    publish(shell.place, shell.keyring, FLEET, lambda told, _: replace(told, samples=wanted))
    assert writers() == [f"Write:models/edge/samples/{FLEET}/camera-1~*"]
    assert "0.5 % of requests, 24 a day at most" in " ".join(shell("fleet", "status", FLEET).output.split())
    publish(shell.place, shell.keyring, FLEET, lambda told, _: replace(told, samples=None))
    assert writers() == []
    policy = CliRunner().invoke(main.app, ["fleet", "access", "--samples", "--keys", str(shell.keys), "--store", URL]).stdout
    assert "SendSamples" in policy
