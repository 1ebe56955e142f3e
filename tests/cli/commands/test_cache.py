"""`isthmus cache`: the list, and making room."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from isthmus.folders import CACHE_VARIABLE
from isthmus.release.cache import ReleaseCache, default_cache_directory
from isthmus.release.manifest import (
    EDGE,
    GOLDEN_NAME,
    MANIFEST_NAME,
    RECORD_NAME,
    SERVING,
    FileEntry,
    Manifest,
    Record,
    TensorSpec,
    Timing,
    Variant,
)

# Fills a cache and ends, so that nothing of it is in use.
FILL = """
import sys
from pathlib import Path
from isthmus.release.cache import ReleaseCache
print(ReleaseCache(Path(sys.argv[1])).publish(Path(sys.argv[2])).digest)
"""


def _isthmus(*words: str) -> "subprocess.CompletedProcess[str]":
    environment = {**os.environ, "COLUMNS": "100"}
    return subprocess.run(
        [sys.executable, "-m", "isthmus.cli.main", *words], capture_output=True, text=True, timeout=60, check=False, env=environment
    )


@pytest.fixture
def filled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Digests of two releases of 1 MB, by model; `old` was used last on the first day of 1970."""
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    cache = ReleaseCache(default_cache_directory())
    spec, timing = (TensorSpec("x", "float32", (-1, 4)),), Timing(1.0, 1.0, 1.0, 10)
    digests = {}
    for model, recipe in (("old", "int8"), ("new", "prune:80%+int8")):
        folder = tmp_path / model
        files = {}
        for name, content in {"serving/1/saved_model.pb": b"s", "edge/model.tflite": b"e" * 1_000_000, GOLDEN_NAME: b"{}"}.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)
            files[name] = FileEntry(name, len(content), hashlib.sha256(content).hexdigest())
        variants = (
            Variant(SERVING, "float32", (files["serving/1/saved_model.pb"],), None, 0.0),
            Variant(EDGE, recipe, (files["edge/model.tflite"],), None, 0.0),
        )
        manifest = Manifest(model, 1, recipe, "serving_default", spec, spec, variants, files[GOLDEN_NAME], 0.1, None, 0, ())
        (folder / MANIFEST_NAME).write_bytes(manifest.to_bytes())
        (folder / RECORD_NAME).write_bytes(Record("any", "2026-01-01T00:00:00+00:00", timing, timing).to_bytes())
        command = [sys.executable, "-c", FILL, str(cache.directory), str(folder)]
        digests[model] = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout.strip()
    os.utime(cache.directory / "entries" / digests["old"].removeprefix("sha256:"), (0, 0))
    return digests


def _short(digest: str) -> str:
    return digest.removeprefix("sha256:")[:12]


def test_ls_shows_every_release_with_size_and_last_use(filled: dict[str, str]) -> None:
    done = _isthmus("cache", "ls")
    assert done.returncode == 0, done.stderr
    rows = done.stdout.splitlines()
    assert rows[0].split() == ["digest", "model", "recipe", "size", "last", "used"]
    assert rows[1].split()[:4] == [_short(filled["new"]), "new", "prune:80%+int8", "1.002"]
    assert rows[2].split()[:3] == [_short(filled["old"]), "old", "int8"]
    assert "1970-01-01" in rows[2] or "1969-12-31" in rows[2]
    assert rows[3].startswith("2 releases, 2.0")


def test_ls_of_an_empty_cache_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    assert _isthmus("cache", "ls").stdout == f"0 releases, 0 bytes in {tmp_path}/cache/releases\n"
    assert list(tmp_path.iterdir()) == []


def test_gc_removes_what_was_not_used_for_longest_and_a_dry_run_only_says_so(filled: dict[str, str]) -> None:
    dry = _isthmus("cache", "gc", "--max-size", "1.5MB", "--dry-run")
    assert dry.returncode == 0, dry.stderr
    assert _short(filled["old"]) in dry.stdout
    assert _short(filled["new"]) not in dry.stdout
    assert dry.stdout.splitlines()[-1].startswith("would remove 1 release, 1.00")
    assert "2 releases" in _isthmus("cache", "ls").stdout
    done = _isthmus("cache", "gc", "--max-size", "1.5MB")
    assert done.stdout.splitlines()[-1].startswith("removed 1 release, 1.00")
    left = _isthmus("cache", "ls").stdout
    assert _short(filled["new"]) in left
    assert _short(filled["old"]) not in left


def test_gc_leaves_what_is_in_use_and_says_so(filled: dict[str, str]) -> None:
    release = ReleaseCache(default_cache_directory()).find(filled["old"])
    assert release is not None
    done = _isthmus("cache", "gc", "--max-size", "0")
    assert "1 release (1.00" in done.stdout
    assert "in use stay" in done.stdout
    assert "in use" in _isthmus("cache", "ls").stdout


def test_what_is_no_size_is_one_message(filled: dict[str, str]) -> None:
    done = _isthmus("cache", "gc", "--max-size", "plenty")
    assert done.returncode == 1
    assert "--max-size: 'plenty' is not a size; expected a number and a unit" in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr
