"""What a warm preview spends on content: `python benchmarks/hashing.py [--runs N] [--megabytes M]`.

A warm preview hashes the source, for the cache's key, and checks the release that the key leads to. Both are timed on a
file of M MB, in turns with one plain sha256 pass over the same bytes in memory: the least that one core can do.
"""

import argparse
import hashlib
import os
import statistics
import tempfile
import time
import zipfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.table import Table

from isthmus.compile.key import compile_key, resolve
from isthmus.compile.request import CompileRequest
from isthmus.release.cache import ReleaseCache
from isthmus.release.manifest import EDGE, FileEntry, Manifest, Record, Timing, Variant


def seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def source(folder: Path, content: bytes) -> CompileRequest:
    """A .keras file of that many weights, as far as hashing can tell."""
    with zipfile.ZipFile(folder / "model.keras", "w") as archive:
        archive.writestr("config.json", "{}")
        archive.writestr("model.weights.h5", content)
    return CompileRequest("large", str(folder / "model.keras"), "int8", base_directory=folder)


def release(folder: Path, content: bytes) -> Callable[[], object]:
    """A look-up of a release that holds the content."""
    cache = ReleaseCache(folder / "cache")

    def entry(path: str, data: bytes) -> FileEntry:
        return FileEntry(path, len(data), hashlib.sha256(data).hexdigest())

    files = {"edge/model.tflite": content, "golden.json": b"{}"}
    variant = Variant(EDGE, "int8", (entry("edge/model.tflite", content),), None, 0.0)
    golden = entry("golden.json", b"{}")
    manifest = Manifest("large", 1, "int8", "serving_default", (), (), (variant,), golden, 0.0, None, 0, ())
    timing = Timing(1.0, 1.0, 1.0, 1)
    with cache.work_directory() as work:
        made = work / "release"
        (made / "edge").mkdir(parents=True)
        for path, data in files.items():
            (made / path).write_bytes(data)
        (made / "manifest.json").write_bytes(manifest.to_bytes())
        (made / "record.json").write_bytes(Record("any", "2026-01-01T00:00:00Z", timing, timing).to_bytes())
        cache.publish(made, "key")
    return lambda: cache.get("key")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=9)
    parser.add_argument("--megabytes", type=int, default=100)
    options = parser.parse_args()
    content = os.urandom(options.megabytes * 1_000_000)
    with tempfile.TemporaryDirectory() as scratch:
        request = source(Path(scratch), content)
        measured: dict[str, Callable[[], object]] = {
            "sha256, one core, in memory": lambda: hashlib.sha256(content).digest(),
            "key of a source": lambda: compile_key(request, resolve(request)),
            "check of a release": release(Path(scratch), content),
        }
        found: dict[str, list[float]] = {name: [] for name in measured}
        for _ in range(options.runs):
            for name, work in measured.items():
                found[name].append(seconds(work))
    (plain, *_) = found.values()
    table = Table("what", "min ms", "median ms", "max ms", "ratio", title=f"{datetime.now(UTC).date()}, {options.megabytes} MB")
    for name, figures in found.items():
        shown = [f"{figure * 1000:.0f}" for figure in (min(figures), statistics.median(figures), max(figures))]
        table.add_row(name, *shown, f"{statistics.median(figures) / statistics.median(plain):.2f}")
    Console().print(table)


if __name__ == "__main__":
    main()
