"""Small images without a builder: static programs in one layer, as an OCI archive that containerd imports."""

import gzip
import hashlib
import io
import json
import os
import platform
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_CONFIG = "application/vnd.oci.image.config.v1+json"
_LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"


@dataclass(frozen=True)
class Image:
    """name: the full reference with a tag. files: path in the image → content; all are executable. user: `UID:GID`."""

    name: str
    files: Mapping[str, bytes]
    entrypoint: tuple[str, ...]
    user: str = "65532:65532"


def write_archive(file: Path, image: Image) -> None:
    """Writes the image, whole or not at all; the same image gives the same bytes."""
    layer = _tar({path.lstrip("/"): (content, 0o755) for path, content in sorted(image.files.items())})
    packed = gzip.compress(layer, mtime=0)
    config = {
        "architecture": ARCHITECTURES.get(platform.machine(), platform.machine()),
        "os": "linux",
        "config": {"Entrypoint": list(image.entrypoint), "User": image.user},
        "rootfs": {"type": "layers", "diff_ids": [_digest(layer)]},
    }
    blobs: dict[str, bytes] = {}

    def put(content: bytes, media_type: str) -> dict[str, Any]:
        blobs[f"blobs/sha256/{_digest(content).removeprefix('sha256:')}"] = content
        return {"mediaType": media_type, "digest": _digest(content), "size": len(content)}

    layers = [put(packed, _LAYER)]
    manifest = {"schemaVersion": 2, "mediaType": _MANIFEST, "config": put(_json(config), _CONFIG), "layers": layers}
    annotations = {"io.containerd.image.name": image.name, "org.opencontainers.image.ref.name": image.name}
    index = {"schemaVersion": 2, "manifests": [{**put(_json(manifest), _MANIFEST), "annotations": annotations}]}
    entries = {"oci-layout": _json({"imageLayoutVersion": "1.0.0"}), "index.json": _json(index), **blobs}
    partial = file.with_name(f".{file.name}.{os.getpid()}")
    partial.write_bytes(_tar({path: (content, 0o644) for path, content in entries.items()}))
    partial.replace(file)


def _json(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def _digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def _tar(files: Mapping[str, tuple[bytes, int]]) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for path, (content, mode) in files.items():
            entry = tarfile.TarInfo(path)
            entry.size, entry.mode = len(content), mode
            archive.addfile(entry, io.BytesIO(content))
    return stream.getvalue()
