"""Commands built from a pinned Go module, and what names them in the cache."""

import subprocess
import sys
from pathlib import Path

import pytest
from toolchain.cluster import build
from toolchain.prepare.build import compile_module
from toolchain.prepare.layout import Layout
from toolchain.prepare.steps import PrepareError

COMMAND = 'package main\n\nvar version = "?"\n\nfunc main() { println("{name}", version) }\n'


def module(folder: Path, **commands: str) -> Path:
    for name, text in commands.items():
        (folder / name).mkdir(parents=True)
        (folder / name / "main.go").write_text(text)
    (folder / "go.mod").write_text("module example.test/small\n\ngo 1.26.0\n")
    return folder


@pytest.mark.timeout(600)
def test_all_commands_of_a_module_are_built_at_once_and_only_they_are_left(layout: Layout, tmp_path: Path) -> None:
    source = module(tmp_path / "source", **{name: COMMAND.replace("{name}", name) for name in ("one", "two")})
    target = layout.cache / "small" / "bin"
    layout.venv.symlink_to(sys.prefix)  # its uv fetches a compiler where the machine has none
    compile_module(layout, source, ["./one", "./two"], target, what="two commands", flags="-X main.version=7")
    said = [subprocess.run([target / name], capture_output=True, text=True, check=True).stderr for name in ("one", "two")]
    assert said == ["one 7\n", "two 7\n"]
    assert sorted(path.name for path in target.parent.iterdir()) == ["bin"]


def test_a_build_that_fails_says_why_and_leaves_what_was_there(layout: Layout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compiler = tmp_path / "go"
    compiler.write_text('#!/bin/sh\ncase "$*" in *list*) ;; *) echo "main.go:3: undefined: broken" >&2; exit 1 ;; esac\n')
    compiler.chmod(0o755)
    monkeypatch.setattr("toolchain.prepare.build.go_compiler", lambda *_: compiler)
    target = layout.cache / "small" / "bin"
    target.mkdir(parents=True)
    (target / "one").touch()
    with pytest.raises(PrepareError, match=r"building two commands failed .*undefined: broken"):
        compile_module(layout, tmp_path, ["./one"], target, what="two commands")
    assert [path.name for path in target.parent.rglob("*")] == ["bin", "one"]


@pytest.mark.parametrize("name", build.INPUTS)
def test_the_programs_are_built_anew_when_a_file_of_theirs_changes(layout: Layout, name: str) -> None:
    before = build.key(layout)
    with (layout.project / build.SOURCE / name).open("a") as stream:
        stream.write("\n")
    assert build.key(layout) != before


def test_every_program_is_one_that_the_source_knows(layout: Layout) -> None:
    source = (layout.project / build.SOURCE / "programs" / "main.go").read_text()
    assert all(f'"{name}"' in source for name in build.PROGRAMS)
