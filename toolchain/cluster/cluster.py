"""Whole clusters: started and ended."""

import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

from toolchain.cluster import build, cgroups, configs, credentials, plan, sandbox, supervise
from toolchain.cluster.control_plane import down
from toolchain.cluster.handle import Cluster, check_alive, claim, enter, find, forward, import_command, last_line, save, succeeds
from toolchain.cluster.plan import API_PORT, MAIN, READY_PORT, RUN, Folders, Node, Ports
from toolchain.cluster.supervise import Process, wait_until
from toolchain.prepare import debian
from toolchain.prepare.layout import Layout
from toolchain.prepare.steps import PrepareError, replace_file, say

START_SECONDS = 180.0
TOOLS = ("unshare", "nsenter", "mount", "setpriv")
_ISOLATED = ("unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc", "--")


def up(layout: Layout, folder: Path, *, nodes: int = 1) -> Cluster:
    """Starts a cluster whose data lies in `folder`, and returns when its nodes are ready, names resolve and metrics can be had.

    Returns the one that runs already, if there is one. Takes 30 to 60 s once the programs are built.

    Raises:
        PrepareError: not root, something that is needed can't be had, or the cluster does not get ready.
    """
    _check()
    folder = folder.resolve()
    binaries, packages = build.binaries(layout), build.packages(layout)
    cluster = find(folder)
    if cluster is None or cluster.nodes != nodes:
        down(folder)
        cluster = _start(folder, [Node(number + 1) for number in range(nodes)], binaries, packages)
    _wait_ready(cluster)
    return cluster


def _check() -> None:
    if os.geteuid() != 0:
        raise PrepareError(
            "a cluster makes namespaces and mounts, which needs root. Fix: run this as root, or name a cluster by KUBECONFIG"
        )
    missing = [tool for tool in TOOLS if not shutil.which(tool)]
    if missing:
        raise PrepareError(f"{', '.join(missing)} not on PATH. Fix: install util-linux")


def _write(files: Mapping[Path, str]) -> None:
    for path, content in files.items():
        replace_file(path, content.encode())


def _start(folder: Path, nodes: list[Node], binaries: Path, packages: Path) -> Cluster:
    folders, ports, group = Folders(folder), Ports(), cgroups.name(folder)
    claim(folders)
    programs = [
        plan.etcd(folders, binaries, ports),
        plan.api_server(folders, binaries, ports, service_accounts=True),
        plan.controllers(folders, binaries),
        plan.scheduler(folders, binaries),
        *plan.add_ons(folders, binaries),
        *(program for node in nodes for program in plan.node_programs(folders, binaries, node)),
    ]
    for node in nodes:
        folders.node(node).mkdir(parents=True, exist_ok=True)
        _write(configs.node_files(folders, packages, node, group))
    credentials.make(folders, nodes, f"https://{MAIN.address}:{API_PORT}")
    _write(
        {
            **configs.shared_files(folders),
            folders.config / sandbox.CONFIGURATION: supervise.configuration(folder, RUN, programs, sandbox.wrap),
        }
    )
    temporary = folder / "temp"
    temporary.mkdir(exist_ok=True)
    environ = {**debian.environment(packages), "TMPDIR": str(temporary), "PYTHONPATH": str(Path(__file__).parents[2])}
    join = ["sh", "-c", 'echo $$ > "$0" && exec "$@"', str(cgroups.make(group, nodes))]
    inside = [sys.executable, "-m", "toolchain.cluster.sandbox", str(folder), str(len(nodes))]
    say(f"starting a cluster of {len(nodes)} node{'s' * (len(nodes) > 1)}; its logs are in {folders.logs}")
    supervisor = supervise.start([*join, *_ISOLATED, *inside], folder, environ)
    found: list[int] = []

    def born() -> bool:
        if not supervisor.alive:
            raise PrepareError(f"the cluster did not start: {last_line(folders.logs / 'start.log')}")
        found[:] = _children(supervisor.pid)
        return bool(found)

    if not wait_until(born, START_SECONDS):
        raise PrepareError(f"the cluster did not start within {START_SECONDS:.0f} s")
    init = Process.of(found[0])
    # A relay waits for the address that it is told, so that it may start before the API server.
    cluster = Cluster(folder, supervisor, init, "", len(nodes), binaries, packages)
    port = forward(cluster, MAIN.address, API_PORT)
    return save(Cluster(folder, supervisor, init, f"https://127.0.0.1:{port}", len(nodes), binaries, packages))


def _children(pid: int) -> list[int]:
    try:
        return [int(part) for part in Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()]
    except (FileNotFoundError, ProcessLookupError):
        return []


def _wait_ready(cluster: Cluster) -> None:
    """Makes what the cluster itself needs once its API answers, then waits for all of it."""
    api, folders = cluster.api, Folders(cluster.folder)
    nodes = [Node(number + 1) for number in range(cluster.nodes)]
    names, pause = {node.name for node in nodes}, cluster.binaries / build.PAUSE_ARCHIVE
    apply = ["kubectl", "apply", "--server-side", "--filename", str(folders.config / "objects.json")]
    steps = {
        "the API server": api.ready,
        "the objects of the cluster itself": lambda: succeeds(cluster, apply),
        "containerd": lambda: all(succeeds(cluster, enter(cluster, import_command(node, pause))) for node in nodes),
        "the nodes": lambda: api.ready_nodes() >= names,
        "CoreDNS": lambda: succeeds(cluster, enter(cluster, [sys.executable, "-c", _ASK, f"http://{MAIN.address}:{READY_PORT}/ready"])),
        "metrics-server": lambda: api.measured_nodes() >= names,
    }  # fmt: skip
    for what, done in steps.items():
        if not wait_until(lambda done=done: check_alive(cluster) and done(), START_SECONDS):  # type: ignore[misc]
            raise PrepareError(f"{what} did not get ready within {START_SECONDS:.0f} s. Fix: see the logs in {folders.logs}")


_ASK = "import sys, urllib.request; urllib.request.urlopen(sys.argv[1], timeout=5)"
