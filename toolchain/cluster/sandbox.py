"""The first process of a cluster: run as root in new mount, network and process namespaces, it lays them out and becomes supervisord.

`python -m toolchain.cluster.sandbox FOLDER NODES`. When this process ends, the kernel ends every process below it, and
with the last one the mounts, networks and interfaces are gone: nothing of it has to be cleaned up.
"""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from toolchain.cluster.plan import BRIDGE, MAIN, NAME_SERVICE, RUN, SERVICES, Folders, Node, Program
from toolchain.cluster.supervise import daemon_command

# What programs write to whatever they are told; an overlay keeps it here.
_OVERLAID = ("/var/lib", "/var/log")
# The kubelet sets these for the whole machine; here it sets copies.
_MACHINE_WIDE = (
    *("vm/overcommit_memory", "vm/panic_on_oom", "kernel/panic", "kernel/panic_on_oops"),
    *("kernel/keys/root_maxkeys", "kernel/keys/root_maxbytes"),
)
# A packet on the bridge must not get another address there, before it is routed: the bridge would drop it.
_SYSCTL = "sysctl --quiet --ignore --write net.ipv4.ip_forward=1 net.bridge.bridge-nf-call-iptables=0"
_KUBELET = Path("/var/lib/kubelet")  # where the kubelet has sockets, whatever its root is
CONFIGURATION = "supervisord.conf"


def wrap(program: Program) -> list[str]:
    """The command that runs a program on its node."""
    if program.node == MAIN:
        return list(program.command)
    # The node's own network, and its own place for the kubelet's sockets. Its other mounts are shared with containerd, which must see them.
    script = f'mount -t tmpfs tmpfs {_KUBELET} && exec nsenter --net="$0" -- "$@"'
    isolated = ["unshare", "--mount", "--propagation", "unchanged", "--", "sh", "-c", script]
    return [*isolated, str(program.node.namespace), *program.command]


def network_commands(nodes: Sequence[Node]) -> list[list[str]]:
    """The commands that make the networks: a bridge that the nodes are on, a namespace and a cable for each node but the first."""
    address = MAIN.address
    lines = [
        "ip link set lo up",
        f"ip address add {NAME_SERVICE}/32 dev lo",
        f"ip link add {BRIDGE} type bridge",
        f"ip address add {address}/24 dev {BRIDGE}",
        f"ip link set {BRIDGE} up",
        # Not where they are, but a packet needs a way before kube-proxy's rules give it another address.
        f"ip route add {SERVICES} dev {BRIDGE}",
        _SYSCTL,
    ]
    for node in nodes:
        if node == MAIN:
            continue
        inside = f"ip netns exec {node.name}"
        lines += [
            f"ip netns add {node.name}",
            f"ip link add {node.name} type veth peer name eth0 netns {node.name}",
            f"ip link set {node.name} master {BRIDGE} up",
            f"{inside} ip link set lo up",
            f"{inside} ip address add {node.address}/24 dev eth0",
            f"{inside} ip link set eth0 up",
            f"{inside} ip route add default via {address}",
            f"{inside} {_SYSCTL}",
            # The others send everything that is not their own to the first node.
            f"ip route add {node.pods} via {node.address}",
        ]
    return [line.split() for line in lines]


def _run(*command: str | Path) -> None:
    subprocess.run([str(part) for part in command], check=True)


def _mount(folders: Folders) -> None:
    keep = os.open(folders.root, os.O_PATH)
    _run("mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", "/run")
    for place in _OVERLAID:
        upper, work = (RUN / "overlay" / place.strip("/").replace("/", "-") / part for part in ("upper", "work"))
        for folder in (upper, work):
            folder.mkdir(parents=True)
        _run("mount", "-t", "overlay", "-o", f"lowerdir={place},upperdir={upper},workdir={work}", "overlay", place)
    if not folders.root.is_dir() or not os.path.samestat(os.fstat(keep), folders.root.stat()):
        folders.root.mkdir(parents=True, exist_ok=True)
        _run("mount", "--bind", f"/proc/{os.getpid()}/fd/{keep}", folders.root)
    os.close(keep)
    for name in _MACHINE_WIDE:
        file, copy = Path("/proc/sys") / name, RUN / "sysctl" / name
        if file.is_file():
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(file.read_bytes())
            _run("mount", "--bind", copy, file)
    _run("mount", "--make-rshared", "/")
    _KUBELET.mkdir(exist_ok=True)
    _run("mount", "--bind", _KUBELET, _KUBELET)
    _run("mount", "--make-private", _KUBELET)


def main(root: str, count: str) -> None:
    """See above; does not return."""
    folders, nodes = Folders(Path(root)), [Node(number) for number in range(1, int(count) + 1)]
    _mount(folders)
    for node in nodes:
        (RUN / node.name).mkdir(parents=True)
    for command in network_commands(nodes):
        _run(*command)
    command = daemon_command(folders.config / CONFIGURATION)
    os.execv(command[0], command)  # noqa: S606 there is no shell to be had


if __name__ == "__main__":
    main(*sys.argv[1:])
