"""The gateway as the `local` platform starts it: one folder for all files, placeholders filled in, nothing on a port but clients' own."""

import stat
import subprocess
import tempfile
from contextlib import suppress
from http.client import HTTPConnection
from pathlib import Path

import grpc
import psutil
import pytest
import requests

from isthmus import gateway as g
from isthmus.platforms.local import desired as local
from isthmus.provider.local.unix import UnixConnection

GRPC_PREDICT = "/tensorflow.serving.PredictionService/Predict"


@pytest.fixture
def sockets():
    """A folder for Unix sockets."""
    with tempfile.TemporaryDirectory(prefix="isthmus-") as path:
        yield Path(path)


@pytest.mark.parametrize("balancing", ["round_robin", "least_request", "weighted"])
def test_a_gateway_of_the_local_platform_serves(tmp_path, sockets, make_backend, envoy_tools, balancing):
    (sockets / "server").mkdir()
    make_backend("server", 7, directory=sockets / "server")
    program, free_ports, until = envoy_tools
    spec = local.envoy("gateway", "digits", port=0, grpc_port=0)
    ports = dict(zip(spec.ports, free_ports(len(spec.ports)), strict=True))
    values = {"directory": tmp_path}
    values |= {f"port.{name}": port for name, port in ports.items()} | {f"socket.{name}": sockets / name for name in spec.sockets}

    def filled(text: str) -> str:
        for name, value in values.items():
            text = text.replace(f"${{{name}}}", str(value))
        assert "${" not in text
        return text

    servers = [{name: str(sockets / "server" / name) for name in ("rest", "grpc")}]
    for name, text in {**spec.files, **local.gateway_files("gateway", "digits", servers, balancing)}.items():
        (tmp_path / name).write_text(filled(text))
    process = subprocess.Popen([program, *map(filled, spec.command[1:])], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def ready() -> bool:
        assert process.poll() is None
        with suppress(OSError):
            return asked(UnixConnection(str(sockets / spec.ready["socket"]), 5), spec.ready["path"]) == 200
        return False

    try:
        until(ready, "the gateway is ready")
        # Whatever version the servers have.
        answer = requests.post(f"http://127.0.0.1:{ports['rest']}/v1/models/digits:predict", json={}, timeout=10)
        assert answer.json()["server"] == "server"
        assert answer.headers[g.TRACK_HEADER] == "stable"
        with grpc.insecure_channel(f"127.0.0.1:{ports['grpc']}") as channel:
            assert channel.unary_unary(GRPC_PREDICT)(b"x", timeout=10) == b"server"
        assert {(it.laddr.ip, it.laddr.port) for it in psutil.Process(process.pid).net_connections("inet") if it.status == "LISTEN"} == {
            ("127.0.0.1", port) for port in ports.values()
        }
        assert {stat.S_IMODE((sockets / name).stat().st_mode) for name in spec.sockets} == {0o600}
        assert asked(UnixConnection(str(sockets / "status"), 5), "/stats/prometheus") == 200
    finally:
        process.terminate()
        process.wait(30)


def asked(connection: HTTPConnection, path: str) -> int:
    """The status of a GET."""
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    finally:
        connection.close()
