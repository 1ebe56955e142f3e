"""Making room in the user's cache."""

import os
from pathlib import Path

import pytest
from toolchain.prepare import go
from toolchain.prepare.layout import Layout
from toolchain.prepare.prune import DAY_SECONDS, UNUSED_DAYS, prune
from toolchain.prepare.steps import touch

NOW = 1e9
PLACES = ("engine/a", "cluster/a", "debian/a", "checkov/a", "go/compilers/a", "go/modules", "go/objects")


def entry(layout: Layout, place: str, days: float) -> Path:
    folder = layout.cache / place
    (folder / "deep").mkdir(parents=True)
    (folder / "deep" / "file").write_bytes(b"x" * 2_000_000)
    os.utime(folder, (NOW - days * DAY_SECONDS,) * 2)
    return folder


def test_what_was_unused_for_long_goes_and_the_rest_stays(layout: Layout, capsys: pytest.CaptureFixture[str]) -> None:
    old = [entry(layout, place, UNUSED_DAYS + 1) for place in PLACES]
    used = [entry(layout, f"{place}-used", UNUSED_DAYS - 1) for place in PLACES]
    others = [entry(layout, place, UNUSED_DAYS + 1) for place in ("releases/entries", "images/a", "uv/archive", "engine-of-mine")]
    assert sorted(prune(layout, now=NOW)) == sorted(old)
    assert not any(folder.exists() for folder in old)
    assert all((folder / "deep" / "file").exists() for folder in used + others)
    assert "removing " in (said := capsys.readouterr().out)
    assert "(2 MB)" in said
    assert prune(layout, now=NOW) == []
    assert "nothing" in capsys.readouterr().out


def test_what_is_used_again_counts_as_used(layout: Layout) -> None:
    folder = entry(layout, "engine/a", 0)
    os.utime(folder, (0, 0))
    touch(folder)
    assert prune(layout) == []


def test_an_empty_cache_is_fine(layout: Layout) -> None:
    assert prune(layout) == []
    assert not layout.cache.exists()


def test_a_build_marks_the_modules_and_objects_that_it_uses(layout: Layout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compiler = tmp_path / "bin" / "go"
    compiler.parent.mkdir()
    compiler.write_text('#!/bin/sh\ncase "$*" in *GOVERSION) echo go1.26.6 ;; esac\n')
    compiler.chmod(0o755)
    monkeypatch.setenv("PATH", f"{compiler.parent}:/usr/bin:/bin")
    go._version.cache_clear()
    source = tmp_path / "source"
    source.mkdir()
    (source / "go.mod").write_text("module example.test/small\n\ngo 1.26.0\n")
    folders = [entry(layout, place, 0) for place in ("go/modules", "go/objects")]
    for folder in folders:
        os.utime(folder, (0, 0))
    go.provide(layout, "small", go.Commands(source, (".",), "nothing"))
    assert prune(layout) == []
