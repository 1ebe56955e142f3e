"""Making room in the user's cache: what the toolchain downloaded or built there and has not used for long."""

import os
import shutil
import time
from pathlib import Path

from toolchain.prepare.layout import Layout
from toolchain.prepare.steps import exclusive, say

UNUSED_DAYS = 30
DAY_SECONDS = 24 * 60 * 60
# Folder of the cache → whose lock guards it. Each entry in it is one thing, named by what it is made from, and touched when it is used.
# Releases have a limit of their own (docs/cache.md), images keep the latest (docs/images.md), packages are uv's to prune.
KINDS = {
    "engine": "engine",
    "cluster": "cluster",
    "debian": "debian",
    "checkov": "checkov",
    "load_generator": "load_generator",
    "go/compilers": "go",
    "go": "go",
}


def prune(layout: Layout, unused_days: float = UNUSED_DAYS, now: float | None = None) -> list[Path]:
    """Removes what was not used for so many days, and tells; returns what that was.

    now: seconds since 1970; None: the clock's.
    """
    oldest = (time.time() if now is None else now) - unused_days * DAY_SECONDS
    removed: list[Path] = []
    for kind, guard in KINDS.items():
        folder = layout.cache / kind
        if not folder.is_dir():
            continue
        with exclusive(layout.cache / guard / ".lock", f"what is in {folder}"):
            entries = [entry for entry in folder.iterdir() if entry.is_dir() and str(entry.relative_to(layout.cache)) not in KINDS]
            for entry in sorted(entries):
                if entry.stat().st_mtime < oldest:
                    say(f"removing {entry} ({_size_bytes(entry) / 1e6:.0f} MB)")
                    shutil.rmtree(entry)
                    removed.append(entry)
    if not removed:
        say(f"nothing in {layout.cache} was unused for {unused_days:g} days")
    return removed


def _size_bytes(folder: Path) -> int:
    return sum(os.lstat(os.path.join(place, name)).st_size for place, _, names in os.walk(folder) for name in names)
