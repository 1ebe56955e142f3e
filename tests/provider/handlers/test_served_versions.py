"""Releases side by side in the folder from which servers load, and who is left of them."""

import json
import shutil
import socketserver
import tempfile
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from isthmus.errors import PlatformError
from isthmus.plugin.handler import Context
from isthmus.provider.handlers.served_versions import withdraw
from isthmus.provider.local import loading
from isthmus.provider.local.loading import Servers
from isthmus.release.manifest import Release

Make = Callable[..., Release]


@pytest.fixture
def inputs(cache_directory: Path, tmp_path: Path) -> dict[str, Any]:
    """But for the digest."""
    servers = {"supervisor": str(tmp_path / "sv"), "program": "digits-server", "model_name": "digits"}
    return {"cache_directory": str(cache_directory), "directory": str(tmp_path / "versions"), **servers}


def place(inputs: dict[str, Any], digest: str) -> dict[str, Any]:
    return {**{name: it for name, it in inputs.items() if name != "cache_directory"}, "digest": digest}


def served(base: str) -> dict[str, bytes]:
    """What a server would load: version → the end of its model."""
    return {it.name: (it / "saved_model.pb").read_bytes()[-5:] for it in Path(base).iterdir() if it.name.isdecimal()}


def test_a_release_comes_beside_the_one_before_and_stays_alone_once_the_last_wave_has_passed(
    plugin: Any, inputs: dict[str, Any], make_release: Make
) -> None:
    first, second = make_release(b"first"), make_release(b"secnd", version=2)
    found = plugin.create("ServedVersions", {**inputs, "digest": first.digest})
    base = found.outputs["base"]
    foreseen = plugin.preview("ServedVersions", {**inputs, "digest": second.digest}, found)
    found = plugin.update(found, {**inputs, "digest": second.digest})
    assert all(found.outputs[name] == foreseen[name] for name in ("base", "about", "version"))
    assert (found.outputs["base"], served(base)) == (base, {"1": b"first", "2": b"secnd"})
    assert plugin.read(found).outputs == found.outputs
    retired = plugin.create("RetiredVersions", {**place(inputs, second.digest), "passed": False})
    assert retired.outputs["versions"] == [1, 2]
    assert not plugin.diff(retired, {**place(inputs, second.digest), "passed": False}).detailedDiff
    retired = plugin.update(retired, {**place(inputs, second.digest), "passed": True})
    assert (retired.outputs["versions"], served(base)) == ([2], {"2": b"secnd"})
    assert not plugin.diff(found, {**inputs, "digest": second.digest}).detailedDiff


def test_a_release_of_a_rollout_that_was_replaced_before_its_end_stays_for_the_devices_that_have_it(
    plugin: Any, inputs: dict[str, Any], make_release: Make
) -> None:
    made = [make_release(name, version=number) for number, name in ((1, b"first"), (2, b"secnd"), (5, b"third"))]
    found = plugin.create("ServedVersions", {**inputs, "digest": made[0].digest})
    for release in made[1:]:
        found = plugin.update(found, {**inputs, "digest": release.digest})
    assert set(served(found.outputs["base"])) == {"1", "2", "5"}


def test_one_with_a_lower_version_answers_plain_requests_since_whatever_is_higher_goes(
    plugin: Any, inputs: dict[str, Any], make_release: Make
) -> None:
    first, second = make_release(b"first"), make_release(b"secnd", version=2)
    found = plugin.create("ServedVersions", {**inputs, "digest": second.digest})
    found = plugin.update(found, {**inputs, "digest": first.digest})
    assert served(found.outputs["base"]) == {"1": b"first"}


