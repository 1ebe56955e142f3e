"""The shared cache beside a compile: asked before it, told after it, and never in its way.

A store that cannot be used costs one warning and one wait: for some time after that it is not asked again.
"""

import asyncio
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from isthmus.compile.workers.pool import finished
from isthmus.errors import IntegrityError, StoreError
from isthmus.release.cache import ReleaseCache
from isthmus.release.manifest import RECORD_NAME, Release
from isthmus.release.shared_cache import SharedCache

AWAY_SECONDS = 60.0
STOP_SECONDS = 2.0
_T = TypeVar("_T")
# Stores that could not be used, and since when (by the monotonic clock).
_away: dict[str, float] = {}


class Sharing:
    """One compile's use of the shared cache. warn: takes a line for the user."""

    def __init__(self, cache: ReleaseCache, shared: SharedCache, warn: Callable[[str], None]) -> None:
        self._cache = cache
        self._shared = shared
        self._warn = warn
        self._is_damaged = False

    async def fetch(self, key: str, work: Path, progress: Callable[[str], None]) -> Release | None:
        """The release that the key led to on another machine, now in the local cache too; None where there is none."""
        progress("ask the shared cache")
        folder = work / "shared"
        folder.mkdir()
        if not await self._asked(lambda stopped: self._shared.fetch(key, folder, stopped)):
            return None
        return await finished(asyncio.to_thread(self._cache.publish, folder, key))

    async def fetch_digest(self, digest: str, work: Path) -> Release | None:
        """The same for a release by digest."""
        folder = work / "shared"
        folder.mkdir()
        if not await self._asked(lambda stopped: self._shared.fetch_digest(digest, folder, stopped)):
            return None
        return await finished(asyncio.to_thread(self._cache.publish, folder))

    async def offer(self, key: str, directory: Path, progress: Callable[[str], None]) -> None:
        """Uploads a release that was compiled and is not in the local cache yet.

        Where another machine was first with the key or the digest, `directory` has its release or its record afterwards, so that
        all that share the cache plan with the same times.
        """
        progress("write to the shared cache")
        offered = await self._asked(lambda stopped: self._shared.offer(key, directory, repair=self._is_damaged, stopped=stopped))
        if not offered:
            return
        (directory / RECORD_NAME).write_bytes(offered.record)
        if not offered.first:
            theirs = directory.with_name("first")
            theirs.mkdir()
            if await self._asked(lambda stopped: self._shared.fetch(key, theirs, stopped)):
                os.rename(directory, directory.with_name("second"))
                os.rename(theirs, directory)

    async def _asked(self, call: Callable[[Callable[[], bool]], _T]) -> _T | None:
        """The call's result; None, and a warning, where the store or what lies in it cannot be used."""
        name = self._shared.name
        if time.monotonic() - _away.get(name, -AWAY_SECONDS) < AWAY_SECONDS:
            return None
        try:
            return await _abandonable(call)
        except IntegrityError as error:
            self._is_damaged = True
            self._warn(f"what the shared cache has is damaged, and is written anew after the compile: {error}")
        except StoreError as error:
            _away[name] = time.monotonic()
            self._warn(f"the shared cache is not used: {error}")
        return None


async def _abandonable(call: Callable[[Callable[[], bool]], _T]) -> _T:
    """Runs a blocking call in a thread that holds nobody up: who is cancelled waits a moment for it to stop, and goes on."""
    loop = asyncio.get_running_loop()
    stop, outcome = threading.Event(), loop.create_future()

    def set_outcome(result: _T | None, error: Exception | None) -> None:
        if outcome.done():
            return
        if error is not None:
            outcome.set_exception(error)
        else:
            outcome.set_result(result)

    def work() -> None:
        result, error = None, None
        try:
            result = call(stop.is_set)
        except Exception as raised:
            error = raised
        try:
            loop.call_soon_threadsafe(set_outcome, result, error)
        except RuntimeError:  # the loop is closed: nobody wants to know
            return

    thread = threading.Thread(target=work, name="shared cache", daemon=True)
    thread.start()
    try:
        return await outcome  # type: ignore[no-any-return]
    except asyncio.CancelledError:
        stop.set()
        await asyncio.to_thread(thread.join, STOP_SECONDS)
        raise
