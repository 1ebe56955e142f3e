"""Steps: done once, done again when their inputs change, whole or not at all."""

import os
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from toolchain.prepare import steps
from toolchain.prepare.steps import PrepareError, Stamp, fingerprint, replace_file


@given(st.lists(st.text(), max_size=4), st.lists(st.text(), max_size=4))
def test_fingerprints_are_equal_only_for_equal_inputs(one: list[str], other: list[str]) -> None:
    assert (fingerprint(*one) == fingerprint(*other)) is (one == other)


def test_a_fingerprint_follows_the_content_of_files(tmp_path: Path) -> None:
    file = tmp_path / "file"
    missing = fingerprint(file)
    file.write_text("a")
    first = fingerprint(file)
    file.write_text("b")
    assert len({missing, first, fingerprint(file)}) == 3


def test_a_stamp_is_empty_until_it_is_written_and_after_it_is_cleared(tmp_path: Path) -> None:
    stamp = Stamp(tmp_path / "folder" / "stamp")
    assert stamp.read() == ""
    stamp.write("done")
    assert stamp.read() == "done"
    stamp.clear()
    stamp.clear()
    assert stamp.read() == ""


def test_a_damaged_stamp_counts_as_not_done(tmp_path: Path) -> None:
    (tmp_path / "stamp").write_bytes(b"\xff\xfe")
    assert Stamp(tmp_path / "stamp").read() == ""


def test_a_file_is_replaced_with_its_mode_and_nothing_is_left_beside_it(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    replace_file(file, b"one")
    replace_file(file, b"two", 0o600)
    assert file.read_bytes() == b"two"
    assert file.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [file]


def test_a_write_that_fails_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "file"
    replace_file(file, b"old")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="No space"):
        replace_file(file, b"new")
    assert file.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [file]


def counting(file: Path, succeed_at: int) -> list[str | Path]:
    """A command that fails until it has been run `succeed_at` times."""
    code = "import pathlib, sys; f = pathlib.Path(sys.argv[1]); f.open('a').write('x'); sys.exit(len(f.read_text()) < int(sys.argv[2]))"
    return [sys.executable, "-c", code, file, str(succeed_at)]


def test_a_failure_of_the_network_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(steps, "RETRY_SECONDS", 0)
    steps.run(counting(tmp_path / "runs", 3), what="fetching", fix="check the network", attempts=3)
    assert (tmp_path / "runs").read_text() == "xxx"
    with pytest.raises(PrepareError, match=r"^fetching failed with status 1. Fix: check the network$"):
        steps.run(counting(tmp_path / "others", 4), what="fetching", fix="check the network", attempts=3)


def test_a_command_that_does_not_exist_is_one_clear_line() -> None:
    with pytest.raises(PrepareError, match=r"making it failed: .*No such file") as error:
        steps.run(["/no/such/program"], what="making it", fix="install it")
    assert "\n" not in str(error.value)


def test_lines_can_be_hidden(capfd: pytest.CaptureFixture[str]) -> None:
    code = "import sys; print('shown', file=sys.stderr); print(' + package==1', file=sys.stderr)"
    steps.run([sys.executable, "-c", code], what="it", fix="", hide=(" + ",))
    assert capfd.readouterr().err == "shown\n"


def test_two_things_are_done_at_the_same_time() -> None:
    meeting = threading.Barrier(2, timeout=30)
    assert sorted(steps.beside(meeting.wait, meeting.wait, lambda: None)) == [0, 1]


@pytest.mark.parametrize("error", [PrepareError("the network"), KeyboardInterrupt()], ids=repr)
def test_when_one_of_them_fails_the_other_one_is_asked_to_end_and_waited_for(error: BaseException) -> None:
    began, asked, ended = threading.Event(), threading.Event(), threading.Event()

    def work() -> None:
        assert began.wait(30)
        raise error

    def meanwhile() -> None:
        began.set()
        assert asked.wait(30)
        ended.set()

    with pytest.raises(type(error)) as caught:
        steps.beside(work, meanwhile, asked.set)
    assert caught.value is error
    assert ended.is_set()


def test_the_other_ones_failure_is_told_too() -> None:
    def meanwhile() -> None:
        raise PrepareError("no compiler")

    with pytest.raises(PrepareError, match="no compiler"):
        steps.beside(lambda: None, meanwhile, lambda: None)


def test_a_scratch_folder_is_gone_at_the_end_and_with_it_those_of_killed_processes(tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    with steps.scratch_folder(tmp_path) as folder:
        killed = folder
        (folder / "file").touch()
        os.rename(folder, tmp_path / "saved")
    os.rename(tmp_path / "saved", killed)  # as a process leaves it that is killed
    with steps.scratch_folder(tmp_path) as folder:
        assert sorted(tmp_path.iterdir()) == sorted([folder, tmp_path / "kept"])
    assert list(tmp_path.iterdir()) == [tmp_path / "kept"]
