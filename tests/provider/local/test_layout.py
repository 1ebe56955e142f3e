import os
import socket
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from isthmus.provider.local.layout import MARK, Layout, write_private

LONG_NAME = "a-program-with-a-name-that-is-as-long-as-names-may-be-63-letters"


@pytest.fixture
def deep(tmp_path: Path) -> Iterator[Layout]:
    """A layout whose folder is too long for sockets."""
    layout = Layout(tmp_path / ("x" * 120))
    layout.make()
    yield layout
    layout.remove()


def bind(path: Path | str) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
    Path(path).unlink()


def test_a_folder_that_cannot_be_removed_is_still_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    layout = Layout(tmp_path / "sv")
    layout.make()
    write_private(layout.config, f"{MARK}\n")
    (layout.directory / "logs" / "p.log").write_text("")

    def fail(path: Path) -> None:
        raise OSError(f"{path} is busy")

    with monkeypatch.context() as busy:
        busy.setattr("shutil.rmtree", fail)
        with pytest.raises(OSError, match="is busy"):
            layout.remove()
    assert layout.is_ours
    layout.remove()
    assert not layout.directory.exists()


def test_sockets_of_a_long_folder_lie_where_they_can_be_bound_and_nobody_else_can_look(deep: Layout) -> None:
    assert deep.runtime is not None
    assert deep.runtime.parent != deep.directory
    bind(f"{deep.socket}.1234567")  # the name that supervisord binds to first
    bind(deep.replica_socket(f"{LONG_NAME}-999", "rest") or "")
    found = deep.runtime.lstat()
    assert (stat.S_IMODE(found.st_mode), found.st_uid) == (0o700, os.getuid())


def test_everybody_finds_the_same_sockets_whatever_the_temporary_folder_is(deep: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", "/somewhere/else")
    again = Layout(deep.directory)
    again.make()
    assert again.socket == deep.socket


def test_a_folder_of_sockets_that_others_may_open_is_not_used_again(deep: Layout) -> None:
    before = deep.runtime
    assert before is not None
    before.chmod(0o755)
    deep.make()
    assert deep.runtime != before
    before.rmdir()


def test_a_folder_of_sockets_that_was_cleaned_away_is_made_again(deep: Layout) -> None:
    assert deep.runtime is not None
    deep.runtime.rmdir()
    deep.make()
    bind(deep.socket)


def test_removing_a_long_folder_removes_its_sockets(tmp_path: Path) -> None:
    layout = Layout(tmp_path / ("x" * 120))
    layout.make()
    runtime = layout.runtime
    layout.remove()
    assert runtime is not None
    assert not runtime.exists()
    assert not layout.directory.exists()


def test_before_it_is_made_a_long_folders_sockets_are_not_known() -> None:
    assert Layout(Path("/a" * 80)).replica_socket("web-0", "rest") is None


def test_a_short_folder_keeps_its_sockets() -> None:
    layout = Layout(Path("/srv/stack"))
    assert layout.socket == Path("/srv/stack/run/supervisor.sock")
    assert layout.replica_socket("digits-server-0", "rest") == Path("/srv/stack/run/digits-server-0.rest")


def test_sockets_of_long_names_are_short_and_different() -> None:
    layout = Layout(Path("/srv/stack"))
    found = {layout.replica_socket(f"{LONG_NAME}-{index}", name) for index in range(3) for name in ("rest", "grpc")}
    assert len(found) == 6
    assert all(len(str(path)) < 107 for path in found)


def test_a_folder_that_was_there_is_made_private(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    layout = Layout(tmp_path)
    layout.make()
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir() if not path.is_symlink()} == {0o700}
    layout.remove()


def test_a_private_file_is_for_this_user_alone(tmp_path: Path) -> None:
    write_private(tmp_path / "deep" / "f", "content")
    assert (tmp_path / "deep" / "f").stat().st_mode & 0o777 == 0o600
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["f"]
