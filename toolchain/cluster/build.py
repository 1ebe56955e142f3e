"""The cluster's programs, built from the pinned Go module in `binaries/`, and the image that holds a Pod together."""

from pathlib import Path

from toolchain.cluster import oci
from toolchain.prepare import build as pinned
from toolchain.prepare import debian, go
from toolchain.prepare.layout import Layout
from toolchain.prepare.steps import fingerprint

# One file is all of them; each runs under its own name (see programs/main.go).
PROGRAMS = (
    *("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy"),
    *("coredns", "metrics-server", "network-policies", "kubectl"),
)
PACKAGES = ("containerd", "runc", "containernetworking-plugins", "iptables", "ipset", "conntrack", "iproute2", "procps")
PAUSE_IMAGE = "localhost/isthmus/pause:1"
PAUSE_ARCHIVE = "pause.tar"


def binaries(layout: Layout) -> Path:
    """The folder with `PROGRAMS` and the pause image's archive. Built once, in some 5 to 15 minutes on 2 cores.

    Raises:
        PrepareError: no compiler, the modules cannot be fetched, or the compiler failed.
    """
    finished_by = fingerprint(repr((PROGRAMS, PAUSE_IMAGE)), Path(__file__), Path(oci.__file__))
    return go.provide(layout, "cluster", pinned.cluster(layout), _finish, finished_by)


def packages(layout: Layout) -> Path:
    """The root folder of the Debian packages that nodes need (see `toolchain.prepare.debian`). Raises PrepareError."""
    return debian.packages(layout, PACKAGES)


def _finish(folder: Path) -> None:
    for name in PROGRAMS:
        (folder / name).symlink_to("programs")
    image = oci.Image(PAUSE_IMAGE, {"pause": (folder / "pause").read_bytes()}, ("/pause",), "65535:65535")
    oci.write_archive(folder / PAUSE_ARCHIVE, image)
