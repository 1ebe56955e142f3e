"""A running cluster: found again, entered, given images, joined to the machine's loopback."""

import json
import os
import subprocess
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from toolchain import relay
from toolchain.cluster import cgroups, credentials, plan, sandbox, supervise
from toolchain.cluster.api import Api
from toolchain.cluster.plan import MAIN, Folders, Node
from toolchain.cluster.supervise import Process
from toolchain.prepare import debian
from toolchain.prepare.steps import PrepareError


@dataclass(frozen=True)
class Cluster:
    """A running cluster.

    folder: holds all its data. supervisor: ends everything when it ends. init: the first process inside its namespaces (the supervisor
    itself where there are none, see `control_plane`). server: the API server's URL outside. nodes: how many; named node-1, node-2 …
    """

    folder: Path
    supervisor: Process
    init: Process
    server: str
    nodes: int
    binaries: Path
    packages: Path | None

    @property
    def kubeconfig(self) -> Path:
        """The administrator's; works in the machine's ordinary network namespace."""
        return Folders(self.folder).kubeconfig

    @property
    def address(self) -> str:
        """Where node ports are, and what is exposed to Pods; inside the cluster's network."""
        return MAIN.address

    @property
    def environment(self) -> dict[str, str]:
        """The variables with which containerd's tools and kubectl run by name."""
        base = debian.environment(self.packages) if self.packages else dict(os.environ)
        return {**base, "PATH": f"{self.binaries}{os.pathsep}{base.get('PATH', '')}", "KUBECONFIG": str(self.kubeconfig)}

    @property
    def api(self) -> Api:
        """The API server, as the administrator."""
        folders = Folders(self.folder)
        return Api(self.server, folders.pki / "ca.crt", credentials.administrator(folders))


