"""Measuring a release's cuts without TensorFlow in this process: by a worker, as times of variants are measured."""

from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from isthmus.compile.halves.measured import Measured
from isthmus.compile.request import CompileRequest
from isthmus.errors import Problem, SourceError
from isthmus.release.cache import ReleaseCache
from isthmus.release.manifest import EDGE, Release

JOBS = "isthmus.compile.halves.jobs:JOBS"
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
    from isthmus.compile.workers.failures import FAILURES, explained
    from isthmus.compile.workers.pool import Pool

    where = f"{request.model}.model"
    if not release.manifest.has(EDGE):
        raise SourceError([Problem(where, "the release has no variant for devices", "one that is cut in two", "choose another recipe")])
    pool = Pool(1, jobs=JOBS)
    try:
        with cache.work_directory() as work:
            common: Mapping[str, Any] = {
                "file": str(release.path(release.manifest.variant(EDGE).files[0])),
                "evaluation": None if evaluation is None else str(evaluation),
                "inputs": [asdict(spec) for spec in release.manifest.inputs],
                "outputs": [asdict(spec) for spec in release.manifest.outputs],
                "where": where,
            }
            doing = "cut it in two"
            try:
                measured = await pool.run("cut", common, work, progress)
                doing = "measure its halves"
                timed = await pool.run("time", {**common, "measured": measured}, work, progress, alone=True, turn=cache.lock("timing"))
            except FAILURES as error:
                raise explained(error, request, doing, cache.directory / "logs" / "partition.log", cache.directory) from error
    finally:
        await pool.close()
    return Measured.from_json(timed)
