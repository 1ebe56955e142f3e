"""`isthmus fleet move`: who may move over, and what is refused before anybody is told anything."""

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from tests.cli.fleet_shell import Shell, shell_of
from tests.fleet_sayings import FLEET

from isthmus.repository import roster
from isthmus_agent.formats import former

MOVED = f"edge/metadata/{former.MOVED_NAME}"


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shell:
    found = shell_of(tmp_path / "keys", monkeypatch)
    assert found("keys", "init", FLEET).status == 0
    assert found("keys", "found").status == 0
    (tmp_path / "s3.json").write_text('{"identities": [{"name": "admin"}]}')
    key = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (tmp_path / "former.pem").write_bytes(key)
    (tmp_path / "former.pem").chmod(0o600)
    monkeypatch.chdir(tmp_path)
    return found


def test_all_that_have_reported_may_move_over_and_nobody_else(shell: Shell) -> None:
    for name in ("camera-2.json", "camera-1.json", "~.json"):
        shell.store.put(f"edge/reports/{name}", b"{}")
    done = shell("fleet", "move", "--former-key", "file:former.pem", "--identities", "s3.json")
    assert done.status == 0, done.output
    assert "camera-1, camera-2 may move over within 168 hours" in " ".join(done.output.split())
    moved = former.moved_from(former.envelope_from(shell.store.objects[MOVED]).payload)
    assert (moved.fleet, list(moved.tokens)) == (FLEET, ["camera-1", "camera-2"])
    waiting = [it.device.name for it in roster.read(shell.place, shell.keyring, FLEET).pending]
    assert waiting == ["camera-1", "camera-2"]
    assert Path("s3.json").read_text().count("isthmus-device-") == 2


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--identities", "s3.json"), "no device of a former version has reported below edge/"),
        (("--identities", "s3.json", "--device", "a~b"), "'a~b'"),
        ((), "--identities, --access: neither is given"),
        (("--identities", "no-such-file"), "no-such-file: cannot be read"),
    ],
)
def test_what_is_wrong_is_told_before_anybody_may_move(shell: Shell, words: tuple[str, ...], told: str) -> None:
    before = dict(shell.store.objects)
    done = shell("fleet", "move", "--former-key", "file:former.pem", *words)
    assert (done.status, told in done.output) == (1, True), done.output
    assert shell.store.objects == before


def test_a_key_that_is_none_is_told_without_its_content(shell: Shell) -> None:
    Path("former.pem").write_text("the-secret")
    done = shell("fleet", "move", "--former-key", "file:former.pem", "--identities", "s3.json", "--device", "a")
    assert (done.status, "cannot be read" in done.output, "the-secret" in done.output) == (1, True, False)
