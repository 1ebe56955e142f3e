"""A Kubernetes cluster for tests on one machine, in namespaces of its own; see docs/cluster.md."""

from toolchain.cluster.cluster import up
from toolchain.cluster.control_plane import control_plane, down
from toolchain.cluster.handle import Cluster, control, enter, expose, find, forward, load_image, network_policies

__all__ = ["Cluster", "control", "control_plane", "down", "enter", "expose", "find", "forward", "load_image", "network_policies", "up"]
