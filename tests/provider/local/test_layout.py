import contextlib
import socket
from pathlib import Path

from isthmus.provider.local.layout import Layout, write_private


def test_a_socket_of_a_long_folder_lies_where_it_can_be_bound(tmp_path: Path) -> None:
    layout = Layout(tmp_path / ("x" * 120))
    layout.make()
    assert layout.socket.parent != layout.directory
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(f"{layout.socket}.1234567")  # the name that supervisord binds to first
        Path(f"{layout.socket}.1234567").unlink()
    with contextlib.suppress(OSError):  # other tests may have sockets there
        layout.socket.parent.rmdir()


def test_a_short_folder_keeps_its_socket() -> None:
    layout = Layout(Path("/srv/stack"))
    assert layout.socket == Path("/srv/stack/supervisor.sock")


def test_two_long_folders_have_two_sockets() -> None:
    assert Layout(Path("/a" * 80)).socket != Layout(Path("/b" * 80)).socket


def test_a_private_file_is_for_this_user_alone(tmp_path: Path) -> None:
    write_private(tmp_path / "deep" / "f", "content")
    assert (tmp_path / "deep" / "f").stat().st_mode & 0o777 == 0o600
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["f"]
