"""The archive of a small image."""

import gzip
import hashlib
import io
import json
import tarfile
from pathlib import Path

from toolchain.cluster.oci import Image, write_archive

IMAGE = Image("localhost/test:1", {"bin/tool": b"\x7fELF"}, ("/bin/tool", "run"), "7:8")


def read(file: Path) -> dict[str, bytes]:
    with tarfile.open(file) as archive:
        return {entry.name: stream.read() for entry in archive if (stream := archive.extractfile(entry))}


def test_every_blob_lies_under_its_digest_and_the_index_leads_to_the_files(tmp_path: Path) -> None:
    write_archive(tmp_path / "image.tar", IMAGE)
    files = read(tmp_path / "image.tar")
    blobs = {name.rpartition("/")[2]: content for name, content in files.items() if name.startswith("blobs/")}
    assert all(hashlib.sha256(content).hexdigest() == name for name, content in blobs.items())
    entry = json.loads(files["index.json"])["manifests"][0]
    assert entry["annotations"]["io.containerd.image.name"] == IMAGE.name
    manifest = json.loads(blobs[entry["digest"].removeprefix("sha256:")])
    config = json.loads(blobs[manifest["config"]["digest"].removeprefix("sha256:")])
    assert config["config"] == {"Entrypoint": ["/bin/tool", "run"], "User": "7:8"}
    layer = gzip.decompress(blobs[manifest["layers"][0]["digest"].removeprefix("sha256:")])
    assert config["rootfs"]["diff_ids"] == [f"sha256:{hashlib.sha256(layer).hexdigest()}"]
    with tarfile.open(fileobj=io.BytesIO(layer)) as archive:
        assert archive.getmember("bin/tool").mode == 0o755


def test_the_same_image_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_archive(tmp_path / name, IMAGE)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
