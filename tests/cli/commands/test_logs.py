import threading
import time

import pytest
from toolchain.testing import patience

from isthmus.cli.commands.logs import printing as logs
from isthmus.cli.commands.logs.printing import follow, show, sources_of
from isthmus.errors import InputError, PlatformError
from isthmus.observing import following
from isthmus.observing.stack_state import StackState
from isthmus.platforms.local.observe import file_lines

SECONDS = 60


@pytest.fixture
def state(tmp_path) -> StackState:
    folder = tmp_path / "logs"
    folder.mkdir()
    for name in ("a-server-0", "a-server-1", "a-gateway-0", "a-2-server-0", "f-front-0"):
        (folder / f"{name}.log").write_text("".join(f"{name} line {n}\n" for n in range(5)))
    processes = {name: {"supervisor": str(tmp_path)} for name in ("a-server", "a-gateway", "a-2-server", "f-front")}
    place = {"platform": "local", "programs": ["a-gateway", "a-server"]}
    outputs = {"services": {"a": {"endpoint": "http://x", "place": place}}, "fleets": {"f": {"devices": {"front": "http://y"}}}}
    return StackState("test", outputs, {"LocalProcesses": processes})


class Followed:
    """`follow` in a thread of its own, ended when the block is left."""

    def __init__(self, find, tail=10):
        self.lines, self._stop = [], threading.Event()
        self._thread = threading.Thread(target=follow, args=(find, tail, lambda *it: self.lines.append(it), self._stop))

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        self._thread.join()

    def until(self, name, line):
        end = patience.Deadline(SECONDS)
        while (name, line) not in self.lines:
            assert not end.over(), self.lines
            time.sleep(0.02)


@pytest.fixture
def _at_once(monkeypatch):
    monkeypatch.setattr(following, "PAUSE_SECONDS", 0.02)
    monkeypatch.setattr(logs, "LOOK_SECONDS", 0.05)


def test_each_part_of_a_service_and_of_a_fleet_is_a_source(state):
    assert [source.name for source in sources_of(state, None)] == ["f-front-0", "a-gateway-0", "a-server-0", "a-server-1"]
    assert [source.name for source in sources_of(state, "a")] == ["a-gateway-0", "a-server-0", "a-server-1"]


def test_the_last_lines_come_oldest_first(state):
    shown = []
    assert show(lambda: sources_of(state, "f"), 2, lambda name, line: shown.append((name, line)))
    assert shown == [("f-front-0", "f-front-0 line 3"), ("f-front-0", "f-front-0 line 4")]


def test_an_unknown_service_is_named_with_those_that_are_there(state):
    with pytest.raises(InputError, match="has no 'b'; expected one of a, f"):
        sources_of(state, "b")


def test_following_goes_on_over_a_rotation_and_loses_no_line(tmp_path):
    file = tmp_path / "a.log"
    file.write_text("old\n")
    lines = file_lines(file, 10, True)
    found = [next(lines)]
    with file.open("a") as stream:
        stream.write("new\n")
    file.rename(tmp_path / "a.log.1")
    file.write_text("rotated\n")
    found += [next(lines), next(lines)]
    assert found == ["old", "new", "rotated"]


@pytest.mark.usefixtures("_at_once")
def test_a_part_that_appears_later_is_followed_from_its_start(state, tmp_path):
    with Followed(lambda: sources_of(state, "a"), tail=1) as followed:
        followed.until("a-server-0", "a-server-0 line 4")
        (tmp_path / "logs" / "a-server-2.log").write_text("".join(f"line {n}\n" for n in range(5)))
        followed.until("a-server-2", "line 4")
    assert [line for name, line in followed.lines if name == "a-server-2"] == [f"line {n}" for n in range(5)]
    assert [line for name, line in followed.lines if name == "a-server-0"] == ["a-server-0 line 4"]


def stamped(*texts, second=1):
    return [f"2026-01-01T00:00:{second:02}.{index:09}Z {text}" for index, text in enumerate(texts)]


@pytest.fixture
def cluster(api, make_pod):
    """Two servers and a gateway that wrote something; the second server failed before, and fetches its release first."""
    api.pods[:] = [make_pod("s-1"), make_pod("s-2"), make_pod("g-1", "gateway")]
    api.pods[1]["spec"]["initContainers"] = [{"name": "fetch"}]
    api.pods[1]["status"]["containerStatuses"][0]["lastState"] = {"terminated": {"exitCode": 139}}
    for pod, container in (("s-1", "server"), ("s-2", "server"), ("s-2", "fetch"), ("g-1", "envoy")):
        api.logs[pod, container] = stamped(*(f"{container} {n}" for n in range(3)))
    api.previous["s-2", "server"] = stamped("out of memory")
    return api


def test_every_container_of_every_pod_is_shown_gateways_first(cluster):
    shown = []
    assert show(lambda: sources_of(cluster.state(), "digits"), 1, lambda *it: shown.append(it))
    assert shown == [
        ("g-1/envoy", "envoy 2"),
        ("s-1/server", "server 2"),
        ("s-2/fetch", "fetch 2"),
        ("s-2/server (before its restart)", "out of memory"),
        ("s-2/server", "server 2"),
    ]


def test_a_container_that_cannot_start_says_why_in_the_place_of_its_log(cluster):
    del cluster.logs["s-1", "server"]
    shown = []
    assert show(lambda: sources_of(cluster.state(), None), 1, lambda *it: shown.append(it))
    assert 'server" in pod "s-1" is waiting to start: ImagePullBackOff' in dict(shown)["s-1/server"]


@pytest.mark.usefixtures("_at_once")
def test_following_goes_on_with_the_pod_that_takes_the_place_of_another(cluster, make_pod):
    with Followed(lambda: sources_of(cluster.state(), None)) as followed:
        followed.until("s-1/server", "server 2")
        cluster.logs["s-1", "server"] += stamped("last words", second=2)
        followed.until("s-1/server", "last words")
        cluster.logs["s-3", "server"] = stamped("hello", second=3)
        cluster.pods[0] = make_pod("s-3")
        cluster.ended.add(("s-1", "server"))
        followed.until("s-3/server", "hello")
        cluster.logs["s-3", "server"] += stamped("again", second=4)
        followed.until("s-3/server", "again")
    assert [line for name, line in followed.lines if name == "s-1/server"] == ["server 0", "server 1", "server 2", "last words"]


@pytest.mark.usefixtures("_at_once")
def test_a_log_whose_connection_breaks_goes_on_without_a_gap_or_a_second_copy(cluster):
    cluster.broken["s-1", "server"] = 2
    with Followed(lambda: sources_of(cluster.state(), None)) as followed:
        followed.until("s-1/server", "server 2")
    lines = [line for name, line in followed.lines if name == "s-1/server"]
    assert [line for line in lines if not line.startswith("(")] == ["server 0", "server 1", "server 2"]
    assert len(lines) == 4
    assert "does not answer" in lines[2]


def test_a_service_that_is_not_in_the_cluster_is_an_error_that_names_the_cluster(cluster):
    cluster.one.clear()
    with pytest.raises(PlatformError, match=r"no Service ns/digits in the cluster http://127.* \(context here\).*KUBECONFIG"):
        sources_of(cluster.state(), None)
