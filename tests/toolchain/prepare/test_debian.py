"""Debian's packages, unpacked and not installed."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from toolchain.prepare import debian
from toolchain.prepare.layout import Layout
from toolchain.prepare.steps import PrepareError


def lists() -> dict[str, int]:
    """What apt knows on this machine, and when it learnt it."""
    folders = map(Path, ("/var/lib/apt", "/var/cache/apt", "/var/lib/dpkg"))
    return {str(file): file.stat().st_mtime_ns for folder in folders for file in folder.rglob("*") if file.is_file()}


@pytest.fixture
def archive() -> None:
    if not shutil.which("apt-get"):
        pytest.skip("no apt on this machine")


@pytest.mark.slow
@pytest.mark.usefixtures("archive")
def test_a_package_is_unpacked_with_all_it_needs_and_the_machine_stays_as_it_is(layout: Layout) -> None:
    before = lists()
    try:
        root = debian.packages(layout, ["busybox-static"], whole=True)
    except PrepareError as error:
        pytest.skip(str(error))
    assert lists() == before
    environ = debian.environment(root, {"PATH": "/nowhere"})
    program = shutil.which("busybox", path=environ["PATH"])
    assert program == str(root / "bin" / "busybox")
    assert subprocess.run([program, "echo", "works"], capture_output=True, text=True, check=True).stdout == "works\n"
    assert [entry.name for entry in (layout.cache / "debian").iterdir() if entry.is_dir()] == [root.parent.name]


@pytest.mark.slow
@pytest.mark.usefixtures("archive")
def test_a_package_that_does_not_exist_is_named_and_leaves_nothing(layout: Layout) -> None:
    with pytest.raises(PrepareError, match="no-such-package-anywhere"):
        debian.packages(layout, ["no-such-package-anywhere"])
    assert not [entry for entry in (layout.cache / "debian").iterdir() if entry.is_dir()]


def test_without_apt_one_line_says_so(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(PrepareError, match="no apt") as caught:
        debian.packages(layout, ["runc"])
    assert "\n" not in str(caught.value)


def test_what_is_in_the_cache_needs_no_apt(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    root = layout.cache / "debian" / debian.key(["runc"]) / "root"
    root.mkdir(parents=True)
    monkeypatch.setenv("PATH", "/nowhere")
    assert debian.packages(layout, ["runc"]) == root


def test_the_order_of_names_does_not_matter_and_whole_sets_are_apart() -> None:
    assert debian.key(["a", "b"]) == debian.key(["b", "a"])
    assert len({debian.key(["a"]), debian.key(["b"]), debian.key(["a"], whole=True)}) == 3


def test_the_environment_finds_programs_libraries_and_extensions_first(tmp_path: Path) -> None:
    for folder in ("usr/sbin", "usr/lib/x86_64-linux-gnu/xtables", "lib/x86_64-linux-gnu"):
        (tmp_path / folder).mkdir(parents=True)
    environ = debian.environment(tmp_path, {"PATH": "/bin", "HOME": "/h"})
    assert environ["PATH"].split(os.pathsep) == [str(tmp_path / "usr/sbin"), "/bin"]
    libraries = environ["LD_LIBRARY_PATH"].split(os.pathsep)
    assert {str(tmp_path / folder / "x86_64-linux-gnu") for folder in ("usr/lib", "lib")} <= set(libraries)
    assert environ["XTABLES_LIBDIR"] == str(tmp_path / "usr/lib/x86_64-linux-gnu/xtables")
    assert environ["HOME"] == "/h"
