"""Every kind of device finds wheels for what is locked, and the client is small."""

import re
import subprocess
import sys
import tomllib
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from packaging.markers import Marker
from packaging.tags import compatible_tags, cpython_tags
from packaging.utils import parse_wheel_filename
from toolchain.device import packages
from toolchain.device.target import ARCHITECTURES, LAST_PYTHON, LIBCS, Target, target
from toolchain.prepare.environment import DEVICE_FIRST_PYTHON, DEVICE_INTERPRETER_LOCK, DEVICE_LOCK, RUNTIME_LOCK
from toolchain.prepare.layout import Layout, version_text
from toolchain.prepare.steps import PrepareError

pytestmark = pytest.mark.slow
MOST_CLIENT_BYTES = 15_000_000


def pins(lock: str) -> set[str]:
    return set(re.findall(r"^[a-z0-9-]+==[^\s]+", lock, re.MULTILINE))


@pytest.fixture(scope="module")
def locked(here: Layout, tmp_path_factory: pytest.TempPathFactory) -> Sequence[Mapping[str, Any]]:
    """All that is locked for devices, with every wheel that there is of it: one question to the package index for all kinds of device."""
    file = tmp_path_factory.mktemp("locked") / "pylock.toml"
    command: list[str | Path] = [
        here.venv / "bin" / "uv",
        "pip",
        "compile",
        "--quiet",
        "--no-deps",
        "--universal",
        "--format",
        "pylock.toml",
    ]
    options = ["--python-version", version_text(DEVICE_FIRST_PYTHON), "--only-binary", ":all:"]
    subprocess.run([*command, *options, here.project / DEVICE_INTERPRETER_LOCK, "-o", file], check=True, capture_output=True)
    found: list[dict[str, Any]] = tomllib.loads(file.read_text())["packages"]
    return found


def without_a_wheel(
    locked: Sequence[Mapping[str, Any]], names: Collection[str], python: tuple[int, int], platforms: Sequence[str]
) -> set[str]:
    """What of these such a device would have to build."""
    tags = {*cpython_tags(python, platforms=platforms), *compatible_tags(python, f"cp{python[0]}{python[1]}", platforms)}
    place = {"python_version": version_text(python), "python_full_version": f"{version_text(python)}.0", "sys_platform": "linux"}
    wanted = [it for it in locked if it["name"] in names and Marker(it.get("marker", "python_version > '3'")).evaluate(place)]
    assert len(wanted) > 2
    fits = {it["name"] for it in wanted for wheel in it["wheels"] if tags & parse_wheel_filename(wheel["url"].rpartition("/")[2])[3]}
    return {it["name"] for it in wanted} - fits


@pytest.mark.parametrize("python", [(3, minor) for minor in range(DEVICE_FIRST_PYTHON[1], LAST_PYTHON[1] + 1)])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_what_is_locked_has_wheels_for_every_kind_of_device(
    here: Layout, locked: Sequence[Mapping[str, Any]], architecture: str, python: tuple[int, int]
) -> None:
    client, whole = (
        {pin.partition("==")[0] for pin in pins((here.project / lock).read_text())} for lock in (DEVICE_LOCK, DEVICE_INTERPRETER_LOCK)
    )
    glibc, musl = [f"{libc}_{architecture}" for libc in LIBCS], [f"musllinux_1_2_{architecture}", f"musllinux_1_1_{architecture}"]
    assert without_a_wheel(locked, client, python, musl) == set()
    assert without_a_wheel(locked, whole, python, glibc) == set()
    # Once this fails, docs/fleet-devices.md may say something better.
    assert "ai-edge-litert" in without_a_wheel(locked, whole, python, musl)


def test_devices_run_what_the_project_is_tested_with(here: Layout) -> None:
    """All of it that a device loads."""
    ours = pins((here.project / RUNTIME_LOCK).read_text())
    for lock, loaded in ((DEVICE_LOCK, ()), (DEVICE_INTERPRETER_LOCK, ("ai-edge-litert", "numpy"))):
        text = (here.project / lock).read_text()
        found = {pin for pin in pins(text) if pin.partition("==")[0] in ("tuf", "securesystemslib", "urllib3", *loaded)}
        assert found - ours <= {"numpy==2.2.6"}  # of Python 3.10, which is none of ours
        assert "http" not in text


def test_the_client_is_small_also_once_it_is_compiled(here: Layout, client: Target, tmp_path: Path) -> None:
    (tmp_path / "wheel").mkdir()
    packages.install(here, client, packages.wheel(here, tmp_path / "wheel"), tmp_path / "site")
    subprocess.run([sys.executable, "-m", "compileall", "-q", tmp_path / "site"], check=True)
    assert not list((tmp_path / "site").rglob("*.so"))
    assert sum(file.stat().st_size for file in (tmp_path / "site").rglob("*") if file.is_file()) <= MOST_CLIENT_BYTES


@pytest.mark.parametrize(
    ("architecture", "python"), [("armv7l", "3.11"), ("amd64", "3.9"), ("amd64", "3"), ("amd64", "3.11.2"), ("amd64", "x")]
)
def test_a_kind_of_device_that_there_is_nothing_for_is_refused(architecture: str, python: str) -> None:
    assert target("arm64", "3.13") == Target("aarch64", (3, 13))
    with pytest.raises(PrepareError, match="expected"):
        target(architecture, python)
