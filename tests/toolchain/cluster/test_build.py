"""The cluster's programs: what they are made from."""

from pathlib import Path

import pytest
from toolchain.cluster import build, oci
from toolchain.prepare import go
from toolchain.prepare.build import CLUSTER_SOURCE, cluster
from toolchain.prepare.layout import Layout


@pytest.fixture
def finished(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Notes what the finishing of a build depends on, and builds nothing."""
    noted: list[str] = []

    def provide(_layout: Layout, kind: str, _commands: go.Commands, _finish: object, finished_by: str) -> Path:
        noted.append(finished_by)
        return Path(kind)

    monkeypatch.setattr(go, "provide", provide)
    return noted


@pytest.mark.parametrize("name", ["go.mod", "go.sum", "programs/main.go", "programs/policies.go", "pause/main.go"])
def test_the_programs_are_built_anew_when_a_file_of_theirs_changes(layout: Layout, name: str) -> None:
    before = go.inputs(cluster(layout))
    with (layout.project / CLUSTER_SOURCE / name).open("a") as stream:
        stream.write("\n")
    assert go.inputs(cluster(layout)) != before


def test_and_when_the_pause_image_or_the_names_of_the_programs_change(
    layout: Layout, finished: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    build.binaries(layout)
    monkeypatch.setattr(build, "PROGRAMS", ("etcd",))
    build.binaries(layout)
    monkeypatch.setattr(build, "PAUSE_IMAGE", "pause:2")
    build.binaries(layout)
    (tmp_path / "oci.py").write_text("# writes images in another way\n")
    monkeypatch.setattr(oci, "__file__", str(tmp_path / "oci.py"))
    build.binaries(layout)
    assert len(set(finished)) == len(finished) == 4


def test_every_program_is_one_that_the_source_knows(layout: Layout) -> None:
    source = (layout.project / CLUSTER_SOURCE / "programs" / "main.go").read_text()
    assert all(f'"{name}"' in source for name in build.PROGRAMS)
