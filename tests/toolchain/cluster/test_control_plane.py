"""etcd and the API server alone."""

from collections.abc import Callable
from pathlib import Path

import pytest
import requests
from toolchain.cluster import Cluster, control, control_plane, down, find
from toolchain.cluster.supervise import wait_until
from toolchain.prepare.layout import Layout
from toolchain.prepare.steps import PrepareError

Running = Callable[[str], list[int]]
pytestmark = pytest.mark.timeout(1800)


def test_it_answers_its_administrator_and_nobody_else(api_server: Cluster) -> None:
    assert api_server.api.get("/version")["gitVersion"].startswith("v1.37")
    authority = str(api_server.api.authority)
    for token in ({}, {"Authorization": "Bearer guess"}):
        assert requests.get(f"{api_server.server}/api/v1/namespaces", headers=token, verify=authority, timeout=30).status_code == 401
    assert (api_server.kubeconfig.stat().st_mode & 0o777) == 0o600


def test_it_is_found_again_and_stops_and_starts_on_demand(api_server: Cluster) -> None:
    assert find(api_server.folder) == api_server
    control(api_server, "stop", "kube-apiserver")
    assert api_server.api.get("/version") is None
    control(api_server, "start", "kube-apiserver")
    assert wait_until(api_server.api.ready, 120)
    with pytest.raises(PrepareError, match="nonsense"):
        control(api_server, "stop", "nonsense")


def test_down_leaves_neither_processes_nor_files(real_layout: Layout, tmp_path: Path, running: Running) -> None:
    cluster = control_plane(real_layout, tmp_path / "c")
    mark = str(cluster.folder)
    assert len(running(mark)) >= 3
    down(cluster.folder)
    assert not running(mark)
    assert not cluster.folder.exists()
    down(cluster.folder)


def test_programs_end_with_a_supervisor_that_is_killed(real_layout: Layout, tmp_path: Path, running: Running) -> None:
    cluster = control_plane(real_layout, tmp_path / "c")
    try:
        cluster.supervisor.end()
        assert wait_until(lambda: not running(str(cluster.folder)), 60)
        assert find(cluster.folder) is None
    finally:
        down(cluster.folder)
    assert not cluster.folder.exists()


def test_a_folder_that_holds_something_else_is_left_alone(real_layout: Layout, tmp_path: Path) -> None:
    (tmp_path / "mine").touch()
    with pytest.raises(PrepareError, match="something else"):
        control_plane(real_layout, tmp_path)
    down(tmp_path)
    assert (tmp_path / "mine").exists()
