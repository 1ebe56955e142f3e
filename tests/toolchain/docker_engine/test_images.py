"""Images without a registry."""

from pathlib import Path

import pytest
from toolchain.docker_engine.hosts import Site
from toolchain.docker_engine.images import load, load_busybox
from toolchain.prepare.layout import Layout
from toolchain.prepare.steps import PrepareError


def test_an_image_saved_on_one_engine_runs_on_another(real_layout: Layout, site: Site, tmp_path: Path) -> None:
    name = load_busybox(real_layout, site[0], "local/carried:1", ['CMD ["echo", "carried"]']) and "local/carried:1"
    first, second = (engine.client() for engine in site)
    try:
        archive = tmp_path / "image.tar"
        archive.write_bytes(b"".join(first.images.get(name).save(named=True)))
        assert load(site[1], archive) == [name]
        assert second.containers.run(name, remove=True) == b"carried\n"
    finally:
        for client in (first, second):
            client.images.remove(name)
            client.close()


def test_an_archive_that_is_none_is_refused_by_name(site: Site, tmp_path: Path) -> None:
    (tmp_path / "image.tar").write_bytes(b"not an archive")
    with pytest.raises(PrepareError, match=r"engine vm-a can't load .*image\.tar"):
        load(site[0], tmp_path / "image.tar")
