"""The programs of the test cluster, and what a test needs to be run with them."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from toolchain.cluster import Cluster, build, control_plane, down
from toolchain.prepare.layout import Layout, load
from toolchain.prepare.steps import PrepareError


@pytest.fixture(scope="session")
def real_layout(project: Path) -> Layout:
    """The project's own layout, with the programs built (which takes minutes, once)."""
    layout = load(project)
    build.binaries(layout)
    return layout


@pytest.fixture(scope="session")
def node_layout(real_layout: Layout) -> Layout:
    """The same on a machine that can run Pods."""
    if os.geteuid() != 0:
        pytest.skip("a cluster needs root")
    try:
        build.packages(real_layout)
    except PrepareError as error:
        pytest.skip(str(error))
    return real_layout


@pytest.fixture
def api_server(real_layout: Layout, tmp_path: Path) -> Iterator[Cluster]:
    """An API server without nodes."""
    folder = tmp_path / "control plane"  # a path with a space in it
    yield control_plane(real_layout, folder)
    down(folder)


@pytest.fixture(scope="session")
def running() -> Callable[[str], list[int]]:
    """Finds the processes whose arguments name a path."""

    def find(mark: str) -> list[int]:
        found = []
        for entry in filter(str.isdigit, os.listdir("/proc")):
            try:
                arguments = Path(f"/proc/{entry}/cmdline").read_bytes()
            except OSError:
                continue
            if mark.encode() in arguments and int(entry) != os.getpid():
                found.append(int(entry))
        return found

    return find
