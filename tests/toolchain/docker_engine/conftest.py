"""Two engines on one bridge, for all tests of this folder."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from toolchain.docker_engine.hosts import Site, start
from toolchain.docker_engine.images import load_busybox
from toolchain.docker_engine.programs import objection
from toolchain.prepare.layout import Layout, load
from toolchain.prepare.steps import PrepareError


@pytest.fixture(scope="session")
def real_layout(project: Path) -> Layout:
    """The project's own layout, whose cache holds Debian's packages."""
    return load(project)


@pytest.fixture(scope="package")
def site(real_layout: Layout) -> Iterator[Site]:
    """Two engines, each with the image local/busybox:test."""
    if complaint := objection():
        pytest.skip(complaint)
    # A socket's path may have 107 characters; pytest's own folders are longer.
    with tempfile.TemporaryDirectory(prefix="isthmus-docker-") as folder:
        try:
            engines = start(real_layout, Path(folder), ["vm-a", "vm-b"])
        except PrepareError as error:
            pytest.skip(str(error))
        with engines:
            for engine in engines:
                load_busybox(real_layout, engine)
            yield engines