def test_another_release_with_the_same_version_has_servers_start_anew_in_another_folder(
    plugin: Any, inputs: dict[str, Any], make_release: Make
) -> None:
    first, other = make_release(b"first"), make_release(b"other")
    found = plugin.create("ServedVersions", {**inputs, "digest": first.digest})
    old = found.outputs["base"]
    found = plugin.update(found, {**inputs, "digest": other.digest})
    assert found.outputs["base"] != old
    assert (served(old), served(found.outputs["base"])) == ({"1": b"first"}, {"1": b"other"})  # the old servers run until they are moved
    assert "goes on with it" in withdraw(place(inputs, other.digest), Context(""))
    plugin.create("RetiredVersions", {**place(inputs, other.digest), "passed": True})
    assert not Path(old).exists()
    found = plugin.update(found, {**inputs, "digest": first.digest})  # and back
    assert served(found.outputs["base"]) == {"1": b"first"}


def test_an_abort_takes_a_release_out_and_the_next_update_brings_it_back(plugin: Any, inputs: dict[str, Any], make_release: Make) -> None:
    first, second = make_release(b"first"), make_release(b"secnd", version=2)
    found = plugin.create("ServedVersions", {**inputs, "digest": first.digest})
    assert "another release" in withdraw(place(inputs, second.digest), Context(""))
    found = plugin.update(found, {**inputs, "digest": second.digest})
    said = withdraw(place(inputs, second.digest), Context(""))
    assert said == "the cloud role has taken version 2 back too, and answers with version 1"
    assert served(found.outputs["base"]) == {"1": b"first"}
    assert dict(plugin.diff(found, {**inputs, "digest": second.digest}).detailedDiff).keys() == {"content"}
    assert plugin.read(found).outputs["digest"] == "gone"
    found = plugin.update(found, {**inputs, "digest": second.digest})
    assert set(served(found.outputs["base"])) == {"1", "2"}


DAMAGED = ("{base}/2/saved_model.pb", "{base}/about-2/.golden.json", "{base}/about-2/.release.json", "{base}/../current")


@pytest.mark.parametrize("file", DAMAGED)
def test_what_is_damaged_is_seen_without_a_refresh_and_mended(plugin: Any, inputs: dict[str, Any], make_release: Make, file: str) -> None:
    found = plugin.create("ServedVersions", {**inputs, "digest": make_release(b"first").digest})
    wanted = {**inputs, "digest": make_release(b"secnd", version=2).digest}
    found = plugin.update(found, wanted)
    Path(file.format(base=found.outputs["base"])).unlink()
    assert plugin.diff(found, wanted).detailedDiff
    found = plugin.update(found, wanted)
    assert not plugin.diff(found, wanted).detailedDiff
    assert served(found.outputs["base"])["2"] == b"secnd"


def test_deleting_leaves_what_others_put_there(plugin: Any, inputs: dict[str, Any], make_release: Make) -> None:
    found = plugin.create("ServedVersions", {**inputs, "digest": make_release().digest})
    Path(inputs["directory"], "notes.txt").write_text("mine")
    plugin.delete(found)
    assert [it.name for it in Path(inputs["directory"]).iterdir()] == ["notes.txt"]
    plugin.delete(found)
    assert plugin.read(found) is None


def test_wrong_properties_are_named_and_a_folder_of_another_stack_is_left_alone(
    plugin: Any, inputs: dict[str, Any], make_release: Make
) -> None:
    found = plugin.problems("ServedVersions", {**inputs, "digest": "latest", "directory": "models"})
    assert [text.split(": ")[0] for text in found] == ["digest", "directory"]
    wanted = {**inputs, "digest": make_release().digest}
    plugin.create("ServedVersions", wanted)
    Path(inputs["directory"], ".making").write_text(json.dumps({"stack": "project/other", "making": "theirs"}))
    (problem,) = plugin.problems("ServedVersions", wanted)
    assert "a model of another stack, project/other" in problem


