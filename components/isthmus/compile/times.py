"""Measured times of variants, kept beside the releases: they belong to a variant's bytes, the kind of machine and what measured them.

    times/KEY     a `Timing` as JSON; of several that are measured for one key the first counts

So two releases with the same SavedModel, as another recipe for devices gives them, plan with the same service time, and it is
measured once. A release takes its times along in its record; what is here serves the next compile alone.
"""

import functools
import hashlib
import json
import os
import platform
import tempfile
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

from isthmus.compile.key import TIMING_CODE, code_hash, tool_versions
from isthmus.release.hashing import file_sha256
from isthmus.release.manifest import SERVING, Manifest, Release, Timing

# A time is that of a request through the embedded server, or of a run of the interpreter, as `timing` measures them.
MEASURING_CODE = (*TIMING_CODE, "isthmus_agent/protocol/**/*.py", "server/**/*.py")


@functools.cache
def machine_class() -> str:
    """The kind of machine that times are of, such as "x86_64 2 cores"."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return f"{platform.machine()} {cores} cores"


@functools.cache
def measured_with() -> str:
    """What measures times here: a hash over the embedded server, the code that asks it and the tools' versions, in hex."""
    return hashlib.sha256(json.dumps([code_hash(MEASURING_CODE, ()), tool_versions()]).encode()).hexdigest()


def digest_of(variant: Path) -> str:
    """The digest of a variant, in hex: of its one file, or of all files of its folder by their names in it. Raises OSError."""
    files, root = ([variant], variant.parent) if variant.is_file() else (sorted(it for it in variant.rglob("*") if it.is_file()), variant)
    return _digest((path.relative_to(root).as_posix(), file_sha256(path)) for path in files)


def digests_of(manifest: Manifest) -> dict[str, str]:
    """The same of a release's variants, by their kind: neither the model's name nor its version is in them."""
    digests = {}
    for variant in manifest.variants:
        root = f"{SERVING}/{manifest.version}/" if variant.kind == SERVING else f"{variant.kind}/"
        digests[variant.kind] = _digest((file.path.removeprefix(root), file.sha256) for file in variant.files)
    return digests


def _digest(files: Iterable[tuple[str, str]]) -> str:
    return hashlib.sha256(json.dumps(sorted(files)).encode()).hexdigest()


class KnownTimes:
    """Times that were measured on this kind of machine, by variant.

    Args:
        directory: made when something is first written.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def get(self, variant: str) -> Timing | None:
        """The time of a variant; None where it was not measured, or what is kept is damaged. variant: its digest."""
        try:
            return Timing(**json.loads(self._path(variant).read_bytes()))
        except (OSError, ValueError, TypeError):
            return None

    def keep(self, variant: str, timing: Timing) -> Timing:
        """The time that counts: the one that was there already, or this one, kept from now on. Raises OSError."""
        self._directory.mkdir(parents=True, exist_ok=True)
        path = self._path(variant)
        descriptor, temporary = tempfile.mkstemp(dir=self._directory, prefix=".")
        try:
            with os.fdopen(descriptor, "w") as stream:
                json.dump(asdict(timing), stream)
            try:
                os.link(temporary, path)
            except FileExistsError:
                if (first := self.get(variant)) is not None:
                    return first
                os.replace(temporary, path)
            return timing
        finally:
            Path(temporary).unlink(missing_ok=True)

    def learn(self, release: Release) -> None:
        """Takes over the times of a release that another machine of this kind made, measured as they would be here. Raises OSError."""
        record = release.record
        if (record.machine_class, record.measured_with) != (machine_class(), measured_with()):
            return
        for kind, digest in digests_of(release.manifest).items():
            self.keep(digest, record.timing(kind))

    def _path(self, variant: str) -> Path:
        key = hashlib.sha256(json.dumps([variant, machine_class(), measured_with()]).encode()).hexdigest()
        return self._directory / key
