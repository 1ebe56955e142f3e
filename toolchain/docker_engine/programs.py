"""The programs that engines are made of: Debian's own packages, unpacked beside the project, never installed."""

import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from toolchain.prepare import debian
from toolchain.prepare.layout import Layout
from toolchain.prepare.steps import PrepareError

PACKAGES = ("docker.io", "containerd", "runc", "iptables", "openssh-server", "busybox-static")
# Of the machine's own; every Linux with iproute2 and util-linux has them.
_TOOLS = ("ip", "nsenter", "unshare", "mount")


@dataclass(frozen=True)
class Programs:
    """Where the programs lie, and the environment that they find each other in."""

    root: Path
    environment: Mapping[str, str]

    def find(self, name: str) -> Path:
        """Raises PrepareError."""
        found = shutil.which(name, path=self.environment["PATH"])
        if not found:
            raise PrepareError(f"there is no {name} in {self.root}. Fix: remove that folder and start again")
        return Path(found)


def programs(layout: Layout, packages: Sequence[str] = PACKAGES) -> Programs:
    """Fetches the packages once; later calls take them from the cache.

    Raises:
        PrepareError: engines can't run here, and why.
    """
    complaint = objection()
    if complaint:
        raise PrepareError(complaint)
    root = debian.packages(layout, packages)
    return Programs(root, debian.environment(root))


def objection() -> str:
    """Why this machine can't run engines of its own; empty if it can as far as one sees without the packages."""
    if os.geteuid() != 0:
        return "Docker engines of the tests' own need root: network namespaces and mounts are made for them"
    missing = [tool for tool in _TOOLS if not shutil.which(tool)]
    if missing:
        return f"Docker engines of the tests' own need {', '.join(missing)} (util-linux, iproute2)"
    return ""
