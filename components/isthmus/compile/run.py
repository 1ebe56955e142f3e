"""Compiling without TensorFlow in this process: out of the cache, out of the shared cache, or by worker processes.

A compile is four kinds of jobs (see `isthmus.compile.build.jobs`): prepare; a candidate for each recipe to try, side by side; time,
alone on the machine; finish. Several compiles of one program share its workers. What is known of a variant's bytes is not measured
again (see `isthmus.compile.times`).
"""

import asyncio
import contextlib
import errno
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from isthmus.compile.key import compile_key, resolve
from isthmus.compile.recipes import Recipe
from isthmus.compile.request import CompileRequest
from isthmus.compile.sources.source import FUNCTION, Source
from isthmus.compile.times import KnownTimes
from isthmus.errors import PlatformError, Problem, SourceError
from isthmus.release.cache import ReleaseCache
from isthmus.release.manifest import SERVING, Release, Timing

# What a candidate may take beside its training until it counts as hung: conversion, and the proof on the evaluation data.
CANDIDATE_SECONDS = 600
_FULL = (errno.ENOSPC, errno.EDQUOT)
_T = TypeVar("_T")
Say = Callable[[str], None]


async def compile_release(
    request: CompileRequest, cache: ReleaseCache, progress: Say, *, warn: Say | None = None, source: Source | None = None
) -> Release:
    """The release of a request: the cached one, one that another machine put into the shared cache, or one compiled now.

    Nothing is written outside the caches. Two callers with the same content, in whatever processes, compile once. A
    cancelled call ends its workers and removes what it had written.

    Args:
        cache: with its `shared` cache, if it has one.
        progress: called on this loop with a line for the user, such as "int8: run on 450 held-out examples".
        warn: called with what the user should know though it stops nothing, such as a shared cache that cannot be reached;
            `progress` unless given.
        source: the request's, where it was found already.

    Raises:
        SourceError: the source cannot be read, built or compiled.
        GateError: no recipe that `auto` tried keeps the accuracy.
        ResourceFullError: the disk or the memory is full.
        PlatformError: the cache's folder cannot be written, or what compiling needs is not installed.
        IsthmusError: a worker failed; its log's path is in the message.
    """
    if request.partition is not None:
        from isthmus.compile.halves.run import partitioned

        whole = replace(request, partition=None)
        made = await compile_release(whole, cache, progress, warn=warn, source=source)
        return await partitioned(whole, request.partition, made, cache, progress, source=source)
    if request.names_digest:
        return await _find_by_digest(request, cache, warn or progress)
    found: Source = await asyncio.to_thread(resolve, request) if source is None else source
    key = await asyncio.to_thread(compile_key, request, found)
    release = await asyncio.to_thread(cache.get, key)
    if release is not None:
        return release
    return await _Compile(request, found, key, cache, progress, warn or progress).run()


async def _find_by_digest(request: CompileRequest, cache: ReleaseCache, warn: Say) -> Release:
    release = await asyncio.to_thread(cache.find, request.source)
    if release is None and cache.shared is not None:
        from isthmus.compile.workers.sharing import Sharing

        with _explained_errors(cache.directory), cache.work_directory() as work:
            release = await Sharing(cache, cache.shared, warn).fetch_digest(request.source, work)
    if release is None:
        problem = Problem(
            f"{request.model}.model",
            f"there is no sound release {request.source} in {cache.directory}",
            "a release that was compiled or fetched before",
            "name the model's source instead, or fetch the release",
        )
        raise SourceError([problem])
    return release


