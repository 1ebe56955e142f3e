import contextlib
import json
import os
import signal
import socket
import stat
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from google.protobuf import struct_pb2
from pulumi.runtime.proto import provider_pb2

from isthmus.plugin.values import UNKNOWN, encode
from isthmus.provider.local import ports
from isthmus.provider.local.readiness import Probe

pytestmark = pytest.mark.slow

SERVER = """
import http.server, json, os, sys
content = open("config.json").read()
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        answer = {"config": content, "live": open("live.json").read() if os.path.exists("live.json") else "", "pid": os.getpid(),
                  "index": os.environ["INDEX"], "secret": os.environ.get("SECRET", "")}
        self.send_response(200); self.end_headers(); self.wfile.write(json.dumps(answer).encode())
    def log_message(self, *args): pass
if "--fail" in content:
    sys.exit("cannot open the door: " + os.environ.get("SECRET", ""))
http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""


@pytest.fixture
def inputs(supervisor: Any, folder: Path) -> dict[str, Any]:
    return {
        "supervisor": str(folder / "sv"),
        "program": "web",
        "command": ["${python}", "server.py", "${port.http}"],
        "ports": {"http": 0},
        "replicas": 2,
        "environment": {"INDEX": "number ${index}"},
        "files": {"server.py": SERVER, "config.json": "one"},
        "ready": {"port": "http", "path": "/", "contains": "config", "timeout_seconds": 30},
    }


def ask(resource: Any, index: int = 0) -> dict[str, Any]:
    port = resource.outputs["endpoints"][index]["http"]
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5) as answer:
        found: dict[str, Any] = json.load(answer)
    return found


def supervisor_call(folder: Path, method: str, *arguments: Any) -> Any:
    from isthmus.provider.local.layout import Layout
    from isthmus.provider.local.supervisord import Supervisord

    return Supervisord(Layout(folder / "sv"))._ask(method, *arguments)


def test_replicas_answer_each_on_a_port_of_its_own(plugin: Any, inputs: dict[str, Any]) -> None:
    web = plugin.create("LocalProcesses", inputs)
    assert [ask(web, index)["index"] for index in (0, 1)] == ["number 0", "number 1"]
    assert [ask(web, index)["pid"] for index in (0, 1)] == web.outputs["pids"]
    assert web.outputs["replicas"] == 2


def test_a_preview_makes_nothing_and_knows_what_can_be_known(plugin: Any, inputs: dict[str, Any], folder: Path, free_port: int) -> None:
    fixed = plugin.preview("LocalProcesses", {**inputs, "replicas": 1, "ports": {"http": free_port}})
    assert fixed["endpoints"] == [{"http": free_port}]
    assert plugin.preview("LocalProcesses", inputs)["endpoints"] == [{"http": UNKNOWN}, {"http": UNKNOWN}]
    later = plugin.preview("LocalProcesses", {**inputs, "live_files": {"live.json": UNKNOWN}, "replicas": UNKNOWN})
    assert later["endpoints"] is UNKNOWN
    assert list((folder / "sv" / "conf.d").iterdir()) == []


UNIX_SERVER = """
import http.server, socket, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers(); self.wfile.write(b"hello")
    def log_message(self, *args): pass
class Server(http.server.ThreadingHTTPServer):
    address_family = socket.AF_UNIX
    def server_bind(self): self.socket.bind(self.server_address)
    def get_request(self): return self.socket.accept()[0], ("", 0)
