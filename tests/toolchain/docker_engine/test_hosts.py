"""Engines on one bridge: reachable at their addresses, apart from each other, gone after."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests
from toolchain.docker_engine.hosts import Engine, Site, start
from toolchain.docker_engine.images import load_busybox
from toolchain.prepare.layout import Layout
from toolchain.prepare.steps import PrepareError
from toolchain.testing import patience

IMAGE = "local/busybox:test"
SERVE = ["sh", "-c", 'echo "$NAME" > /www/index.html; exec httpd -f -p 80 -h /www']


@pytest.fixture(scope="module")
def published(site: Site) -> Iterator[list[Engine]]:
    """Each engine runs a web server that says the engine's name, published on its port 8501."""
    for engine in site:
        client = engine.client()
        client.containers.run(IMAGE, SERVE, environment={"NAME": engine.name}, ports={"80/tcp": 8501}, detach=True, name="web")
        client.close()
    yield list(site)
    for engine in site:
        client = engine.client()
        client.containers.get("web").remove(force=True)
        client.close()


def test_a_published_port_is_reached_at_each_engines_address(site: Site, published: list[Engine], eventually: Callable[..., None]) -> None:
    for engine in published:
        fetch = site.enter([sys.executable, "-c", f"import requests; print(requests.get('http://{engine.address}:8501').text)"])
        eventually(
            lambda fetch=fetch, engine=engine: engine.name in subprocess.run(fetch, capture_output=True, text=True, check=False).stdout,
            f"{engine.name} answers",
        )


def test_a_forwarded_port_is_reached_from_the_ordinary_namespace(
    site: Site, published: list[Engine], eventually: Callable[..., None]
) -> None:
    def answers(port: int, text: str) -> bool:
        try:
            return requests.get(f"http://127.0.0.1:{port}", timeout=5).text.strip() == text
        except requests.ConnectionError:
            return False

    for engine in published:
        port = site.forward(engine.address, 8501)
        eventually(lambda port=port, engine=engine: answers(port, engine.name), f"{engine.name} answers through 127.0.0.1:{port}")


def test_a_container_reaches_another_engine_and_an_exposed_port_of_this_machine(
    site: Site, published: list[Engine], eventually: Callable[..., None]
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "index.html").write_text("a store\n", encoding="ascii")
        command = [sys.executable, "-u", "-m", "http.server", "--bind", "127.0.0.1", "--directory", folder, "0"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
            try:
                assert server.stdout is not None
                port = int(server.stdout.readline().split(" port ")[1].split()[0])
                inside = site.expose(port)
                client = published[0].client()
                run = client.containers.run
                addresses = {f"http://{published[1].address}:8501": published[1].name, f"http://10.88.0.1:{inside}": "a store"}
                for url, text in addresses.items():
                    eventually(
                        lambda url=url, text=text: text in run(IMAGE, ["sh", "-c", f"wget -qO- {url} || :"], remove=True).decode(),
                        f"{url} answers a container",
                    )
                client.close()
            finally:
                server.kill()


def test_engines_have_their_own_containers_hostname_and_no_way_out(site: Site) -> None:
    first, second = (engine.client() for engine in site)
    try:
        container = first.containers.create(IMAGE, name="only-here")
        assert [item.name for item in second.containers.list(all=True, filters={"name": "only-here"})] == []
        container.remove()
        assert (first.info()["Name"], second.info()["Name"]) == ("vm-a", "vm-b")
        routes = subprocess.run(site.enter(["ip", "route"]), capture_output=True, text=True, check=True).stdout
        assert "default" not in routes
    finally:
        first.close()
        second.close()


def _traces(name: str) -> list[str]:
    """What an engine could leave on the machine: mounts, network interfaces, cgroups, processes."""
    found = [line for line in Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines() if name in line]
    found += [str(path) for path in Path("/sys/fs/cgroup").glob(f"*/isthmus-docker-{name}-*")]
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = process.read_bytes()
        except OSError:
            continue
        if name.encode() in command:
            found.append(command.decode(errors="replace"))
    return found


def test_nothing_is_left_after_a_stop(real_layout: Layout, site: Site) -> None:
    interfaces = set(os.listdir("/sys/class/net"))
    with tempfile.TemporaryDirectory(prefix="isthmus-gone-") as folder:
        home = Path(folder)
        with start(real_layout, home, ["vm"]) as engines:
            load_busybox(real_layout, engines[0])
            client = engines[0].client()
            client.containers.run(IMAGE, ["sleep", "1000"], detach=True)
            client.close()
            assert any("cgroup" in trace for trace in _traces(home.name)), "the check sees a running engine"
        assert list(home.iterdir()) == []
        assert _traces(home.name) == []
    assert set(os.listdir("/sys/class/net")) == interfaces


def test_engines_end_with_the_process_that_started_them(
    real_layout: Layout, project: Path, site: Site, eventually: Callable[..., None]
) -> None:
    program = """
import sys, time
from pathlib import Path
from toolchain.docker_engine.hosts import start
from toolchain.prepare.layout import load
start(load(Path(sys.argv[1])), Path(sys.argv[2]), ["vm"])
print("up", flush=True)
time.sleep(1000)
"""
    with tempfile.TemporaryDirectory(prefix="isthmus-orphan-") as folder:
        variables = {**os.environ, "PYTHONPATH": str(project)}
        command = [sys.executable, "-c", program, str(project), folder]
        with subprocess.Popen(command, env=variables, stdout=subprocess.PIPE, text=True) as owner:
            assert owner.stdout is not None
            assert owner.stdout.readline() == "up\n"
            assert _traces(Path(folder).name)
            owner.send_signal(signal.SIGKILL)
        eventually(lambda: not _traces(Path(folder).name), "the engine ends")


def test_an_engine_that_does_not_start_says_why_and_leaves_nothing(real_layout: Layout, site: Site) -> None:
    with tempfile.TemporaryDirectory(prefix="isthmus-bad-") as folder:
        home = Path(folder)
        begin = time.monotonic()
        with pytest.raises(PrepareError, match=r"engine .* did not start: .*hosts? .*|engine .* did not start: .*socket.*"):
            start(real_layout, home, ["x" * 120])  # longer than a socket's path may be
        assert time.monotonic() - begin < patience.scaled(60)
        assert _traces(home.name) == []
