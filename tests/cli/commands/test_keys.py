"""`isthmus keys`: the ceremony as it is typed. What it does to devices is tested in tests/repository."""

import json
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.cli.fleet_shell import Shell, shell_of

from isthmus.cli.commands.keys.view import is_well, rows_of
from isthmus.errors import StoreError
from isthmus.repository import ceremony
from isthmus.repository.keys import make_key
from isthmus.repository.reading import read


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shell:
    return shell_of(tmp_path / "keys", monkeypatch)


@pytest.fixture
def founded(shell: Shell) -> Shell:
    assert shell("keys", "init", "cameras").status == 0
    return shell


def words(shell: Shell) -> str:
    """The status in one line."""
    return " ".join(shell("keys", "status").output.split())


def test_a_key_ring_is_made_where_it_is_said_and_no_key_is_shown(shell: Shell):
    done = shell("keys", "init", "cameras", "--root-keys", "4", "--threshold", "3", store="")
    assert done.status == 0, done.output
    assert "root       3 of 4     file:root-1.pem" in done.output
    assert "offline, each with another person" in done.output
    files = sorted(shell.keys.glob("*.pem"))
    assert len(files) == 9
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
    for path in files:
        assert f"made {path} (mode 600)" in done.output
        assert not any(line in done.output for line in path.read_text().splitlines())
    assert (shell.keys / ".gitignore").read_text().split() == ["*.pem", "*.secret"]
    assert "next: `isthmus keys found`" in done.output
    assert not shell.store.objects


def test_a_place_founds_the_repository_as_well(founded: Shell):
    assert "edge/metadata/timestamp.json" in founded.store.objects
    assert "is there already" in founded("keys", "found").output


def test_a_key_ring_is_founded_later(shell: Shell):
    shell("keys", "init", "cameras", store="")
    assert shell("keys", "found").output == "founded the repository http://127.0.0.1:8333/models/edge/\n"
    assert shell("keys", "status").status == 0


@pytest.mark.parametrize("words", [["init", "cameras"], ["add", "doors"], ["rotate", "targets"], ["revoke", "KEYID"]])
def test_a_dry_run_shows_what_would_be_done_and_writes_nothing(shell: Shell, words: list[str]):
    if words[0] != "init":
        shell("keys", "init", "cameras")
        words = [it.replace("KEYID", shell.keyring.roles["targets"].keys[0].public.keyid[:12]) for it in words]
    before = {path: path.read_bytes() for path in shell.keys.glob("*")}, dict(shell.store.objects)
    done = shell("keys", *words, "--dry-run")
    assert (done.status, "file:" in done.output) == (0, True)
    assert before == ({path: path.read_bytes() for path in shell.keys.glob("*")}, shell.store.objects)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["init", "cameras", "--threshold", "4"], "--threshold: 4 of 3 keys would have to sign"),
        (["init", "Root!"], "cannot be a fleet's name"),
        (["init", "cameras", "--key", "file:x.pem"], "does not say for which role"),
        (["init", "cameras", "--key", "boss=file:x.pem"], "there is no role boss"),
        (["init", "cameras", "--key", "root=paper:1"], "names no kind of key; expected URI"),
        (["init", "cameras", "--key", "targets=awskms:1"], "the public half of awskms:1 is not known"),
        (["init", "cameras", "--key", "targets=awskms:1,none.pem"], "cannot be read: No such file"),
        (["init", "cameras", "--key", "timestamp=env:NO_SUCH_KEY"], "has no variable NO_SUCH_KEY"),
        (["rotate", "targets"], "make one: isthmus keys init"),
        (["status"], "make one: isthmus keys init"),
    ],
)
def test_what_cannot_be_is_one_message(shell: Shell, words: list[str], message: str):
    done = shell("keys", *words)
    assert done.status == 1
    assert message in done.output
    assert not shell.store.objects


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["init", "cameras"], "exists already"),
        (["add", "cameras"], "has 'cameras' already"),
        (["add", "targets"], "cannot be a fleet's name"),
        (["rotate", "doors"], "the key ring has no role 'doors'"),
        (["rotate", "targets", "--threshold", "2"], "2 of 1 keys would have to sign"),
        (["revoke", "zz"], "no key, or more than one, begins with 'zz'"),
    ],
)
def test_what_a_key_ring_does_not_allow_is_one_message_and_changes_nothing(founded: Shell, words: list[str], message: str):
    before = (founded.keys / "keyring.json").read_bytes(), dict(founded.store.objects)
    done = founded("keys", *words)
    assert (done.status, message in done.output) == (1, True), done.output
    assert before == ((founded.keys / "keyring.json").read_bytes(), founded.store.objects)


