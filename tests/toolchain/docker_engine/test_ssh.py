"""An engine reached over SSH, as a remote host is."""

import subprocess
from collections.abc import Callable
from pathlib import Path

from toolchain.docker_engine.hosts import Site
from toolchain.docker_engine.ssh import serve
from toolchain.prepare.layout import Layout


def test_a_client_reaches_the_engine_and_nothing_else_over_ssh(
    real_layout: Layout, site: Site, tmp_path: Path, eventually: Callable[..., None]
) -> None:
    with serve(real_layout, tmp_path / "ssh", site[1]) as server:
        address = server.url.removeprefix("ssh://")
        user, _, place = address.partition("@")
        host, _, port = place.partition(":")
        command = ["ssh", *server.options, "-l", user, "-p", port, host]
        ping = subprocess.run([*command, "docker system dial-stdio"], input=b"GET /info HTTP/1.0\r\n\r\n", capture_output=True, check=False)
        assert b'"Name":"vm-b"' in ping.stdout, ping.stderr
        other = subprocess.run([*command, "echo", "a", "shell"], input=b"", capture_output=True, timeout=30, check=False)
        assert b"a shell" not in other.stdout
        stranger = subprocess.run(
            ["ssh", "-F", "none", "-o", "BatchMode=yes", *server.options[4:], "-i", "/dev/null", *command[-5:]],
            capture_output=True,
            check=False,
        )
        assert b"Permission denied" in stranger.stderr
    assert server.process.poll() is not None
