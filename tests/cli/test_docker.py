"""The docker platform, with a stand-in for the SDK's client: what engines say is theirs, what becomes of it is ours."""

from contextlib import contextmanager

import docker.errors
import pytest

from isthmus.cli.commands.logs.printing import show, sources_of
from isthmus.cli.commands.status.asking import blocks_of
from isthmus.errors import PlatformError
from isthmus.observing import following
from isthmus.observing.reach import Client
from isthmus.observing.stack_state import StackState
from isthmus.platforms.docker import observe as on_docker

DIGEST = "sha256:" + "ab" * 32


class Engine:
    """One host's containers. logs: id → lines with times, one reading after the other."""

    def __init__(self):
        self.found, self.logs_of, self.asked = {}, {}, []

    def add(self, name, component="server", port=None, **state):
        published = {"8501/tcp": [{"HostIp": "127.0.0.1", "HostPort": str(port)}]} if port else {}
        labels = {"isthmus.dev/service": "digits-cloud", "isthmus.dev/component": component}
        self.found[f"id-{name}"] = {
            "Name": f"/{name}",
            "State": {"Status": "running", "ExitCode": 0, **state},
            "Config": {"Labels": {**labels, **({"isthmus.dev/digest": DIGEST} if component == "server" else {})}},
            "NetworkSettings": {"Ports": published},
            "RestartCount": 1,
        }

    def containers(self, all, filters):
        assert (all, filters) == (True, {"label": "isthmus.dev/service=digits-cloud"})
        return [{"Id": id, "Names": [it["Name"]], "Labels": it["Config"]["Labels"]} for id, it in self.found.items()]

    def inspect_container(self, id):
        if id not in self.found:
            raise docker.errors.NotFound("gone")
        return self.found[id]

    def logs(self, id, **options):
        self.asked.append(options)
        return iter(self.logs_of[id].pop(0))


@pytest.fixture
def engines(monkeypatch):
    found = {"vm-1": Engine(), "vm-2": Engine()}

    @contextmanager
    def connect(host):
        if host["name"] not in found:
            raise PlatformError(f"host {host['name']}: cannot reach Docker at {host['address']}: Connection refused")
        yield found[host["name"]]

    monkeypatch.setattr("isthmus.provider.docker.client.connect", connect)
    monkeypatch.setattr(following, "PAUSE_SECONDS", 0.0)
    return found


@pytest.fixture
def state(server):
    hosts = [{"name": name, "address": f"ssh://{name}", "ssh_options": [], "container": f"digits-{name}"} for name in ("vm-1", "vm-2")]
    place = {"platform": "docker", "hosts": hosts, "gateway": {"host": "vm-2", "container": "digits-cloud-gateway"}}
    return StackState("s", {"services": {"digits": {"endpoint": server, "model_name": "m", "digest": DIGEST, "place": place}}}, {})


@pytest.fixture
def running(engines, server):
    engines["vm-1"].add("digits-vm-1", port=server.rpartition(":")[2])
    engines["vm-2"].add("digits-vm-2", port=1)
    engines["vm-2"].add("digits-cloud-gateway", "gateway")
    return engines


@pytest.mark.usefixtures("running")
def test_servers_that_can_be_reached_are_asked_and_others_run(state):
    (block,) = blocks_of(state)
    assert [(part.kind, part.name, part.on, part.state, part.version, part.restarts) for part in block.parts] == [
        ("gateway", "digits-cloud-gateway", "vm-2", "AVAILABLE", "", 1),
        ("stable", "digits-vm-1", "vm-1", "AVAILABLE", "3", 1),
        ("stable", "digits-vm-2", "vm-2", "running", "", 1),
    ]
    assert [part.release for part in block.parts] == ["", DIGEST, DIGEST]
    assert block.healthy


