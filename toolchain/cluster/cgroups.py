"""The cluster's control groups: where its Pods are limited, and the mark by which every process of it is found again."""

import contextlib
import os
import signal
from pathlib import Path

from toolchain.cluster.plan import Node
from toolchain.cluster.supervise import wait_until
from toolchain.prepare.steps import PrepareError, fingerprint

MOUNT = Path("/sys/fs/cgroup")
SYSTEM = "system"
END_SECONDS = 30.0
_MARKING = "pids"
"""The controller whose groups mark processes."""
# Version 2 hands on only what the group above has enabled.
_CONTROLLERS = ("cpuset", "cpu", "io", "memory", "pids", "hugetlb")
_SHARE = {"cpu.shares": 16_384, "cpu.weight": 1_600}
"""Of the processors, by the file that each version has for it: 16 times what one process outside of groups gets. A new group gets what one
such process does: all Pods together would be one of many beside tests or builds, answer too late, and fail their probes."""


def name(root: Path) -> str:
    """The group of the cluster whose folder is `root`."""
    return f"isthmus-{fingerprint(str(root.resolve()))[:12]}"


def _unified() -> bool:
    return (MOUNT / "cgroup.controllers").is_file()


def _hierarchies() -> list[Path]:
    """Where groups are made: one place with version 2; with version 1 one for each controller, here without its aliases."""
    if _unified():
        return [MOUNT]
    return [folder for folder in sorted(MOUNT.glob("*")) if not folder.is_symlink() and (folder / "cgroup.procs").is_file()]


def _hierarchy(controller: str) -> Path:
    """The one that has the controller: with version 2 there is no other."""
    return MOUNT if _unified() else MOUNT / controller


def make(group: str, nodes: list[Node]) -> Path:
    """Makes the groups of the nodes; returns the file that a process writes its id to, to be of the cluster. Raises PrepareError."""
    marking = _hierarchy(_MARKING)
    if not (marking / "cgroup.procs").is_file():
        raise PrepareError(f"no control groups at {MOUNT}. Fix: mount them, or run where they are")
    try:
        prefer(group)
        for hierarchy in _hierarchies():
            for part in (SYSTEM, *(node.name for node in nodes)):
                (hierarchy / group / part).mkdir(parents=True, exist_ok=True)
            if _unified():
                _enable(hierarchy / group)
    except OSError as error:
        raise PrepareError(f"control groups can't be made: {error}. Fix: run as root, outside of a container") from error
    return marking / group / SYSTEM / "cgroup.procs"


def prefer(group: str) -> None:
    """Gives a group, which is made if it is not there, a large share of the processors. Raises OSError."""
    folder = _hierarchy("cpu") / group
    folder.mkdir(exist_ok=True)
    if _unified():
        _enable(MOUNT)
    for file, share in _SHARE.items():
        if (folder / file).is_file():
            (folder / file).write_text(str(share), encoding="ascii")


def _enable(folder: Path) -> None:
    there = (folder / "cgroup.controllers").read_text(encoding="ascii").split()
    (folder / "cgroup.subtree_control").write_text(" ".join(f"+{part}" for part in _CONTROLLERS if part in there), encoding="ascii")


def members(group: str) -> list[int]:
    """The ids of all processes of the cluster."""
    found: list[int] = []
    for file in (_hierarchy(_MARKING) / group).glob("**/cgroup.procs"):
        with contextlib.suppress(OSError):
            found += map(int, file.read_text(encoding="ascii").split())
    return found


def remove(group: str) -> None:
    """Kills every process of the cluster and removes its groups. Raises PrepareError if one stays."""

    def gone() -> bool:
        for pid in members(group):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for hierarchy in _hierarchies():
            for folder, _, _ in os.walk(hierarchy / group, topdown=False):
                with contextlib.suppress(OSError):  # a process in it is still ending
                    os.rmdir(folder)
        return not any((hierarchy / group).exists() for hierarchy in _hierarchies())

    if not wait_until(gone, END_SECONDS):
        raise PrepareError(f"processes {members(group)} of the cluster can't be ended. Fix: look at their state in /proc")
