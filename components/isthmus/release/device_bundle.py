"""Bundles as devices get them: of a release one object, and deltas between two (`isthmus_agent.formats.bundle` says what is in them).

The same release and gate values make the same plain form, whatever the machine. What lies in the store is a delta from nothing, the
same where the compressors (zlib, bzip2, liblzma) are of the same versions.
"""

import json
from collections.abc import Mapping
from typing import Any

from isthmus.digest import Digest
from isthmus.errors import IntegrityError
from isthmus.release.manifest import EDGE, FileEntry, Release
from isthmus_agent.formats import bundle
from isthmus_agent.formats.numbers import FormatError


def plain(release: Release, gates: Mapping[str, Any]) -> bytes:
    """A release's edge variant as a device keeps it. gates: what its gates compare with, as JSON.

    Raises IntegrityError where the release has no edge variant of one file, where a file is not what the manifest names, or where a
    part is too large for a device.
    """
    files = release.manifest.variant(EDGE).files
    if len(files) != 1:
        raise IntegrityError(f"the edge variant of {release.digest} has {len(files)} files, a device takes one")
    document = json.dumps(gates, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    parts = {
        bundle.MODEL: _content(release, files[0]),
        bundle.MANIFEST: release.manifest.to_bytes(),
        bundle.GOLDEN: _content(release, release.manifest.golden),
        bundle.GATES: document.encode(),
    }
    try:
        return bundle.join(parts)
    except FormatError as error:
        raise IntegrityError(f"{release.digest} makes no bundle: {error}") from error


def _content(release: Release, file: FileEntry) -> bytes:
    try:
        found = release.path(file).read_bytes()
    except OSError as error:
        raise IntegrityError(f"{file.path} cannot be read ({type(error).__name__})") from error
    if len(found) != file.size_bytes or Digest.of(found).hex != file.sha256:
        raise IntegrityError(f"wrong content: {file.path} is not what the manifest names")
    return found