Server(sys.argv[1], Handler).serve_forever()
"""


def test_sockets_are_told_known_before_an_update_and_gone_with_their_replica(plugin: Any, inputs: dict[str, Any], folder: Path) -> None:
    files = {"server.py": UNIX_SERVER}
    ready = {"socket": "inner", "path": "/", "contains": "hello", "timeout_seconds": 30}
    inputs |= {"command": ["${python}", "server.py", "${socket.inner}"], "ports": {}, "sockets": ["inner"], "files": files, "ready": ready}
    expected = [{"inner": str(folder / "sv" / "run" / f"web-{index}.inner")} for index in (0, 1)]
    assert plugin.preview("LocalProcesses", inputs)["socket_paths"] == expected
    web = plugin.create("LocalProcesses", inputs)
    assert web.outputs["socket_paths"] == expected
    for paths in expected:
        assert not stat.S_IMODE(os.stat(paths["inner"]).st_mode) & 0o077
        assert Probe(paths["inner"], "/", "hello").failure() is None
    fewer = plugin.update(web, {**inputs, "replicas": 1})
    again = plugin.update(fewer, {**inputs, "replicas": 1, "environment": {"INDEX": "another"}})  # what a killed one left is no obstacle
    assert again.outputs["socket_paths"] == expected[:1]
    assert sorted(path.name for path in (folder / "sv" / "run").iterdir()) == ["supervisor.sock", "web-0.inner"]
    plugin.delete(again)
    assert [path.name for path in (folder / "sv" / "run").iterdir()] == ["supervisor.sock"]


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"sockets": ["a/b"]}, "sockets[0]: is 'a/b'"),
        ({"sockets": ["a", "a"]}, "sockets[1]: is 'a', as another one is"),
        ({"command": ["true", "${socket.a}"]}, "command: uses ${socket.a}, which is not in sockets"),
        ({"ready": {"socket": "a", "path": "/"}}, "ready.socket: is 'a'; expected a name of sockets: there are none"),
        ({"sockets": ["a"], "ready": {"socket": "a", "port": "http", "path": "/"}}, "ready.socket: stands beside ready.port"),
    ],
)
def test_sockets_that_cannot_be_are_refused(plugin: Any, inputs: dict[str, Any], changes: dict[str, Any], says: str) -> None:
    assert any(says in problem for problem in plugin.problems("LocalProcesses", {**inputs, **changes}))


def test_an_update_restarts_one_replica_after_the_other_on_the_same_ports(plugin: Any, inputs: dict[str, Any], in_background: Any) -> None:
    web = plugin.create("LocalProcesses", inputs)
    files = {**inputs["files"], "config.json": "two"}
    update = in_background(lambda: plugin.update(web, {**inputs, "files": files}))
    fewest = 2
    while not update.done():
        answering = 0
        for index in (0, 1):
            with contextlib.suppress(OSError, ValueError):  # ValueError: it ended in the middle of its answer
                ask(web, index)
                answering += 1
        fewest = min(fewest, answering)
    assert fewest >= 1, "both replicas were away at once"
    updated = update.result()
    assert updated.outputs["endpoints"] == web.outputs["endpoints"]
    assert not set(updated.outputs["pids"]) & set(web.outputs["pids"])
    assert [ask(updated, index)["config"] for index in (0, 1)] == ["two", "two"]


def test_scaling_touches_no_replica_that_stays(plugin: Any, inputs: dict[str, Any], folder: Path) -> None:
    web = plugin.create("LocalProcesses", inputs)
    more = plugin.update(web, {**inputs, "replicas": 3})
    assert more.outputs["pids"][:2] == web.outputs["pids"]
    fewer = plugin.update(more, {**inputs, "replicas": 1})
    assert fewer.outputs["pids"] == web.outputs["pids"][:1]
    assert [path.name for path in (folder / "sv" / "replicas" / "web").iterdir()] == ["0"]
    assert [path.name for path in (folder / "sv" / "conf.d").iterdir()] == ["web-0.conf"]


def test_a_live_file_is_replaced_under_the_running_process(plugin: Any, inputs: dict[str, Any]) -> None:
    web = plugin.create("LocalProcesses", {**inputs, "live_files": {"live.json": "a"}})
    preview = plugin.update(web, {**inputs, "live_files": {"live.json": "b"}}, preview=True)
    assert preview.outputs["pids"] == web.outputs["pids"]
    assert ask(web)["live"] == "a"
    updated = plugin.update(web, {**inputs, "live_files": {"live.json": "b"}})
    assert updated.outputs["pids"] == web.outputs["pids"]
    assert ask(web)["live"] == "b"
    without = plugin.update(updated, inputs)
    assert ask(without)["live"] == ""


def test_a_removed_replica_is_drift_that_an_update_mends_on_its_port(plugin: Any, inputs: dict[str, Any], folder: Path) -> None:
    web = plugin.create("LocalProcesses", inputs)
    supervisor_call(folder, "stopProcess", "web-0")
    found = plugin.read(web)
    assert found.outputs["replicas"] == 1
    assert found.outputs["endpoints"] == web.outputs["endpoints"][1:]
    diff = plugin.diff(found, inputs)
    assert dict(diff.detailedDiff).keys() == {"replicas"}
    assert not diff.replaces
    assert plugin.update(found, inputs, preview=True).outputs["endpoints"] == web.outputs["endpoints"]
    mended = plugin.update(found, inputs)
    assert mended.outputs["endpoints"] == web.outputs["endpoints"]
    assert mended.outputs["pids"][1] == web.outputs["pids"][1]


def test_a_replica_taken_out_of_the_supervisor_is_drift_too_and_none_left_is_gone(
    plugin: Any, inputs: dict[str, Any], folder: Path
) -> None:
    web = plugin.create("LocalProcesses", inputs)
    for index in (0, 1):
        supervisor_call(folder, "stopProcess", f"web-{index}")
        supervisor_call(folder, "removeProcessGroup", f"web-{index}")
        found = plugin.read(web)
        assert (found and found.outputs["replicas"]) == (1 if index == 0 else None)
    again = plugin.create("LocalProcesses", inputs)
    assert again.outputs["endpoints"] == web.outputs["endpoints"]


def test_a_killed_process_comes_back_by_itself(plugin: Any, inputs: dict[str, Any], eventually: Any) -> None:
    web = plugin.create("LocalProcesses", inputs)
    os.kill(web.outputs["pids"][0], signal.SIGKILL)

    def came_back() -> bool:
        found = plugin.read(web)
        return found is not None and found.outputs["replicas"] == 2 and found.outputs["pids"] != web.outputs["pids"]

    eventually(came_back)


def test_a_crash_loop_fails_with_its_last_words_and_stays_in_the_state(plugin: Any, inputs: dict[str, Any], folder: Path) -> None:
    broken = {
        **inputs,
        "files": {**inputs["files"], "config.json": "--fail"},
        "environment": {"INDEX": "", "SECRET": "hunter2 is secret"},
    }
    with pytest.raises(Exception, match="does not stay up") as caught:
        plugin.create("LocalProcesses", broken, secrets=frozenset({("environment", "SECRET")}))
    error: Any = caught.value
    assert "cannot open the door: [secret]" in error.message
    assert "hunter2" not in error.message + str(error.reasons)
    assert error.id == f"{folder / 'sv'}:web"
    assert error.outputs["endpoints"] == []

    checked = plugin.check("LocalProcesses", broken).inputs
    half_made = type(plugin.create("StoreCredentials", {}))("LocalProcesses", "it", error.id, checked, encode(error.outputs))
    mended = plugin.update(half_made, inputs)
    assert len(mended.outputs["pids"]) == 2


def test_a_program_that_is_not_ready_in_time_fails_and_does_not_run_on(
    plugin: Any, inputs: dict[str, Any], folder: Path, processes_below: Any
) -> None:
    command = ["${python}", "-c", "print('I am busy', flush=True); import time; time.sleep(60)"]
    ready = {"port": "http", "timeout_seconds": 1.5}
    with pytest.raises(Exception, match=r"web-0 was not ready within 1.5 s .*refused.*\n?.*I am busy") as caught:
        plugin.create("LocalProcesses", {**inputs, "command": command, "ready": ready})
    error: Any = caught.value
    assert "0 of 2 replicas run" in error.message
    assert len(processes_below(folder)) == 1, "the supervisor alone"


def test_a_file_that_cannot_be_written_is_named_without_a_traceback(plugin: Any, inputs: dict[str, Any], folder: Path) -> None:
    (folder / "sv" / "replicas" / "web").write_text("in the way")
    with pytest.raises(Exception, match=r"replicas/web/0: Not a directory; 0 of 2 replicas run") as caught:
        plugin.create("LocalProcesses", inputs)
    error: Any = caught.value
    assert error.outputs["program"] == "web"


def test_the_users_own_timeout_ends_the_waiting(plugin: Any, inputs: dict[str, Any]) -> None:
    with pytest.raises(Exception, match="not done within the 1 s of custom_timeouts"):
        plugin.create("LocalProcesses", {**inputs, "command": ["sleep", "60"]}, timeout_seconds=1)


def test_a_failed_update_leaves_the_other_replica_serving_what_it_served(plugin: Any, inputs: dict[str, Any]) -> None:
    web = plugin.create("LocalProcesses", inputs)
    files = {**inputs["files"], "config.json": "--fail"}
    with pytest.raises(Exception, match="1 of 2 replicas run") as caught:
        plugin.update(web, {**inputs, "files": files})
    error: Any = caught.value
    assert error.outputs["pids"] == web.outputs["pids"][1:]
    assert ask(web, 1)["config"] == "one"
    mended = plugin.update(web, inputs)
    assert [ask(mended, index)["config"] for index in (0, 1)] == ["one", "one"]
    assert mended.outputs["pids"][1] == web.outputs["pids"][1]


def test_deleting_leaves_no_process_port_or_file(plugin: Any, inputs: dict[str, Any], folder: Path, processes_below: Any) -> None:
    left = folder / "left.sock"
    command = ["${python}", "-c", f"open({str(left)!r}, 'w'); import runpy; runpy.run_path('server.py')", "${port.http}"]
    web = plugin.create("LocalProcesses", {**inputs, "command": command, "leftovers": [str(left)]})
    assert left.exists()
    plugin.delete(web)
    assert not left.exists()
    assert len(processes_below(folder)) == 1, "the supervisor alone"
    names = [path.name for part in ("conf.d", "launch", "programs", "replicas", "logs") for path in (folder / "sv" / part).iterdir()]
    assert names == []
    for endpoint in web.outputs["endpoints"]:
        assert ports.is_free(endpoint["http"])
    plugin.delete(web)


def test_deleting_is_possible_after_the_supervisor_died(
    plugin: Any, supervisor: Any, inputs: dict[str, Any], folder: Path, processes_below: Any
) -> None:
    web = plugin.create("LocalProcesses", inputs)
    os.kill(supervisor.outputs["pid"], signal.SIGKILL)
    assert len(processes_below(folder)) >= 2
    plugin.delete(web)
    assert processes_below(folder) == []
    assert list((folder / "sv" / "replicas").iterdir()) == []


def test_a_secret_is_in_no_argument_list_no_message_and_only_in_private_files(
    plugin: Any, inputs: dict[str, Any], folder: Path, processes_below: Any
) -> None:
    secret = "hunter2-of-the-test"
    secrets = frozenset({("environment", "SECRET"), ("files", "key.pem")})
    inputs = {**inputs, "environment": {"INDEX": "", "SECRET": secret}, "files": {**inputs["files"], "key.pem": secret}}
    web = plugin.create("LocalProcesses", inputs, secrets=secrets)
    assert web.secrets == secrets
    assert plugin.read(web).secrets == secrets
    assert ask(web)["secret"] == secret
    assert not [process for process in psutil.process_iter(["cmdline"]) if secret in " ".join(process.info["cmdline"] or ())]
    assert not [message for message in plugin.engine.messages if secret in message.message]
    holding = [path for path in (folder / "sv").rglob("*") if path.is_file() and secret.encode() in path.read_bytes()]
    assert holding
    assert {stat.S_IMODE(path.stat().st_mode) for path in holding} == {0o600}
    assert stat.S_IMODE((folder / "sv").stat().st_mode) == 0o700


def test_a_secret_in_the_command_is_refused_without_showing_it(plugin: Any, inputs: dict[str, Any]) -> None:
    command = [*inputs["command"], "--password=hunter2"]
    (problem,) = plugin.problems("LocalProcesses", {**inputs, "command": command}, secrets=frozenset({("command", 3)}))
    assert problem.startswith("command: holds a secret")
    assert "hunter2" not in problem


@pytest.fixture
def foreign_port() -> Iterator[int]:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        yield server.getsockname()[1]


def test_a_port_that_another_program_holds_is_refused_at_preview(plugin: Any, inputs: dict[str, Any], foreign_port: int) -> None:
    (problem,) = plugin.problems("LocalProcesses", {**inputs, "replicas": 1, "ports": {"http": foreign_port}})
    assert problem.startswith(f"ports.http: port {foreign_port} is held by ")
    assert str(os.getpid()) in problem


def test_a_port_that_the_resource_itself_holds_is_not(plugin: Any, inputs: dict[str, Any], free_port: int) -> None:
    fixed = {**inputs, "replicas": 1, "ports": {"http": free_port}}
    web = plugin.create("LocalProcesses", fixed)
    assert plugin.problems("LocalProcesses", fixed, old=web) == []
    assert plugin.problems("LocalProcesses", {**fixed, "program": "other"}, old=web) == []
    (problem,) = plugin.problems("LocalProcesses", {**fixed, "program": "other"}, name="another")
    assert "is held by" in problem
    diff = plugin.diff(web, {**fixed, "program": "other"})
    assert diff.replaces == ["program"]
    assert diff.deleteBeforeReplace


def test_everything_that_is_wrong_is_said_at_once(plugin: Any, inputs: dict[str, Any]) -> None:
    wrong = {
        **inputs,
        "program": "a b",
        "command": ["no-such-program-here", "${port.htpp}"],
        "files": {"../x": ""},
        "ports": {"http": 8080},
        "ready": {"port": "rest", "path": "x"},
    }
    found = plugin.problems("LocalProcesses", wrong)
    assert {text.split(": ")[0] for text in found} == {
        "program",
        "command[0]",
        "command",
        'files["../x"]',
        "ports.http",
        "ready.port",
        "ready.path",
    }
    assert {text.split(": ")[0] for text in plugin.problems("LocalProcesses", {"replicas": 0, "portz": 1})} == {
        "supervisor",
        "program",
        "command",
        "replicas",
        "portz",
    }


def test_a_name_that_another_resource_runs_under_is_refused(plugin: Any, inputs: dict[str, Any]) -> None:
    first = plugin.create("LocalProcesses", inputs)
    with pytest.raises(Exception, match="is run already by urn:"):
        plugin.create("LocalProcesses", inputs, name="another")
    assert plugin.read(first).outputs["pids"] == first.outputs["pids"]


def test_no_change_is_no_diff(plugin: Any, inputs: dict[str, Any]) -> None:
    web = plugin.create("LocalProcesses", inputs)
    assert plugin.diff(web, inputs).changes == provider_pb2.DiffResponse.DIFF_NONE
    assert plugin.diff(plugin.read(web), inputs).changes == provider_pb2.DiffResponse.DIFF_NONE


def test_processes_can_be_imported_by_folder_and_program(plugin: Any, inputs: dict[str, Any]) -> None:
    web = plugin.create("LocalProcesses", inputs)
    web.inputs, web.state = struct_pb2.Struct(), struct_pb2.Struct()
    found = plugin.read(web)
    assert plugin.diff(found, inputs).changes == provider_pb2.DiffResponse.DIFF_NONE
    assert found.secrets >= {("environment",), ("files",)}  # what a program marked there is not known any more


def test_processes_of_another_stack_cannot_be_imported(plugin: Any, inputs: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    web = plugin.create("LocalProcesses", inputs)
    web.inputs, web.state = struct_pb2.Struct(), struct_pb2.Struct()
    with monkeypatch.context() as second:
        second.setattr(type(plugin), "urn", staticmethod(lambda kind, name: f"urn:pulumi:second::project::isthmus:index:{kind}::{name}"))
        with pytest.raises(Exception, match="another stack, project/test, and cannot be imported"):
            plugin.read(web)
