"""What tests need that is built for them."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from toolchain import cluster as clusters
from toolchain import images
from toolchain.cluster import build, control_plane
from toolchain.testing import programs
from toolchain.testing.needs import CLUSTER, IMAGES, needs


def by_name() -> object:
    return control_plane


def by_module() -> object:
    return clusters.up, images.build


def by_another() -> object:
    return [by_name() for _ in range(1)]


class ByMethod:
    """As a place that tests ask."""

    def up(self) -> object:
        return lambda: build.binaries


def by_class() -> object:
    return ByMethod()


def by_nothing() -> object:
    return build.PROGRAMS, json.dumps, clusters.down


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (by_name, {CLUSTER}),
        (by_module, {CLUSTER, IMAGES}),
        (by_another, {CLUSTER}),
        (by_class, {CLUSTER}),
        (by_nothing, set()),
        (None, set()),
    ],
)
def test_a_function_needs_what_the_functions_need_that_it_names(function: object, expected: set[str]) -> None:
    assert needs(function) == expected


def test_without_a_pick_everything_is_built() -> None:
    assert programs.needed([]) == {CLUSTER, IMAGES}


@pytest.mark.parametrize(
    ("picked", "expected"),
    [
        (["tests/toolchain/cluster/test_control_plane.py", "tests/toolchain/images", "-k", "control_plane"], {CLUSTER}),
        (["tests/toolchain/cluster/test_plan.py", "tests/toolchain/prepare"], set()),
    ],
    ids=["a control plane", "neither"],
)
def test_what_is_picked_decides_what_is_built(
    project: Path, monkeypatch: pytest.MonkeyPatch, picked: list[str], expected: set[str]
) -> None:
    monkeypatch.chdir(project)
    assert programs.needed(picked) & {CLUSTER, IMAGES} == expected


def test_the_quick_ones_are_those_that_need_nothing_of_the_kind(project: Path) -> None:
    folders = ["tests/toolchain/cluster", "tests/toolchain/prepare/test_stack.py"]
    command = [sys.executable, "-m", "pytest", "--collect-only", "--quiet", "-p", "no:cacheprovider", "--quick", *folders]
    found = subprocess.run(command, cwd=project, capture_output=True, text=True, check=True).stdout
    assert "test_plan.py" in found
    assert "test_control_plane.py" not in found  # an API server
    assert "test_a_passphrase_is_made_once" in found
    assert "test_the_real_engine" not in found
