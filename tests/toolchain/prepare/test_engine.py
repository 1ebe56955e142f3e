"""How the chosen engine is fetched, kept and put into place."""

import os
import shutil
import threading
from pathlib import Path

import pytest
from toolchain.prepare import build, download, engine
from toolchain.prepare.layout import Layout
from toolchain.prepare.steps import PrepareError

HOST = "pulumi-language-python"


@pytest.fixture(autouse=True)
def bare_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """No engine on PATH, no network, and a compiler that must not run."""
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    monkeypatch.delenv(engine.FORCE, raising=False)
    monkeypatch.setattr(download, "reachable", lambda: False)

    def refuse(*_: object) -> None:
        raise AssertionError("not expected to run")

    monkeypatch.setattr(build, "build", refuse)
    monkeypatch.setattr(download, "download", refuse)


def put(file: Path, version: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"#!/bin/sh\necho v{version}\n")
    file.chmod(0o755)


def builds(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Lets builds succeed; returns the list of their targets."""
    targets: list[Path] = []

    def make(_layout: Layout, target: Path) -> None:
        targets.append(target)
        put(target / "pulumi", "3.259.0")

    monkeypatch.setattr(build, "build", make)
    return targets


def official(folder: Path, monkeypatch: pytest.MonkeyPatch, version: str = "3.300.0") -> Path:
    put(folder / "pulumi", version)
    put(folder / HOST, version)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    return folder


def test_an_official_engine_on_path_is_used_as_it_is(layout: Layout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = official(tmp_path / "bin", monkeypatch)
    record = engine.prepare(layout)
    assert (record.source, record.version, record.engine) == ("path", "3.300.0", str(folder / "pulumi"))
    assert not layout.binaries.exists()
    assert not layout.cache.exists()


def test_without_any_the_engine_is_built_and_gets_its_language_host(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    targets = builds(monkeypatch)
    record = engine.prepare(layout)
    assert record.source == "build"
    assert len(targets) == 1
    assert os.access(layout.binaries / "pulumi", os.X_OK)
    assert (layout.binaries / HOST).read_bytes() == (layout.project / "toolchain" / "language_host" / HOST).read_bytes()
    assert not (layout.binaries / "pulumi").is_symlink()


def test_it_is_built_once_for_all_clones_that_share_a_cache(layout: Layout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    targets = builds(monkeypatch)
    engine.prepare(layout)
    engine.prepare(layout)
    second = Layout(tmp_path / "second", layout.cache)
    shutil.copytree(layout.project / "toolchain", second.project / "toolchain")
    engine.prepare(second)
    assert len(targets) == 1
    assert (second.binaries / "pulumi").is_file()


@pytest.mark.parametrize("name", ["go.mod", "go.sum", "tools.go"])
def test_another_pinned_module_is_built_anew(layout: Layout, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    targets = builds(monkeypatch)
    engine.prepare(layout)
    with (build.engine(layout).source / name).open("a") as stream:
        stream.write("\n// changed\n")
    engine.prepare(layout)
    assert len(set(targets)) == 2


def test_a_build_that_fails_leaves_no_engine(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_layout: Layout, _target: Path) -> None:
        raise PrepareError("building the engine failed")

    monkeypatch.setattr(build, "build", broken)
    with pytest.raises(PrepareError, match="building the engine failed"):
        engine.prepare(layout)
    assert not (layout.binaries / "pulumi").exists()
    assert engine.read_record(layout) is None
    builds(monkeypatch)
    assert engine.prepare(layout).source == "build"


def test_where_the_official_site_answers_the_release_is_taken(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    def fetch(_version: object, target: Path) -> None:
        put(target / "pulumi", "3.259.0")
        put(target / HOST, "3.259.0")

    monkeypatch.setattr(download, "reachable", lambda: True)
    monkeypatch.setattr(download, "download", fetch)
    record = engine.prepare(layout)
    assert record.source == "download"
    assert "echo v3.259.0" in (layout.binaries / HOST).read_text()  # the official one, not ours


def test_a_release_that_cannot_be_verified_is_not_used(
    layout: Layout, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fetch(_version: object, _target: Path) -> None:
        raise PrepareError("the SHA-256 is another one")

    monkeypatch.setattr(download, "reachable", lambda: True)
    monkeypatch.setattr(download, "download", fetch)
    targets = builds(monkeypatch)
    assert engine.prepare(layout).source == "build"
    assert len(targets) == 1
    assert "the SHA-256 is another one; building it instead" in capsys.readouterr().out


def test_an_official_engine_that_appears_later_takes_over(layout: Layout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    builds(monkeypatch)
    assert engine.prepare(layout).source == "build"
    official(tmp_path / "bin", monkeypatch)
    assert engine.prepare(layout).source == "path"
    assert not layout.binaries.exists()


@pytest.mark.parametrize("loss", ["old", "host", "gone"])
def test_an_official_engine_that_becomes_unusable_is_replaced(
    layout: Layout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, loss: str
) -> None:
    folder = official(tmp_path / "bin", monkeypatch)
    assert engine.prepare(layout).source == "path"
    if loss == "old":
        put(folder / "pulumi", "3.10.0")
    else:
        (folder / {"host": HOST, "gone": "pulumi"}[loss]).unlink()
    builds(monkeypatch)
    assert engine.prepare(layout).source == "build"


def test_nothing_is_run_when_nothing_changed(layout: Layout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    official(tmp_path / "bin", monkeypatch)
    first = engine.prepare(layout)

    def refuse(*_: object, **__: object) -> str:
        raise AssertionError("a program was run")

    monkeypatch.setattr(engine, "output_of", refuse)
    assert engine.prepare(layout) == first


def test_a_source_can_be_insisted_on(layout: Layout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    official(tmp_path / "bin", monkeypatch)
    builds(monkeypatch)
    monkeypatch.setenv(engine.FORCE, "build")
    assert engine.prepare(layout).source == "build"
    monkeypatch.setenv(engine.FORCE, "nonsense")
    with pytest.raises(PrepareError, match="expected one of path, download, build"):
        engine.prepare(layout)
    monkeypatch.setenv(engine.FORCE, "path")
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    with pytest.raises(PrepareError, match="no pulumi on PATH"):
        engine.prepare(layout)


def test_two_clones_at_once_build_once(layout: Layout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    targets = builds(monkeypatch)
    second = Layout(tmp_path / "second", layout.cache)
    shutil.copytree(layout.project / "toolchain", second.project / "toolchain")
    threads = [threading.Thread(target=engine.prepare, args=(one,)) for one in (layout, second)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(targets) == 1