def test_a_retirement_that_is_replaced_in_place_leaves_what_is_served(plugin: Any, inputs: dict[str, Any], make_release: Make) -> None:
    digest = make_release().digest
    found = plugin.create("ServedVersions", {**inputs, "digest": digest})
    old = plugin.create("RetiredVersions", {**place(inputs, digest), "passed": True})
    new = plugin.create("RetiredVersions", {**place(inputs, digest), "passed": True})
    plugin.delete(old)
    assert plugin.read(new).outputs["versions"] == [1]
    plugin.delete(found)
    assert plugin.read(new) is None


class Server:
    """A model server on a Unix socket. states: version → state and what went wrong. answer: to a golden vector."""

    def __init__(self) -> None:
        self.states: dict[int, tuple[str, str]] = {}
        self.answer: Any = {"outputs": [[2.0]]}


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    known = Server()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path == "/v1/models/digits":
                return self.say(200, {})
            version = int(self.path.rpartition("/")[2])
            if version not in known.states:
                return self.say(404, {"error": "no such version"})
            state, why = known.states[version]
            self.say(200, {"model_version_status": [{"version": str(version), "state": state, "status": {"error_message": why}}]})

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.say(200, known.answer)

        def say(self, status: int, body: Any) -> None:
            data = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def address_string(self) -> str:
            return "unix"

        def log_message(self, *_: Any) -> None: ...

    folder = tempfile.mkdtemp(prefix="isthmus-")
    listening = socketserver.ThreadingUnixStreamServer(f"{folder}/s", Handler)
    threading.Thread(target=listening.serve_forever, args=(0.02,), daemon=True).start()
    monkeypatch.setattr(Servers, "running", lambda _: {"digits-server-0": f"{folder}/s"})
    yield known
    listening.shutdown()
    listening.server_close()
    shutil.rmtree(folder)


@pytest.fixture
def about(tmp_path: Path) -> Path:
    golden = {"signature": "serving_default", "inputs": {"x": [[1.0]]}, "outputs": {"y": [[2.0]]}}
    (tmp_path / ".golden.json").write_text(json.dumps(golden))
    (tmp_path / ".release.json").write_text(json.dumps({"version": 2, "golden_tolerance": 0.01}))
    return tmp_path


SERVERS = Servers("/nowhere", "digits-server", "digits")


def test_a_version_is_loaded_once_its_server_says_so_and_answers_as_the_release_does(server: Server, about: Path) -> None:
    server.states = {1: ("AVAILABLE", ""), 2: ("LOADING", "")}
    said: list[str] = []

    class Watching(Context):
        def pause(self, seconds: float) -> None:
            said.append("asked again")
            server.states[2] = ("AVAILABLE", "")
            super().pause(0)

    SERVERS.await_loaded(2, about, Watching(""))
    assert said == ["asked again"]
    server.answer = {"outputs": [[3.0]]}
    with pytest.raises(PlatformError, match=r"digits-server-0 has version 2, and it serves another model: a golden vector is off by 1"):
        SERVERS.await_loaded(2, about, Context(""))


def test_a_version_that_cannot_be_loaded_ends_the_wait_with_its_reason(server: Server, about: Path) -> None:
    server.states = {2: ("END", "Invalid argument: no such op")}
    with pytest.raises(PlatformError, match="digits-server-0 cannot load version 2: Invalid argument: no such op"):
        SERVERS.await_loaded(2, about, Context(""))


def test_a_server_that_never_loads_or_never_lets_go_is_named(server: Server, about: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading, "LOAD_SECONDS", 0.0)
    monkeypatch.setattr(loading, "LET_GO_SECONDS", 0.0)
    with pytest.raises(PlatformError, match="digits-server-0 has not loaded version 2 within 0 s"):
        SERVERS.await_loaded(2, about, Context(""))
    server.states = {1: ("AVAILABLE", ""), 3: ("END", "")}
    SERVERS.await_gone([3, 4], Context(""))
    with pytest.raises(PlatformError, match="digits-server-0 has version 1 still"):
        SERVERS.await_gone([1], Context(""))