@dataclass(frozen=True)
class _Compile:
    """One compile that was not found in the cache."""

    request: CompileRequest
    source: Source
    key: str
    cache: ReleaseCache
    progress: Say
    warn: Say

    async def run(self) -> Release:
        # Imported by those who compile: a warm preview does without.
        from isthmus.compile.workers.pool import held
        from isthmus.release.cache_size import evict, limit_bytes

        limit = limit_bytes()
        waiting = f"another process compiles {self.request.model}: waiting for it"
        with _explained_errors(self.cache.directory):
            async with held(self.cache.lock(self.key), lambda: self.progress(waiting)):
                release = await asyncio.to_thread(self.cache.get, self.key)
                if release is None:
                    with self.cache.work_directory() as work:
                        release = await self._fetch_or_compile(work)
            if limit is not None:
                await asyncio.to_thread(evict, self.cache, limit)
            return release

    async def _fetch_or_compile(self, work: Path) -> Release:
        from isthmus.compile.workers.pool import finished
        from isthmus.compile.workers.sharing import Sharing

        sharing = Sharing(self.cache, self.cache.shared, self.warn) if self.cache.shared is not None else None
        release = await sharing.fetch(self.key, work, self.progress) if sharing else None
        if release is not None:
            await asyncio.to_thread(self._known_times.learn, release)
            return release
        await self._compile(work)
        if await asyncio.to_thread(compile_key, self.request, self.source) != self.key:
            problem = Problem(f"{self.request.model}.model", f"{self.request.source!r} changed while it was compiled", fix="run again")
            raise SourceError([problem])
        if sharing:
            await sharing.offer(self.key, work / "release", self.progress)
        return await finished(asyncio.to_thread(self.cache.publish, work / "release", self.key))

    async def _compile(self, work: Path) -> None:
        """Writes the release to WORK/release."""
        common = {"request": asdict(self.request), "source": asdict(self.source), "work": str(work)}
        recipe = Recipe.of(self.request.recipe)
        own, several = self._runs_user_code, recipe.is_auto or recipe.needs_training or self._runs_user_code
        prepared = await self._do("prepare", common, work, f"load {self.source.name}", fresh=own, ahead=several)
        recipes = [Recipe.of(text) for text in prepared["recipes"]]
        digests, lost = await self._candidates(recipes, common, work)
        times = await self._times({SERVING: prepared["digest"], **digests}, common, work)
        await self._do("finish", {**common, "lost": lost, "times": times}, work, "write the release")

    async def _times(self, digests: Mapping[str, str], common: Mapping[str, Any], work: Path) -> dict[str, Any]:
        """The time of one request to each variant: what is known of these bytes already, and else what is measured now.

        Args:
            digests: by the variant's name; empty for one that there is not.
        """
        from isthmus.compile.workers.pool import held

        known = self._known_times
        digests = {name: digest for name, digest in digests.items() if digest}
        # Who compiles the same SavedModel with another recipe at the same time measures it once.
        shared = self.cache.lock(f"times-{digests[SERVING]}") if SERVING in digests else None
        async with held(shared, lambda: self.progress("another compile measures this model: waiting for it")):
            times = {name: found for name, digest in digests.items() if (found := known.get(digest)) is not None}
            if missing := [name for name in digests if name not in times]:
                job = {**common, "variants": missing}
                measured = await self._do("time", job, work, "measure times", alone=True, turn=self.cache.lock("timing"))
                times |= {name: known.keep(digests[name], Timing(**measured[name])) for name in missing}
        return {name: asdict(timing) for name, timing in times.items()}

    async def _candidates(self, recipes: Sequence[Recipe], common: Mapping[str, Any], work: Path) -> tuple[dict[str, str], dict[str, str]]:
        """Makes and proves every candidate.

        Returns: the digests of the sound ones, and why others were lost where there are some to choose from; both by index.
        """
        from isthmus.compile.workers.failures import OutOfMemoryError

        async def make(index: int, recipe: Recipe) -> tuple[str, str]:
            try:
                made = await self._do(
                    "candidate",
                    {**common, "index": index},
                    work,
                    recipe.text,
                    fresh=recipe.needs_training or (self._runs_user_code and bool(recipe.structure)),
                    deadline_seconds=self._deadline_seconds(recipe),
                )
            except (SourceError, OutOfMemoryError) as error:
                if len(recipes) == 1:
                    raise
                return "", str(error)
            return made["digest"], ""

        found = await _side_by_side([make(index, recipe) for index, recipe in enumerate(recipes)])
        digests = {str(index): digest for index, (digest, _) in enumerate(found) if digest}
        return digests, {str(index): reason for index, (_, reason) in enumerate(found) if reason}

    @property
    def _known_times(self) -> KnownTimes:
        return KnownTimes(self.cache.directory / "times")

    @property
    def _runs_user_code(self) -> bool:
        """What the user's code leaves in a process would be there for the next model: such jobs get a worker of their own."""
        return self.source.kind == FUNCTION or bool(self.request.custom_objects) or self.request.allow_unsafe

    def _deadline_seconds(self, recipe: Recipe) -> float | None:
        """The worker itself watches over the training; this is for code that does not let it."""
        return self.request.training_deadline_seconds + CANDIDATE_SECONDS if recipe.needs_training else None

    async def _do(self, kind: str, job: Mapping[str, Any], work: Path, doing: str, **options: Any) -> dict[str, Any]:
        from isthmus.compile.workers.failures import FAILURES, explained
        from isthmus.compile.workers.pool import pool_of_this_loop

        try:
            return await pool_of_this_loop().run(kind, job, work, self.progress, **options)
        except FAILURES as error:
            log = self.cache.directory / "logs" / f"{self.key}.log"
            raise explained(error, self.request, doing, log, self.cache.directory) from error


async def _side_by_side(work: Sequence[Coroutine[Any, Any, _T]]) -> list[_T]:
    """All results; the first error ends the others, and is raised once they have ended."""
    tasks = [asyncio.ensure_future(one) for one in work]
    try:
        return await asyncio.gather(*tasks)
    except GeneratorExit:  # the loop was closed in the middle of this: nothing can be awaited any more
        raise
    except BaseException:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        raise


@contextlib.contextmanager
def _explained_errors(directory: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            from isthmus.compile.workers.failures import disk_full

            raise disk_full(directory) from error
        raise PlatformError(
            f"the cache folder {directory} cannot be used: {error.strerror or error}. "
            "Fix: make it writable, or let ISTHMUS_CACHE_DIR name another"
        ) from error
