"""Layers and image archives, byte for byte the same from the same contents.

An archive is what `docker save` writes today: an OCI layout (index.json) that also has Docker's manifest.json. `docker load`
and `ctr images import` both read it. Layers are not compressed: the archives stay on the machine, and loading is what counts.
"""

import hashlib
import io
import json
import os
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from toolchain.images.tree import Tree

EPOCH = "1970-01-01T00:00:00Z"
MACHINES = {"x86_64": "amd64", "aarch64": "arm64"}
_OCI = "application/vnd.oci.image"


@dataclass(frozen=True)
class Layer:
    """A layer's tar file; `digest` is its sha256 in hex."""

    name: str
    file: Path
    digest: str


class _Hashing:
    """A file that knows the sha256 of what was written to it."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self.sha256 = hashlib.sha256()

    def write(self, data: bytes) -> int:
        self.sha256.update(data)
        return self._stream.write(data)


def _header(name: str, kind: bytes, mode: int, size: int = 0, link: str = "") -> tarfile.TarInfo:
    """A header without anything of the machine or the moment: owner root, time 0."""
    info = tarfile.TarInfo(name)
    info.type, info.mode, info.size, info.linkname = kind, mode, size, link
    return info


def write_layer(tree: Tree, file: Path) -> str:
    """Writes the layer's tar file; returns its sha256 in hex."""
    with file.open("wb") as stream:
        hashing = _Hashing(stream)
        with tarfile.open(fileobj=hashing, mode="w|") as layer:  # type: ignore[call-overload]  # it only needs `write`
            for path, entry in sorted(tree.items()):
                if entry.folder:
                    layer.addfile(_header(path, tarfile.DIRTYPE, entry.mode))
                elif entry.link:
                    layer.addfile(_header(path, tarfile.SYMTYPE, 0o777, link=entry.link))
                elif entry.source is None:
                    layer.addfile(_header(path, tarfile.REGTYPE, entry.mode, len(entry.content)), io.BytesIO(entry.content))
                else:
                    with entry.source.open("rb") as source:
                        layer.addfile(_header(path, tarfile.REGTYPE, entry.mode, os.fstat(source.fileno()).st_size), source)
    return hashing.sha256.hexdigest()


def write_archive(target: Path, reference: str, config: Mapping[str, Any], layers: Sequence[Layer]) -> None:
    """Writes the archive of one image.

    Args:
        reference: the image's name with its tag, such as `local/isthmus-envoy:test`.
        config: Docker's `config` object: User, Env, Entrypoint, …
    """
    blobs: dict[str, bytes | Path] = {layer.digest: layer.file for layer in layers}

    def blob(kind: str, content: bytes) -> dict[str, Any]:
        digest = hashlib.sha256(content).hexdigest()
        blobs[digest] = content
        return {"mediaType": f"{_OCI}.{kind}", "digest": f"sha256:{digest}", "size": len(content)}

    machine = os.uname().machine
    platform = {"architecture": MACHINES.get(machine, machine), "os": "linux"}
    image = {
        **platform,
        "created": EPOCH,
        "config": config,
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{layer.digest}" for layer in layers]},
        "history": [{"created": EPOCH, "created_by": f"toolchain.images: {layer.name}"} for layer in layers],
    }
    config_blob = blob("config.v1+json", _json(image))
    manifest = {
        "schemaVersion": 2,
        "mediaType": f"{_OCI}.manifest.v1+json",
        "config": config_blob,
        "layers": [
            {"mediaType": f"{_OCI}.layer.v1.tar", "digest": f"sha256:{layer.digest}", "size": layer.file.stat().st_size} for layer in layers
        ],
    }
    names = {"io.containerd.image.name": f"docker.io/{reference}", "org.opencontainers.image.ref.name": reference.rpartition(":")[2]}
    index = {
        "schemaVersion": 2,
        "mediaType": f"{_OCI}.index.v1+json",
        "manifests": [{**blob("manifest.v1+json", _json(manifest)), "platform": platform, "annotations": names}],
    }
    docker = [
        {
            "Config": _path(config_blob["digest"].removeprefix("sha256:")),
            "RepoTags": [reference],
            "Layers": [_path(layer.digest) for layer in layers],
        }
    ]
    files: dict[str, bytes | Path] = {
        **{_path(digest): content for digest, content in sorted(blobs.items())},
        "index.json": _json(index),
        "manifest.json": _json(docker),
        "oci-layout": _json({"imageLayoutVersion": "1.0.0"}),
    }
    with tarfile.open(target, "w") as archive:
        for folder in ("blobs", "blobs/sha256"):
            archive.addfile(_header(folder, tarfile.DIRTYPE, 0o755))
        for name, content in files.items():
            if isinstance(content, bytes):
                archive.addfile(_header(name, tarfile.REGTYPE, 0o644, len(content)), io.BytesIO(content))
            else:
                with content.open("rb") as source:
                    archive.addfile(_header(name, tarfile.REGTYPE, 0o644, content.stat().st_size), source)


def _path(digest: str) -> str:
    return f"blobs/sha256/{digest}"


def _json(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()
