"""The groups themselves, without a cluster."""

from pathlib import Path

import pytest
from toolchain.cluster import cgroups
from toolchain.cluster.plan import Node


def share_of(group: Path) -> float:
    """Of the processors, in shares of one process outside of groups."""
    for file, of_one_process in (("cpu.shares", 1024), ("cpu.weight", 100)):
        if (group / file).is_file():
            return int((group / file).read_text()) / of_one_process
    pytest.fail(f"{group} has no share of the processors")


def folder_of(group: str) -> Path:
    return next(each for each in (cgroups.MOUNT / group, cgroups.MOUNT / "cpu" / group) if each.is_dir())


def test_all_pods_together_get_more_than_one_process_beside_them(tmp_path: Path) -> None:
    group = cgroups.name(tmp_path)
    cgroups.make(group, [Node(1), Node(2)])
    try:
        assert share_of(folder_of(group)) == 16
    finally:
        cgroups.remove(group)
    assert not cgroups.members(group)
