"""What this machine keeps of compiled releases: the list, and making room."""

from collections.abc import Sequence
from datetime import UTC, datetime

from rich.console import Console
from rich.table import Table
from rich.text import Text

from isthmus.release.cache import ReleaseCache, default_cache_directory
from isthmus.release.cache_size import CachedRelease, Eviction, cached_releases, evict, parse_size
from isthmus.words import in_bytes
from isthmus_agent.formats import digests


def show() -> None:
    """Prints every release in the cache, the one that was used last first."""
    cache = ReleaseCache(default_cache_directory())
    found = cached_releases(cache)[::-1]
    out = Console()
    if found:
        out.print(table(found))
    out.print(f"{_count(found)}, {in_bytes(_total(found))} in {cache.directory}", highlight=False, soft_wrap=True)


def make_room(max_size: str, *, dry_run: bool) -> None:
    """Removes what has to go, and prints what that was."""
    cache = ReleaseCache(default_cache_directory())
    done = evict(cache, parse_size(max_size, "--max-size"), dry_run=dry_run)
    out = Console()
    if done.removed:
        out.print(table(done.removed))
    out.print(summary(done, dry_run=dry_run), highlight=False, soft_wrap=True)


def summary(done: Eviction, *, dry_run: bool) -> str:
    """One line on what an eviction did, or would do."""
    stays = f"; {_count(done.held)} ({in_bytes(_total(done.held))}) in use stay" if done.held else ""
    removed = f"{'would remove' if dry_run else 'removed'} {_count(done.removed)}, {in_bytes(_total(done.removed))}"
    return f"{removed}{stays}; {in_bytes(done.left_bytes)} {'would be ' if dry_run else ''}left"


def table(releases: Sequence[CachedRelease]) -> Table:
    """A row for each release, in the given order."""
    found = Table("digest", "model", "recipe", "size", "last used", box=None, header_style="dim")
    found.columns[3].justify = "right"
    for release in releases:
        damaged = not release.model
        found.add_row(
            Text(digests.shown(release.digest)),
            Text("damaged" if damaged else release.model, style="red" if damaged else ""),
            Text(release.recipe),
            in_bytes(release.size_bytes),
            "in use" if release.held else datetime.fromtimestamp(release.last_used, UTC).astimezone().strftime("%Y-%m-%d %H:%M"),
        )
    return found


def _total(releases: Sequence[CachedRelease]) -> int:
    return sum(release.size_bytes for release in releases)


def _count(releases: Sequence[CachedRelease]) -> str:
    return f"{len(releases)} release{'' if len(releases) == 1 else 's'}"
