"""Whether a model fits into this machine's memory: said before it is loaded, as a process that runs out is killed without a word."""

import os
from pathlib import Path

from isthmus.errors import Problem, SourceError

PEAK_FACTOR = 8
"""Peak memory of a compile over the source's bytes. Measured with 200 MB of weights, what TensorFlow takes by itself apart: a .keras file
6.7, a SavedModel 7.7, a .tflite file 3.1 as it is and 7.4 as int8."""
BASE_BYTES = 1 << 28
"""What is needed besides, whatever the model's size."""
_MEMINFO = Path("/proc/meminfo")
# Limit and use of this process's control group, and the name of what can be taken back of it: version 2, then 1.
_CGROUPS = (
    (Path("/sys/fs/cgroup"), "memory.max", "memory.current", "inactive_file"),
    (Path("/sys/fs/cgroup/memory"), "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
)


def available_bytes() -> int | None:
    """Memory that can be had: what the system and this process's control group leave. None where neither says."""
    found = []
    try:
        lines = dict(line.split(":", 1) for line in _MEMINFO.read_text().splitlines())
        found.append(int(lines["MemAvailable"].split()[0]) * 1024)
    except (OSError, KeyError, ValueError):
        if "SC_AVPHYS_PAGES" in os.sysconf_names:
            found.append(os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    for folder, limit, used, cached in _CGROUPS:
        try:
            statistics = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
            taken = int((folder / used).read_text()) - int(statistics.get(cached, 0))
            found.append(int((folder / limit).read_text()) - taken)
        except (OSError, ValueError):  # no such group, or its limit is "max"
            continue
    return max(0, min(found)) if found else None


def check_memory(source_bytes: int, shown: str, where: str) -> None:
    """Raises SourceError where a source of so many bytes cannot be compiled in the memory that is left."""
    needed, available = BASE_BYTES + PEAK_FACTOR * source_bytes, available_bytes()
    if available is not None and needed > available:
        what = (
            f"{shown!r} holds {_shown(source_bytes)}: compiling it takes about {_shown(needed)} of memory, and {_shown(available)} is free"
        )
        fix = "free some memory, or compile it on a larger machine and name the release by its digest"
        raise SourceError([Problem(where, what, "a model that fits", fix)])


def _shown(size_bytes: int) -> str:
    return f"{size_bytes / 1e9:.1f} GB"
