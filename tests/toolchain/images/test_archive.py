"""Layers and archives: the same bytes from the same contents, and what both Docker and containerd read."""

import hashlib
import json
import os
import tarfile
from pathlib import Path

import pytest
from toolchain.images.archive import Layer, write_archive, write_layer
from toolchain.images.tree import Entry, Tree, copy, copy_folder, with_folders


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    """A file, a setuid program, a link, a folder that all may write."""
    source = tmp_path / "source"
    source.mkdir()
    (source / "program").write_bytes(b"\x7fELF")
    (source / "program").chmod(0o4755)
    (source / "text").write_text("hello")
    (source / "nowhere").symlink_to("missing")
    return with_folders({**copy_folder(source, "usr/share/x"), "bin": Entry(link="usr/bin"), "tmp": Entry(0o1777, folder=True)})


def test_a_layer_has_the_files_of_root_at_time_zero_and_no_setuid(tree: Tree, tmp_path: Path):
    write_layer(tree, tmp_path / "layer.tar")
    with tarfile.open(tmp_path / "layer.tar") as layer:
        members = {member.name: member for member in layer}
    assert list(members) == ["bin", "tmp", "usr", "usr/share", "usr/share/x", "usr/share/x/program", "usr/share/x/text"]
    assert {(member.uid, member.gid, member.mtime, member.uname) for member in members.values()} == {(0, 0, 0, "")}
    assert oct(members["usr/share/x/program"].mode) == "0o755"
    assert oct(members["tmp"].mode) == "0o1777"


def test_neither_times_nor_the_order_of_entries_change_a_byte(tree: Tree, tmp_path: Path):
    first = write_layer(tree, tmp_path / "first.tar")
    for entry in tree.values():
        if entry.source:
            os.utime(entry.source, (1, 1))
    assert write_layer(dict(reversed(tree.items())), tmp_path / "second.tar") == first
    assert (tmp_path / "first.tar").read_bytes() == (tmp_path / "second.tar").read_bytes()
    assert hashlib.sha256((tmp_path / "first.tar").read_bytes()).hexdigest() == first
    changed = {**tree, "tmp": Entry(0o755, folder=True)}
    assert write_layer(changed, tmp_path / "third.tar") != first


def test_docker_and_containerd_find_the_same_image_in_an_archive(tree: Tree, tmp_path: Path):
    layers = []
    for name, part in (("base", tree), ("more", {"etc": Entry(0o755, folder=True)})):
        file = tmp_path / f"{name}.tar"
        layers.append(Layer(name, file, write_layer(part, file)))
    write_archive(tmp_path / "image.tar", "local/example:test", {"User": "65532", "Env": ["A=b"]}, layers)
    with tarfile.open(tmp_path / "image.tar") as archive:
        content = {member.name: archive.extractfile(member).read() for member in archive if member.isfile()}  # type: ignore[union-attr]
    for path, data in content.items():
        if path.startswith("blobs/"):
            assert hashlib.sha256(data).hexdigest() == Path(path).name
    docker = json.loads(content["manifest.json"])[0]
    described = json.loads(content["index.json"])["manifests"][0]
    manifest = json.loads(content[_blob(described)])
    config = json.loads(content[_blob(manifest["config"])])
    assert docker == {
        "Config": _blob(manifest["config"]),
        "RepoTags": ["local/example:test"],
        "Layers": [_blob(layer) for layer in manifest["layers"]],
    }
    assert (
        [layer["digest"] for layer in manifest["layers"]] == config["rootfs"]["diff_ids"] == [f"sha256:{layer.digest}" for layer in layers]
    )
    assert [layer["size"] for layer in manifest["layers"]] == [len(content[_blob(layer)]) for layer in manifest["layers"]]
    assert described["annotations"]["io.containerd.image.name"] == "docker.io/local/example:test"
    assert config["config"] == {"User": "65532", "Env": ["A=b"]}
    assert json.loads(content["oci-layout"]) == {"imageLayoutVersion": "1.0.0"}


def _blob(descriptor: dict[str, str]) -> str:
    return f"blobs/sha256/{descriptor['digest'].removeprefix('sha256:')}"


def test_a_link_is_followed_when_a_file_is_copied(tmp_path: Path):
    (tmp_path / "library.so.1.2").write_text("x")
    (tmp_path / "library.so.1").symlink_to("library.so.1.2")
    assert copy(tmp_path / "library.so.1").source == tmp_path / "library.so.1"
    write_layer({"lib": copy(tmp_path / "library.so.1")}, tmp_path / "layer.tar")
    with tarfile.open(tmp_path / "layer.tar") as layer:
        assert layer.getmember("lib").isreg()