def test_a_key_of_the_environment_is_given_instead_of_a_file(shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    make_key("file:ci.pem", tmp_path)
    monkeypatch.setenv("CI_KEY", (tmp_path / "ci.pem").read_text())
    assert shell("keys", "init", "cameras", "--key", "timestamp=env:CI_KEY", "--key", "snapshot=env:CI_KEY").status == 0
    assert len(list(shell.keys.glob("*.pem"))) == 6
    assert "env:CI_KEY yes" in words(shell)
    monkeypatch.delenv("CI_KEY")
    assert "env:CI_KEY no" in words(shell)


def test_the_status_is_a_table_with_what_is_here_and_when_it_expires(founded: Shell):
    (founded.keys / "root-1.pem").unlink()
    done = founded("keys", "status")
    assert done.status == 0
    assert max(len(line) for line in done.output.splitlines()) <= 80
    lines = {line.split()[0]: line for line in done.output.splitlines()}
    assert "2 of 3" in lines["root"]
    assert "file:root-1.pem no" in words(founded)
    assert " 364" in lines["root"]
    assert " 2" in lines["timestamp"]


def test_the_status_as_json(founded: Shell):
    done = founded("keys", "status", "--json")
    rows = {it["role"]: it for it in json.loads(done.output)}
    assert rows["targets"]["keys"][0]["where"] == "file:targets-1.pem"
    assert (rows["targets"]["days"], rows["targets"]["due"], rows["cameras"]["expires"]) == (364, "", None)


def test_without_a_place_the_status_says_what_it_does_not_know(founded: Shell):
    done = founded("keys", "status", store="")
    assert done.status == 0
    assert "needs --store or --stack" in done.output


@pytest.mark.parametrize(("days", "due", "well"), [(1, "", True), (2.5, "refresh", True), (4, "expired", False)])
def test_what_is_due_is_said_in_time(founded: Shell, days: float, due: str, well: bool):
    current = read(founded.place, founded.keyring.anchor())
    rows = rows_of(ceremony.status(founded.keyring, current), current, datetime.now(UTC) + timedelta(days=days))
    assert {it.role: it.due for it in rows}["timestamp"] == due
    assert is_well(rows) == well


def test_another_fleet_is_added(founded: Shell):
    done = founded("keys", "add", "doors")
    assert f"made {founded.keys / 'doors-1.pem'} (mode 600)" in done.output
    assert "doors is a fleet of the repository" in done.output
    assert founded("keys", "status").status == 0
    assert "doors" in founded.keyring.fleets


def test_a_role_gets_new_keys(founded: Shell):
    before = founded.keyring.roles["root"]
    done = founded("keys", "rotate", "root")
    assert done.status == 0, done.output
    assert "instead of file:root-1.pem, file:root-2.pem, file:root-3.pem" in done.output
    after = founded.keyring.roles["root"]
    assert [key.uri for key in after.keys] == ["file:root-4.pem", "file:root-5.pem", "file:root-6.pem"]
    assert after.threshold == before.threshold
    assert all(key.public.keyid[:12] in done.output for key in after.keys)
    assert founded("keys", "status").status == 0


def test_a_stolen_fleet_key_begins_a_paused_epoch(founded: Shell):
    founded.tell(b"the first bundle")
    stolen = founded.keyring.roles["cameras"].keys[0].public.keyid
    done = founded("keys", "revoke", stolen[:12])
    assert done.status == 0, done.output
    assert "cameras: a new epoch begins, paused" in done.output
    assert "cameras is in epoch 1 and paused: publish a release" in done.output
    assert stolen not in (founded.keys / "keyring.json").read_text().partition('"retired"')[0]
    assert "number 4294967296" in founded("fleet", "status").output


def test_a_step_whose_keys_are_not_here_changes_nothing(founded: Shell):
    for number in (1, 2):
        (founded.keys / f"root-{number}.pem").unlink()
    before = (founded.keys / "keyring.json").read_bytes(), sorted(founded.keys.glob("*")), dict(founded.store.objects)
    for role in ("root", "targets", "timestamp"):
        done = founded("keys", "rotate", role)
        assert (done.status, "role root needs 2 keys, and 1 are at hand" in done.output) == (1, True), done.output
        assert "Fix: bring the key" in done.output
    assert before == ((founded.keys / "keyring.json").read_bytes(), sorted(founded.keys.glob("*")), founded.store.objects)


def test_the_rosters_key_needs_no_root_key(founded: Shell):
    for number in (1, 2, 3):
        (founded.keys / f"root-{number}.pem").unlink()
    assert founded("keys", "rotate", "roster").status == 0


def test_a_step_that_is_broken_off_says_so_and_is_finished(founded: Shell, monkeypatch: pytest.MonkeyPatch):
    def away(*_: object, **__: object) -> bool:
        raise StoreError("the store went away")

    with monkeypatch.context() as patched:
        patched.setattr(founded.store, "put", away)
        done = founded("keys", "rotate", "targets")
    assert done.status == 1
    assert "the store went away" in done.output
    assert "then `isthmus keys resume`" in done.output
    status = founded("keys", "status")
    assert (status.status, "not in force: keys resume" in " ".join(status.output.split())) == (1, True), status.output
    assert "in line with the key ring" in founded("keys", "resume").output
    assert founded("keys", "status").status == 0


def test_a_root_is_signed_in_turns_with_keys_that_never_meet(founded: Shell, tmp_path: Path):
    for number in (1, 2, 3):
        (founded.keys / f"root-{number}.pem").rename(tmp_path / f"root-{number}.pem")
    assert founded("keys", "rotate", "timestamp").status == 1
    done = founded("keys", "rotate", "timestamp", "--later")
    assert (done.status, "isthmus keys resume --root next-root.json" in done.output) == (0, True), done.output
    file = tmp_path / "next-root.json"
    done = founded("keys", "sign", str(file), "--key", f"file:{tmp_path / 'root-1.pem'}", store="")
    assert "missing: 1 of the keys in force and 1 of the new ones" in done.output
    assert "a new root needs 2" in founded("keys", "resume", "--root", str(file)).output
    done = founded("keys", "sign", str(file), "--key", f"file:{tmp_path / 'root-3.pem'}", store="")
    assert "it is complete" in done.output
    assert founded("keys", "resume", "--root", str(file)).status == 0
    assert founded("keys", "status").status == 0


def test_what_the_root_does_not_sign_is_not_left_for_later(founded: Shell):
    done = founded("keys", "rotate", "cameras", "--later")
    assert (done.status, "the root does not sign for the keys of cameras" in done.output) == (1, True)


def test_a_file_that_is_no_root_is_one_message(founded: Shell, tmp_path: Path):
    (tmp_path / "root.json").write_text("{}")
    done = founded("keys", "sign", str(tmp_path / "root.json"), store="")
    assert (done.status, "a root that `isthmus keys sign` has begun" in done.output) == (1, True)
