"""A release's serving variant as a model server is given it: which files it has, where they lie, and whether they are sound."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from isthmus.errors import IntegrityError
from isthmus.provider.local.layout import MANIFEST_FILE

if TYPE_CHECKING:
    from isthmus.release.manifest import FileEntry, Manifest


def manifest_in(directory: Path) -> "Manifest | None":
    """The manifest that lies in a folder; None where there is none, or a damaged one."""
    from isthmus.release.manifest import Manifest

    try:
        return Manifest.from_bytes((directory / MANIFEST_FILE).read_bytes())
    except (OSError, IntegrityError):
        return None


def files(manifest: "Manifest") -> "Sequence[FileEntry]":
    """Those that a server reads."""
    from isthmus.release.manifest import SERVING

    return manifest.variant(SERVING).files


def inside(directory: Path, file: "FileEntry") -> Path:
    """Where a file of the serving variant lies: its path in the release is `serving/VERSION/…`."""
    from isthmus.release.manifest import SERVING

    return directory / Path(file.path).relative_to(SERVING)


def is_sound(directory: Path, file: "FileEntry") -> bool:
    """Whether a file of the serving variant is what its manifest says."""
    return has_content(inside(directory, file), file)


def has_content(path: Path, file: "FileEntry") -> bool:
    """Whether a file is what a manifest says."""
    from isthmus.release.hashing import file_sha256

    try:
        return path.stat().st_size == file.size_bytes and file_sha256(path) == file.sha256
    except OSError:
        return False
