"""The state directory, also when the process ends at any of its steps."""

import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from isthmus.agent.slots import CURRENT, PREVIOUS, Seen, Slots

A, B, C = ("sha256:" + letter * 64 for letter in "abc")

# Installs B over A and ends the process just before the given call of one that changes the disk.
INSTALL_AND_DIE = """
import os, sys
from pathlib import Path
from isthmus.agent import slots
directory, before = Path(sys.argv[1]), int(sys.argv[2])
calls = 0
def counted(function):
    def call(*arguments, **options):
        global calls
        calls += 1
        if calls == before:
            os._exit(9)
        return function(*arguments, **options)
    return call
state = slots.Slots(directory, "key")
for name in ("rename", "replace", "symlink", "unlink", "fsync", "rmdir", "mkdir"):
    setattr(os, name, counted(getattr(os, name)))
state.remember(slots.Seen(2, sys.argv[3]))
with state.incoming(sys.argv[3]) as folder:
    (folder / "model").write_text("B")
state.switch(sys.argv[3])
print(calls)
"""


def install(slots: Slots, digest: str, content: str) -> None:
    with slots.incoming(digest) as folder:
        (folder / "model").write_text(content)
    slots.switch(digest)


def test_a_switch_keeps_the_previous_release_and_drops_older_ones(tmp_path: Path) -> None:
    slots = Slots(tmp_path, "key")
    for digest in (A, B, C):
        install(slots, digest, digest)
    assert (slots.digest(CURRENT), slots.digest(PREVIOUS)) == (C, B)
    assert sorted(path.name for path in (tmp_path / "slots").iterdir()) == [B[7:], C[7:]]
    assert not os.path.isabs(os.readlink(tmp_path / CURRENT))  # the folder may be moved
    slots.switch(C)
    assert (slots.digest(CURRENT), slots.digest(PREVIOUS)) == (C, B)
    slots.switch(B)
    assert (slots.digest(CURRENT), slots.digest(PREVIOUS)) == (B, C)


def test_a_bundle_that_fails_on_its_way_leaves_nothing(tmp_path: Path) -> None:
    slots = Slots(tmp_path, "key")
    install(slots, A, "A")
    with suppress(RuntimeError), slots.incoming(B) as folder:
        (folder / "model").write_text("half")
        raise RuntimeError
    assert [path.name for path in (tmp_path / "slots").iterdir()] == [A[7:]]
    assert slots.digest(CURRENT) == A


def test_the_same_digest_again_replaces_what_was_damaged(tmp_path: Path) -> None:
    slots = Slots(tmp_path, "key")
    install(slots, A, "damaged")
    install(slots, A, "whole")
    assert (tmp_path / CURRENT / "model").read_text() == "whole"
    assert [path.name for path in (tmp_path / "slots").iterdir()] == [A[7:]]


def test_what_was_seen_is_kept_for_its_key(tmp_path: Path) -> None:
    Slots(tmp_path, "key").remember(Seen(5, A))
    assert Slots(tmp_path, "key").seen == Seen(5, A)
    assert Slots(tmp_path, "another key").seen == Seen()
    (tmp_path / "seen.json").write_text("{")
    assert Slots(tmp_path, "key").seen == Seen()


def test_ended_before_any_of_its_steps_it_leaves_the_old_release_or_the_new_one_whole(tmp_path: Path) -> None:
    def attempt(before: int) -> "subprocess.CompletedProcess[str]":
        directory = tmp_path / str(before)
        directory.mkdir()
        install(Slots(directory, "key"), A, "A")
        command = [sys.executable, "-c", INSTALL_AND_DIE, str(directory), str(before), B]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    steps = int(attempt(0).stdout)
    assert steps > 8
    found = set()
    for before in range(1, steps + 1):
        assert attempt(before).returncode == 9
        slots = Slots(tmp_path / str(before), "key")
        content = (tmp_path / str(before) / CURRENT / "model").read_text()
        assert slots.digest(CURRENT) == {"A": A, "B": B}[content]
        assert not list((tmp_path / str(before) / "slots").glob(".*"))
        found.add(content)
        install(slots, C, "C")
        assert (tmp_path / str(before) / CURRENT / "model").read_text() == "C"
    assert found == {"A", "B"}
