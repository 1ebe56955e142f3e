"""How much the cache holds, and eviction: what was not used for longest goes first.

A release that a running process was given stays (see `cache`), whatever the limit: an eviction frees what it can. An entry leaves
its place by one rename, so that nobody ever sees half of it.
"""

import fcntl
import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from isthmus.digest import Digest
from isthmus.errors import InputError, Problem
from isthmus.release.cache import ReleaseCache
from isthmus.release.manifest import MANIFEST_NAME
from isthmus_agent.formats.digests import PREFIX

MAX_SIZE_VARIABLE = "ISTHMUS_CACHE_MAX_SIZE"
_UNITS: Mapping[str, int] = {
    "": 1,
    "b": 1,
    **{f"{letter}b": 1000**power for power, letter in enumerate("kmgt", 1)},
    **{f"{letter}ib": 1024**power for power, letter in enumerate("kmgt", 1)},
}
_SIZE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([a-z]*)\s*")


@dataclass(frozen=True)
class CachedRelease:
    """One entry of the cache.

    model, recipe: empty where the entry is damaged. size_bytes: of its files. last_used: seconds since 1970. held: by a
    running process, this one included.
    """

    digest: str
    model: str
    recipe: str
    size_bytes: int
    last_used: float
    held: bool


@dataclass(frozen=True)
class Eviction:
    """removed: what went, or would go. left_bytes: what the cache holds after it. held: what stayed only because it is in use."""

    removed: tuple[CachedRelease, ...]
    left_bytes: int
    held: tuple[CachedRelease, ...]


def parse_size(text: str, path: str) -> int:
    """Bytes of a size such as "5GB" (10⁹) or "512 MiB" (2²⁰). Raises InputError that names `path`."""
    match = _SIZE.fullmatch(text.lower())
    if match is None or match[2] not in _UNITS:
        raise InputError([Problem(path, f"{text!r} is not a size", "a number and a unit, such as 5GB or 512MiB")])
    return int(float(match[1]) * _UNITS[match[2]])


def cached_releases(cache: ReleaseCache) -> list[CachedRelease]:
    """What the cache holds, the longest unused first. Reading it counts as no use."""
    try:
        entries = [entry for entry in (cache.directory / "entries").iterdir() if entry.is_dir()]
    except OSError:
        return []
    found = (_describe(entry) for entry in entries)
    return sorted((release for release in found if release is not None), key=lambda release: (release.last_used, release.digest))


def evict(cache: ReleaseCache, max_bytes: int, *, dry_run: bool = False) -> Eviction:
    """Removes releases, the longest unused first, until the cache holds no more than max_bytes, and keys that lead nowhere.

    Raises OSError where the cache cannot be written.
    """
    if dry_run:
        return _plan(cached_releases(cache), max_bytes)
    with cache.work_directory() as trash, cache.lock("publish"):
        wanted = _plan(cached_releases(cache), max_bytes)
        removed = [release for release in wanted.removed if _move_away(_entry(cache, release), trash)]
        _remove_dead_keys(cache)
    taken = set(removed)
    left = wanted.left_bytes + sum(release.size_bytes for release in wanted.removed if release not in taken)
    return Eviction(tuple(removed), left, wanted.held + tuple(release for release in wanted.removed if release not in taken))


def limit_bytes() -> int | None:
    """What ISTHMUS_CACHE_MAX_SIZE says; None where it is not set. Raises InputError where it is no size."""
    limit = os.environ.get(MAX_SIZE_VARIABLE)
    return parse_size(limit, MAX_SIZE_VARIABLE) if limit else None


def _plan(releases: list[CachedRelease], max_bytes: int) -> Eviction:
    left = sum(release.size_bytes for release in releases)
    removed, held = [], []
    for release in releases:
        if left <= max_bytes:
            break
        if release.held:
            held.append(release)
        else:
            removed.append(release)
            left -= release.size_bytes
    return Eviction(tuple(removed), left, tuple(held))


def _entry(cache: ReleaseCache, release: CachedRelease) -> Path:
    return cache.directory / "entries" / Digest(release.digest).hex


def _describe(entry: Path) -> CachedRelease | None:
    try:
        last_used = entry.stat().st_mtime
        size_bytes = sum(path.stat().st_size for path in entry.rglob("*") if path.is_file())
        with _nobody_holds(entry) as free:
            held = not free
    except FileNotFoundError:  # evicted by somebody else meanwhile
        return None
    try:
        manifest = json.loads((entry / MANIFEST_NAME).read_bytes())
        model, recipe = str(manifest["model"]), str(manifest["recipe"])
    except (OSError, ValueError, KeyError, TypeError):
        model = recipe = ""
    return CachedRelease(Digest.from_hex(entry.name), model, recipe, size_bytes, last_used, held)


@contextmanager
def _nobody_holds(entry: Path) -> Iterator[bool]:
    """Whether the entry is held by nobody; if so, nobody can take it until the end."""
    descriptor = os.open(entry, os.O_RDONLY | os.O_DIRECTORY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            free = True
        except OSError:  # held, or a file system without locks
            free = False
        yield free
    finally:
        os.close(descriptor)


def _move_away(entry: Path, trash: Path) -> bool:
    try:
        with _nobody_holds(entry) as free:
            if free:
                entry.rename(trash / entry.name)
            return free
    except FileNotFoundError:
        return True


def _remove_dead_keys(cache: ReleaseCache) -> None:
    with suppress(FileNotFoundError):
        for key in (cache.directory / "keys").iterdir():
            with suppress(FileNotFoundError):
                digest = key.read_text().partition("\n")[0].removeprefix(PREFIX)
                if not key.name.startswith(".") and not (cache.directory / "entries" / digest).is_dir():
                    key.unlink()
