"""The device program as it is shipped, made once for all tests: without the interpreter, which is 110 MB more of the same."""

import shutil
import sys
from pathlib import Path

import pytest
from toolchain.device import debian_package, packages
from toolchain.device.target import Target
from toolchain.prepare.layout import Layout, load


@pytest.fixture(scope="session")
def here(project: Path) -> Layout:
    """The project itself: what is tested is made of its files, with its tools."""
    return load(project)


@pytest.fixture(scope="session")
def client() -> Target:
    """A device like this machine, which serves nothing."""
    return Target("x86_64", (sys.version_info[0], sys.version_info[1]), has_interpreter=False)


@pytest.fixture(scope="session")
def package(here: Layout, client: Target, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Debian package."""
    if not shutil.which("dpkg-deb"):
        pytest.skip("needs dpkg-deb")
    return debian_package.build(here, client, tmp_path_factory.mktemp("package"))


@pytest.fixture(scope="session")
def wheelhouse(here: Layout, client: Target, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the install script."""
    return packages.wheelhouse(here, client, tmp_path_factory.mktemp("wheelhouse") / "made")
