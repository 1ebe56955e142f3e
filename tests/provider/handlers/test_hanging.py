"""What runs and does not work is drift, and an update mends it, with a refresh or without one."""

import os
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow

# Answers with its process id; hangs once the file `hang` is in its folder. SO_REUSEPORT: as a careless server would.
SERVER = """
import http.server, os, socket, sys, time
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        while os.path.exists("hang"):
            time.sleep(0.1)
        self.send_response(200); self.end_headers(); self.wfile.write(str(os.getpid()).encode())
    def log_message(self, *args): pass
class Server(http.server.ThreadingHTTPServer):
    def server_bind(self):
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        super().server_bind()
if os.path.exists("hang"):
    os.unlink("hang")
Server(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""


@pytest.fixture
def inputs(supervisor: Any, folder: Path) -> dict[str, Any]:
    return {
        "supervisor": str(folder / "sv"),
        "program": "web",
        "command": ["${python}", "server.py", "${port.http}"],
        "ports": {"http": 0},
        "replicas": 2,
        "files": {"server.py": SERVER},
        "ready": {"port": "http", "path": "/", "timeout_seconds": 3},
    }


def answers(resource: Any) -> list[int]:
    """The process ids by which the replicas answer."""
    found = []
    for endpoint in resource.outputs["endpoints"]:
        with urllib.request.urlopen(f"http://127.0.0.1:{endpoint['http']}/", timeout=5) as answer:
            found.append(int(answer.read()))
    return found


def stop(pid: int) -> None:
    os.kill(pid, signal.SIGSTOP)


@pytest.mark.parametrize("replicas", [[0], [0, 1]])
def test_a_stopped_replica_is_drift_that_an_update_mends(plugin: Any, inputs: dict[str, Any], replicas: list[int]) -> None:
    web = plugin.create("LocalProcesses", inputs)
    for index in replicas:
        stop(web.outputs["pids"][index])
    found = plugin.read(web)
    assert found.outputs["replicas"] == 2 - len(replicas)
    assert found.outputs["ailments"] == [f"web-{index}: process {web.outputs['pids'][index]} is stopped" for index in replicas]
    assert {"replicas"} <= set(plugin.diff(found, inputs).diffs)
    mended = plugin.update(found, inputs)
    assert mended.outputs["endpoints"] == web.outputs["endpoints"]
    assert mended.outputs["ailments"] == []
    assert answers(mended) == mended.outputs["pids"]
    assert [index for index in (0, 1) if mended.outputs["pids"][index] != web.outputs["pids"][index]] == replicas


def test_one_that_listens_and_hangs_is_seen_and_mended_without_a_refresh(plugin: Any, inputs: dict[str, Any], folder: Path) -> None:
    web = plugin.create("LocalProcesses", inputs)
    assert not plugin.diff(web, inputs).diffs
    (folder / "sv" / "replicas" / "web" / "1" / "hang").touch()
    assert list(plugin.diff(web, inputs).diffs) == ["ailments"]
    assert plugin.update(web, inputs, preview=True).outputs["ailments"] == []
    mended = plugin.update(web, inputs)
    assert answers(mended) == mended.outputs["pids"]
    assert mended.outputs["pids"][0] == web.outputs["pids"][0]
    assert not plugin.diff(mended, inputs).diffs


def test_an_update_of_something_else_mends_a_stopped_replica_too(plugin: Any, inputs: dict[str, Any]) -> None:
    web = plugin.create("LocalProcesses", inputs)
    stop(web.outputs["pids"][0])
    assert len(answers(plugin.update(web, {**inputs, "live_files": {"some.txt": "text"}}))) == 2


def test_a_stopped_program_that_nothing_is_asked_of_is_seen_too(plugin: Any, inputs: dict[str, Any]) -> None:
    sleeper = {"supervisor": inputs["supervisor"], "program": "sleeper", "command": ["sleep", "60"], "ports": {}}
    program = plugin.create("LocalProcesses", sleeper)
    stop(program.outputs["pids"][0])
    assert plugin.read(program).outputs["replicas"] == 0
    assert plugin.update(program, sleeper).outputs["pids"] != program.outputs["pids"]


def test_a_stopped_supervisor_is_drift_and_comes_back_with_its_processes(plugin: Any, supervisor: Any, inputs: dict[str, Any]) -> None:
    web = plugin.create("LocalProcesses", inputs)
    stop(supervisor.outputs["pid"])
    assert plugin.read(supervisor) is None
    assert plugin.read(web) is None
    assert list(plugin.diff(supervisor, {"directory": supervisor.id}).diffs) == ["pid"]
    mended = plugin.update(supervisor, {"directory": supervisor.id})
    assert mended.outputs["pid"] != supervisor.outputs["pid"]
    again = plugin.read(web)
    assert again.outputs["replicas"] == 2
    assert answers(again) == again.outputs["pids"]


@pytest.fixture
def intruder() -> Iterator[list[subprocess.Popen[bytes]]]:
    started: list[subprocess.Popen[bytes]] = []
    yield started
    for process in started:
        process.kill()
        process.wait()


def test_a_port_that_another_program_shares_is_drift_and_is_told(
    plugin: Any, inputs: dict[str, Any], intruder: list[subprocess.Popen[bytes]], eventually: Any
) -> None:
    inputs = {**inputs, "replicas": 1}
    web = plugin.create("LocalProcesses", inputs)
    port = web.outputs["endpoints"][0]["http"]
    intruder.append(subprocess.Popen([sys.executable, "-c", SERVER, str(port)]))
    eventually(lambda: plugin.read(web).outputs["replicas"] == 0)
    (ailment,) = plugin.read(web).outputs["ailments"]
    assert f"port {port} (http) is shared with" in ailment
    assert f"process {intruder[0].pid}" in ailment
    moved = plugin.update(plugin.read(web), inputs)  # it may choose another port
    assert moved.outputs["endpoints"] != web.outputs["endpoints"]
    assert answers(moved) == moved.outputs["pids"]


def test_who_holds_a_fixed_port_is_told_by_its_resource(plugin: Any, inputs: dict[str, Any], free_port: int) -> None:
    fixed = {**inputs, "replicas": 1, "ports": {"http": free_port}}
    plugin.create("LocalProcesses", fixed, name="alpha")
    (problem,) = plugin.problems("LocalProcesses", {**fixed, "program": "beta"}, name="beta")
    assert f"port {free_port} is held by" in problem
    assert "which is web-0 of urn:pulumi:test::project::my:index:Parent$isthmus:index:LocalProcesses::alpha" in problem
    with socket.socket() as probe:
        probe.settimeout(5)
        probe.connect(("127.0.0.1", free_port))


def test_two_that_ask_for_one_port_are_told_before_either_holds_it(plugin: Any, inputs: dict[str, Any], free_port: int) -> None:
    fixed = {**inputs, "replicas": 1, "ports": {"http": free_port}}
    assert plugin.problems("LocalProcesses", fixed, name="alpha") == []
    assert plugin.problems("LocalProcesses", fixed, name="alpha") == []
    (problem,) = plugin.problems("LocalProcesses", {**fixed, "program": "beta"}, name="beta")
    assert problem.startswith(f"ports.http: port {free_port} is asked for by urn:pulumi:test::project::")
    assert "::alpha" in problem
    assert plugin.problems("LocalProcesses", {**fixed, "ports": {"http": 0}}, name="alpha") == []
    assert plugin.problems("LocalProcesses", {**fixed, "program": "beta"}, name="beta") == []


def test_a_resource_that_is_renamed_by_an_alias_keeps_its_fixed_port(
    plugin: Any, inputs: dict[str, Any], free_port: int, new_plugin: Any
) -> None:
    fixed = {**inputs, "replicas": 1, "ports": {"http": free_port}}
    old = plugin.create("LocalProcesses", fixed, name="old")
    renamed = {**fixed, "program": "renamed"}
    with new_plugin() as later:
        # As the engine asks: first with what there was under the alias, and then, since it is to be replaced, as something new.
        assert later.problems("LocalProcesses", renamed, name="new", old=old) == []
        assert later.problems("LocalProcesses", renamed, name="new") == []
        later.delete(old)
        assert len(answers(later.create("LocalProcesses", renamed, name="new"))) == 1


def test_a_resource_with_another_urn_and_the_same_program_is_known_by_its_making(plugin: Any, inputs: dict[str, Any]) -> None:
    old = plugin.create("LocalProcesses", inputs, name="old")
    old.name = "new"
    updated = plugin.update(old, {**inputs, "live_files": {"a.txt": "a"}})
    assert updated.outputs["pids"] == old.outputs["pids"]
    plugin.delete(updated)
    assert plugin.read(updated) is None