def test_a_container_that_stopped_or_is_gone_is_said(running, state):
    running["vm-1"].add("digits-vm-1", Status="exited", ExitCode=137, OOMKilled=True)
    del running["vm-2"].found["id-digits-vm-2"]
    states = {part.name: part.state for part in blocks_of(state)[0].parts}
    assert states["digits-vm-1"] == "exited (it needed more memory than its limit)"
    assert states["digits-vm-2"] == "gone. Fix: `pulumi refresh`, then `pulumi up`"
    assert not blocks_of(state)[0].healthy


def test_a_server_that_has_not_proved_itself_is_starting(running, state):
    running["vm-1"].add("digits-vm-1-2.new")
    (block,) = blocks_of(state)
    assert {part.name: part.state for part in block.parts}["digits-vm-1-2.new"] == "starting"


def test_a_host_that_cannot_be_reached_is_named_and_the_others_are_shown(running, state):
    del running["vm-2"]
    (block,) = blocks_of(state)
    states = {part.name: part.state for part in block.parts}
    assert states["digits-vm-1"] == "AVAILABLE"
    assert states["digits-vm-2"] == states["digits-cloud-gateway"] == "host vm-2: cannot reach Docker at ssh://vm-2: Connection refused"
    shown = []
    running["vm-1"].logs_of["id-digits-vm-1"] = [[b"2026-01-01T00:00:01Z hello\n"]]
    assert not show(lambda: sources_of(state, None), 5, lambda *it: shown.append(it))
    assert ("vm-1/digits-vm-1", "hello") in shown
    assert ("vm-2", "(host vm-2: cannot reach Docker at ssh://vm-2: Connection refused)") in shown


def test_logs_are_lines_however_the_engine_cuts_them(running, state):
    for name, id in (("vm-1", "id-digits-vm-1"), ("vm-2", "id-digits-vm-2"), ("vm-2", "id-digits-cloud-gateway")):
        running[name].logs_of[id] = [[b"2026-01-01T00:00:01Z one\n2026-01-01T00:", b"00:02Z t", b"wo"]]
    shown = []
    assert show(lambda: sources_of(state, "digits"), 5, lambda *it: shown.append(it))
    assert shown[:2] == [("vm-2/digits-cloud-gateway", "one"), ("vm-2/digits-cloud-gateway", "two")]
    assert len(shown) == 6
    assert running["vm-1"].asked == [{"stream": True, "follow": False, "timestamps": True, "tail": 5}]


def test_following_goes_on_over_a_restart_and_ends_with_the_container(running, state):
    engine, first = running["vm-1"], b"2026-01-01T00:00:01.5Z one\n"
    engine.logs_of["id-digits-vm-1"] = [[first], [first, b"2026-01-01T00:00:02Z two\n"]]
    (source,) = [it for it in sources_of(state, None) if it.name == "vm-1/digits-vm-1"]
    lines = source.lines(5, True)
    assert [next(lines), next(lines)] == ["one", "two"]
    assert engine.asked[1]["since"] == 1767225601
    engine.found.clear()
    assert list(lines) == []


@pytest.mark.usefixtures("running")
def test_a_job_is_split_over_the_hosts_by_their_declared_speeds(engines, state, server):
    outputs = state.services()["digits"]
    outputs["place"]["hosts"][1]["speed"] = 2.5
    engines["vm-2"].add("digits-vm-2", port=server.rpartition(":")[2])
    found = on_docker.servers("digits", outputs, state, Client())
    assert [(it.name, it.way.url, it.speed, it.note) for it in found] == [
        ("vm-1/digits-vm-1", server, 1.0, ""),
        ("vm-2/digits-vm-2", server, 2.5, ""),
    ]


@pytest.mark.usefixtures("running")
def test_a_job_goes_through_the_gateway_where_a_server_cannot_be_reached_by_itself(state, server):
    outputs = {**state.services()["digits"], "plan": {"replicas": 2}}
    (found,) = on_docker.servers("digits", outputs, state, Client())
    assert (found.name, found.way.url, found.speed, found.lanes) == ("gateway", server, 2, 4)
    assert "servers cannot be asked one by one (vm-2)" in found.note