def find(folder: Path) -> Cluster | None:
    """The cluster that runs in this folder, or None."""
    try:
        record = json.loads(Folders(folder).record.read_text(encoding="utf-8"))
        cluster = Cluster(
            folder,
            Process(**record["supervisor"]),
            Process(**record["init"]),
            record["server"],
            record["nodes"],
            Path(record["binaries"]),
            Path(record["packages"]) if record["packages"] else None,
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return cluster if cluster.init.alive else None


def claim(folders: Folders) -> None:
    """Makes the folder a cluster's: `down` removes no other."""
    if folders.root.is_dir() and any(folders.root.iterdir()):
        raise PrepareError(f"{folders.root} holds something else than a cluster. Fix: name an empty folder")
    supervise.save(folders.record, {})


def save(cluster: Cluster) -> Cluster:
    """Writes the record by which it is found again, and the administrator's kubeconfig."""
    folders = Folders(cluster.folder)
    credentials.write_administrator(folders, cluster.server)
    fields = {name: str(value) if isinstance(value, Path) else value for name, value in vars(cluster).items() if name != "folder"}
    supervise.save(folders.record, fields)
    return cluster


def check_alive(cluster: Cluster) -> bool:
    """True. Raises PrepareError with its last words if it has ended."""
    if not cluster.init.alive:
        raise PrepareError(f"the cluster has ended: {last_line(cluster.folder / 'logs' / 'start.log')}")
    return True


def last_line(file: Path) -> str:
    """The last line of a log, or where to look."""
    lines = file.read_text(encoding="utf-8", errors="replace").strip().splitlines() if file.is_file() else []
    return lines[-1] if lines else f"see {file.parent}"


def succeeds(cluster: Cluster, command: Sequence[str]) -> bool:
    """Runs a command with the cluster's environment, in silence."""
    return subprocess.run(command, env=cluster.environment, capture_output=True, check=False).returncode == 0


def import_command(node: Node, archive: Path) -> list[str]:
    """Loads an archive on one node; to be entered."""
    return ["ctr", "--address", node.containerd, "--namespace", "k8s.io", "images", "import", str(archive)]


def enter(cluster: Cluster, command: Sequence[str], *, mounts: bool = True) -> list[str]:
    """The command that runs `command` in the cluster's network, where Pods, Services and nodes are reached by their addresses.

    mounts: also with its mounts, where containerd's sockets are. Run it with `cluster.environment`.
    """
    return ["nsenter", f"--target={cluster.init.pid}", "--net", *(["--mount"] if mounts else []), "--", *command]


def load_image(cluster: Cluster, archive: Path) -> None:
    """Gives every node, all at once, the images of an archive (OCI, or what `docker save` writes). Raises PrepareError."""

    def give(number: int) -> "subprocess.CompletedProcess[str]":
        command = enter(cluster, import_command(Node(number), archive.resolve()))
        return subprocess.run(command, env=cluster.environment, capture_output=True, text=True, check=False)

    with ThreadPoolExecutor(cluster.nodes) as pool:
        for result in pool.map(give, range(1, cluster.nodes + 1)):
            if result.returncode:
                raise PrepareError(f"{archive} can't be loaded: {result.stderr.strip()}")


def forward(cluster: Cluster, host: str, port: int) -> int:
    """Makes `host:port` of the cluster's network reachable on this machine's loopback; returns the port there. Ends with the cluster."""
    return _relay(cluster, relay.OWN_NAMESPACE, "127.0.0.1:0", _namespace(cluster), f"{host}:{port}")


def expose(cluster: Cluster, port: int) -> tuple[str, int]:
    """Makes a port of this machine's loopback reachable in the cluster's network, also to Pods; returns the address and port there."""
    return MAIN.address, _relay(cluster, _namespace(cluster), f"{MAIN.address}:0", relay.OWN_NAMESPACE, f"127.0.0.1:{port}")


def control(cluster: Cluster, action: str, program: str) -> None:
    """`stop`, `start` or `restart` a program, as `kube-apiserver` or `kubelet-node-1`: to see what happens. Raises PrepareError."""
    command = supervise.control_command(Folders(cluster.folder).config / sandbox.CONFIGURATION, action, program)
    if cluster.init != cluster.supervisor:
        command = enter(cluster, command)
    result = subprocess.run(command, env=cluster.environment, capture_output=True, text=True, check=False)
    if result.returncode:
        raise PrepareError(f"{action} {program} failed: {(result.stdout or result.stderr).strip()}")


@contextmanager
def network_policies(cluster: Cluster) -> Iterator[None]:
    """NetworkPolicies hold while the block runs, and nothing is left of their rules after it. Raises PrepareError.

    They are in force a moment after the block, or a Pod, has started; a connection that is older stays.
    """
    folders = Folders(cluster.folder)
    with ExitStack() as stack:
        for number in range(cluster.nodes):
            name = plan.policy_engine(folders, cluster.binaries, Node(number + 1)).name
            control(cluster, "start", name)
            stack.callback(control, cluster, "stop", name)
        yield


def _namespace(cluster: Cluster) -> str:
    return f"/proc/{cluster.init.pid}/ns/net"


def _relay(cluster: Cluster, listen_network: str, listen: str, connect_network: str, connect: str) -> int:
    command = relay.command(listen_network, listen, connect_network, connect, cluster.init.pid)
    with (Folders(cluster.folder).logs / "relays.log").open("ab") as log:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log, start_new_session=True, cwd="/")
    process_file = cgroups.make(cgroups.name(cluster.folder), [])
    process_file.write_text(str(process.pid), encoding="ascii")
    assert process.stdout is not None  # noqa: S101 it is piped
    with process.stdout as stream:
        line = stream.readline()
    if not line:
        process.wait()
        raise PrepareError(f"{connect} can't be relayed: {last_line(Folders(cluster.folder).logs / 'relays.log')}")
    process.returncode = 0  # not ours to wait for: it is left running on purpose
    return int(line)
