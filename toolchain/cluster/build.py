"""The cluster's programs, built from the pinned Go module in `binaries/`, and the image that holds a Pod together."""

import os
import sys
from pathlib import Path

from toolchain.cluster.oci import Image, write_archive
from toolchain.prepare import debian
from toolchain.prepare.build import compile_module
from toolchain.prepare.layout import Layout
from toolchain.prepare.steps import exclusive, fingerprint

KUBERNETES_VERSION = "1.37.2"  # the one that binaries/go.mod pins
SOURCE = Path("toolchain/cluster/binaries")
INPUTS = ("go.mod", "go.sum", "programs/main.go", "programs/policies.go", "pause/main.go")
# One file is all of them; each runs under its own name (see programs/main.go).
PROGRAMS = (
    *("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy"),
    *("coredns", "metrics-server", "network-policies", "kubectl"),
)
PACKAGES = ("containerd", "runc", "containernetworking-plugins", "iptables", "ipset", "conntrack", "iproute2", "procps")
PAUSE_IMAGE = "localhost/isthmus/pause:1"
PAUSE_ARCHIVE = "pause.tar"
_VERSION = f"-X k8s.io/component-base/version.gitVersion=v{KUBERNETES_VERSION} " + " ".join(
    f"-X k8s.io/component-base/version.{variable}={value}"
    for variable, value in zip(("gitMajor", "gitMinor", "gitTreeState"), (*KUBERNETES_VERSION.split(".")[:2], "clean"), strict=True)
)


def key(layout: Layout) -> str:
    """Names the programs in the cache: it changes with the module's files and the machine."""
    source = layout.project / SOURCE
    return fingerprint(f"{sys.platform} {os.uname().machine} {_VERSION} {PROGRAMS}", *(source / name for name in INPUTS))[:16]


def binaries(layout: Layout) -> Path:
    """The folder with `PROGRAMS` and the pause image's archive. Built once, in some 5 to 15 minutes on 2 cores.

    Raises:
        PrepareError: no compiler, the modules cannot be fetched, or the compiler failed.
    """
    target = layout.cache / "cluster" / key(layout) / "bin"
    if not (target / PAUSE_ARCHIVE).is_file():
        with exclusive(layout.cache / "cluster" / ".lock", "the cluster's programs"):
            if not (target / PAUSE_ARCHIVE).is_file():
                what = f"Kubernetes {KUBERNETES_VERSION} for the test cluster"
                compile_module(layout, layout.project / SOURCE, ["./programs", "./pause"], target, what=what, flags=_VERSION)
                _finish(target)
    return target


def packages(layout: Layout) -> Path:
    """The root folder of the Debian packages that nodes need (see `toolchain.prepare.debian`). Raises PrepareError."""
    return debian.packages(layout, PACKAGES)


def _finish(target: Path) -> None:
    for name in PROGRAMS:
        (target / name).symlink_to("programs")
    image = Image(PAUSE_IMAGE, {"pause": (target / "pause").read_bytes()}, ("/pause",), "65535:65535")
    write_archive(target / PAUSE_ARCHIVE, image)
