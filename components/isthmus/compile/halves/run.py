"""Measuring a release's cuts, and putting its halves into it, without TensorFlow in this process: by a worker."""

import hashlib
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from isthmus.compile.halves.measured import Measured
from isthmus.compile.key import code_hash, resolve
from isthmus.compile.request import CompileRequest
from isthmus.compile.sources.source import Source
from isthmus.errors import Problem, SourceError
from isthmus.partition.wanted import Wanted
from isthmus.release.cache import ReleaseCache
from isthmus.release.hashing import file_sha256
from isthmus.release.manifest import EDGE, SERVING, Release

JOBS = "isthmus.compile.halves.jobs:JOBS"
# What computes halves, in patterns as of `compile.key`: a release with other halves is another one.
OWN_CODE = ("compile/halves/*.py", "partition/*.py", "isthmus_agent/features.py", "isthmus_agent/formats/halves.py")
Say = Callable[[str], None]


async def measure_cuts(request: CompileRequest, release: Release, evaluation: Path | None, cache: ReleaseCache, progress: Say) -> Measured:
    """Every cut of a release's variant for devices, run on its evaluation set and timed with nothing else running.

    Args:
        request: what the release was made of, for messages.
        evaluation: an .npz file; None: made-up inputs, and nothing is quantised.

    Raises:
        SourceError: the release has no variant for devices, no place of it can be cut, or the data does not fit.
        IsthmusError: a worker failed; ResourceFullError: the disk or the memory is full.
    """
    async with _Working.on(request, release, evaluation, cache, progress) as work:
        return await work.measured()


async def partitioned(
    request: CompileRequest, wanted: Wanted, release: Release, cache: ReleaseCache, progress: Say, *, source: Source | None
) -> Release:
    """A release with its halves: the same with the few ways that are worth serving, or as it is where none is. One that has halves stays.

    Args:
        request: what the release was made of. source: the same, where it was found already; of none for a release named by its digest.

    Raises: as `measure_cuts`; SourceError: there is no such cut, or no server could run a tail; the release is for one place alone.
    """
    if release.record.halves is not None:
        return release
    if not release.manifest.has(SERVING):
        what, fix = "the release has no variant for servers, which would run the other half", "name the model that the file was made from"
        raise SourceError([Problem(f"{request.model}.model", what, "a release for both", fix)])
    evaluation = request.evaluation if request.names_digest else (source or resolve(request)).evaluation
    data = None if evaluation is None else file_sha256(evaluation)
    said = {"release": release.digest, "wanted": asdict(wanted), "code": code_hash(OWN_CODE, ()), "evaluation": data}
    key = hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()
    if (known := cache.get(key)) is not None:
        return known
    async with _Working.on(request, release, evaluation, cache, progress) as work:
        return await work.built(wanted, key)


class _Working:
    """A worker on one release. common: of all jobs."""

    def __init__(self, request: CompileRequest, release: Release, evaluation: Path | None, cache: ReleaseCache, progress: Say) -> None:
        from isthmus.compile.workers.pool import Pool

        self._request, self._release, self._cache, self._progress = request, release, cache, progress
        self._common: Mapping[str, Any] = {
            "file": str(release.path(release.manifest.variant(EDGE).files[0])),
            "evaluation": None if evaluation is None else str(evaluation),
            "inputs": [asdict(spec) for spec in release.manifest.inputs],
            "outputs": [asdict(spec) for spec in release.manifest.outputs],
            "where": f"{request.model}.model",
        }
        self._pool = Pool(1, jobs=JOBS)
        self._work = Path()

    @classmethod
    @asynccontextmanager
    async def on(
        cls, request: CompileRequest, release: Release, evaluation: Path | None, cache: ReleaseCache, progress: Say
    ) -> AsyncIterator["_Working"]:
        """Raises SourceError where the release has no variant for devices."""
        if not release.manifest.has(EDGE):
            what, fix = "the release has no variant for devices", "choose another recipe"
            raise SourceError([Problem(f"{request.model}.model", what, "one that is cut in two", fix)])
        found = cls(request, release, evaluation, cache, progress)
        try:
            with cache.work_directory() as found._work:
                yield found
        finally:
            await found._pool.close()

    @property
    def _timing(self) -> Mapping[str, Any]:
        """Of a job that measures times."""
        return {"alone": True, "turn": self._cache.lock("timing")}

    async def measured(self) -> Measured:
        """As `measure_cuts`."""
        measured = await self._do("cut", {}, "cut it in two")
        return Measured.from_json(await self._do("time", {"measured": measured}, "measure its halves", **self._timing))

    async def built(self, wanted: Wanted, key: str) -> Release:
        """As `partitioned`; kept under a key."""
        measured, folder = await self.measured(), self._work / "release"
        job = {
            "release": str(self._release.directory),
            "into": str(folder),
            "measured": measured.to_json(),
            "wanted": asdict(wanted),
            "tolerance": self._release.manifest.golden_tolerance,
        }
        await self._do("build", job, "put its halves into the release", **self._timing)
        return self._cache.publish(folder, key)

    async def _do(self, kind: str, job: Mapping[str, Any], doing: str, **options: Any) -> dict[str, Any]:
        from isthmus.compile.workers.failures import FAILURES, explained

        try:
            return await self._pool.run(kind, {**self._common, **job}, self._work, self._progress, **options)
        except FAILURES as error:
            log = self._cache.directory / "logs" / "partition.log"
            raise explained(error, self._request, doing, log, self._cache.directory) from error
