"""The gateway as the `local` platform starts it: one folder for all files, placeholders filled in, everything on loopback."""

import json
import subprocess
from contextlib import suppress

import pytest
import requests

from isthmus import gateway as g
from isthmus.platforms.local import desired as local


@pytest.mark.parametrize("balancing", ["round_robin", "least_request", "weighted"])
def test_a_gateway_of_the_local_platform_serves(tmp_path, make_backend, envoy_tools, balancing):
    backend = make_backend("server", 7)
    program, free_ports, until = envoy_tools
    spec = local.envoy("gateway", "digits", port=0, grpc_port=0)
    ports = dict(zip(spec.ports, free_ports(len(spec.ports)), strict=True))
    endpoints = [{"rest": backend.port, "grpc": backend.grpc_port}]

    def filled(text: str) -> str:
        for name, value in {"directory": tmp_path, **{f"port.{name}": port for name, port in ports.items()}}.items():
            text = text.replace(f"${{{name}}}", str(value))
        assert "${" not in text
        return text

    for name, text in {**spec.files, **local.gateway_files("gateway", "digits", endpoints, balancing)}.items():
        (tmp_path / name).write_text(filled(text))
    assert "0.0.0.0" not in json.dumps([path.read_text() for path in tmp_path.iterdir()])  # noqa: S104
    process = subprocess.Popen([program, *map(filled, spec.command[1:])], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def ready() -> bool:
        assert process.poll() is None
        with suppress(requests.ConnectionError):
            return requests.get(f"http://127.0.0.1:{ports[spec.ready['port']]}{spec.ready['path']}", timeout=5).ok
        return False

    try:
        until(ready, "the gateway is ready")
        # Whatever version the servers have.
        answer = requests.post(f"http://127.0.0.1:{ports['rest']}/v1/models/digits:predict", json={}, timeout=10)
        assert answer.json()["server"] == "server"
        assert answer.headers[g.TRACK_HEADER] == "stable"
    finally:
        process.terminate()
        process.wait(30)
