"""The end of a cluster of any kind; and etcd and the API server alone."""

import os
import shutil
import socket
import tempfile
from pathlib import Path

from toolchain.cluster import build, cgroups, credentials, plan, sandbox, supervise
from toolchain.cluster.handle import Cluster, check_alive, claim, find, save
from toolchain.cluster.plan import Folders, Ports, Program
from toolchain.cluster.supervise import wait_until
from toolchain.prepare.layout import Layout
from toolchain.prepare.steps import PrepareError, fingerprint, replace_file

START_SECONDS = 180.0


def down(folder: Path) -> None:
    """Ends the cluster of this folder, also a half-started or crashed one, and removes everything of it. Nothing there is fine.

    Raises:
        PrepareError: a process can't be ended.
    """
    folder = folder.resolve()
    folders, cluster = Folders(folder), find(folder)
    if cluster is not None and cluster.init == cluster.supervisor:
        supervise.end(cluster.supervisor)
    elif os.geteuid() == 0:
        if cluster is not None:
            cluster.init.end()
        cgroups.remove(cgroups.name(folder))
    shutil.rmtree(_control_folder(folder), ignore_errors=True)
    if folders.record.is_file():
        shutil.rmtree(folder)


def control_plane(layout: Layout, folder: Path, *, controllers: bool = False) -> Cluster:
    """etcd and the API server alone, on this machine's loopback, for tests of what speaks to an API server. Needs no root.

    No Pod ever runs there, nothing is collected, and service accounts are not asked for. controllers: with the controllers, so that
    namespaces can be deleted and owners' dependents are. `down(cluster.folder)` ends it.

    Raises:
        PrepareError: the programs can't be had, or do not start.
    """
    folder = folder.resolve()
    binaries = build.binaries(layout)
    down(folder)
    folders = Folders(folder)
    claim(folders)
    etcd, peer, api = _free_ports(3)
    ports = Ports(etcd, peer, api, "127.0.0.1")
    programs = [plan.etcd(folders, binaries, ports), plan.api_server(folders, binaries, ports, service_accounts=controllers)]
    if controllers:
        programs.append(plan.controllers(folders, binaries, port=_free_ports(1)[0]))
    server = f"https://127.0.0.1:{ports.api}"
    credentials.make(folders, [], server)
    run = _control_folder(folder)
    run.mkdir(mode=0o700)
    configuration = folders.config / sandbox.CONFIGURATION
    replace_file(configuration, supervise.configuration(folder, run, programs, _bound).encode())
    supervisor = supervise.start(supervise.daemon_command(configuration), folder, os.environ)
    cluster = save(Cluster(folder, supervisor, supervisor, server, 0, binaries, None))
    if not wait_until(lambda: check_alive(cluster) and cluster.api.ready(), START_SECONDS):
        raise PrepareError(f"the API server did not get ready within {START_SECONDS:.0f} s. Fix: see the logs in {folders.logs}")
    return cluster


def _bound(program: Program) -> list[str]:
    # No namespace of its own that ends it with the supervisor: the kernel's signal at a parent's death does.
    return ["setpriv", "--pdeathsig", "KILL", "--", *program.command]


def _free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    try:
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()


def _control_folder(folder: Path) -> Path:
    # A socket's path must be short. The folder is made anew, for its owner alone.
    return Path(tempfile.gettempdir()) / f"isthmus-{fingerprint(str(folder))[:12]}"
