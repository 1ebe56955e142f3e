"""Which engine is used, for everything that can be found on a machine."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from toolchain.prepare import choice
from toolchain.prepare.choice import Candidate

MINIMUM = (3, 259, 0)
GOOD = Candidate(Path("/opt/pulumi"), MINIMUM, Path("/opt/pulumi-language-python"))
BROKEN = {
    "no engine": None,
    "an old engine": Candidate(GOOD.engine, (3, 258, 9), GOOD.language_host),
    "an engine without a version": Candidate(GOOD.engine, None, GOOD.language_host),
    "an engine without a language host": Candidate(GOOD.engine, MINIMUM, None),
}


def never() -> bool:
    raise AssertionError("the network was asked although the answer does not matter")


def executable(file: Path) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("#!/bin/sh\n")
    file.chmod(0o755)
    return file


def test_a_good_engine_on_path_is_used_without_asking_the_network() -> None:
    assert choice.choose(GOOD, MINIMUM, installed="", reachable=never) == "path"
    assert choice.choose(GOOD, MINIMUM, installed="build", reachable=never) == "path"


@pytest.mark.parametrize("version", [(3, 259, 1), (3, 300, 0), (4, 0, 0)])
def test_a_newer_engine_on_path_is_used(version: tuple[int, ...]) -> None:
    assert choice.choose(Candidate(GOOD.engine, version, GOOD.language_host), MINIMUM, installed="", reachable=never) == "path"


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_engine_on_path_is_refused_with_a_reason(name: str) -> None:
    assert choice.objection(GOOD, MINIMUM) == ""
    assert choice.objection(BROKEN[name], MINIMUM)
    assert choice.choose(BROKEN[name], MINIMUM, installed="", reachable=lambda: True) == "download"
    assert choice.choose(BROKEN[name], MINIMUM, installed="", reachable=lambda: False) == "build"
    assert choice.choose(BROKEN[name], MINIMUM, installed="build", reachable=never) == "installed"


@pytest.mark.parametrize("source", choice.SOURCES)
def test_a_source_that_the_user_insists_on_wins(source: str) -> None:
    assert choice.choose(GOOD, MINIMUM, installed="", reachable=never, forced=source) == source
    assert choice.choose(None, MINIMUM, installed=source, reachable=never, forced=source) == "installed"


@given(st.tuples(st.integers(0, 999), st.integers(0, 999), st.integers(0, 999)), st.sampled_from(["", "v", "go version go", "pulumi v"]))
def test_a_version_is_read_from_what_tools_print(version: tuple[int, int, int], before: str) -> None:
    text = ".".join(map(str, version))
    assert choice.parse_version(f"{before}{text}") == version
    assert choice.parse_version(f"{before}{text}-rc.1+meta\n") == version


@pytest.mark.parametrize("text", ["", "devel", "unknown command"])
def test_a_text_without_a_version_has_none(text: str) -> None:
    assert choice.parse_version(text) is None


def test_two_numbers_are_a_version_too() -> None:
    assert choice.parse_version("go1.27") == (1, 27, 0)


def test_the_projects_own_engine_is_not_taken_for_one_on_path(tmp_path: Path) -> None:
    own = executable(tmp_path / "own" / "pulumi")
    other = executable(tmp_path / "other" / "pulumi")
    path = os.pathsep.join([str(own.parent), "", "relative", str(other.parent)])
    assert choice.find("pulumi", choice.search_path(path, tmp_path / "nowhere")) == own
    assert choice.find("pulumi", choice.search_path(path, own.parent)) == other


def test_the_projects_own_folder_is_known_through_a_link(tmp_path: Path) -> None:
    own = executable(tmp_path / "own" / "pulumi")
    (tmp_path / "link").symlink_to(own.parent)
    assert choice.search_path(str(tmp_path / "link"), own.parent) == []


def test_a_file_that_cannot_be_run_is_no_engine(tmp_path: Path) -> None:
    file = executable(tmp_path / "pulumi")
    assert choice.find("pulumi", [tmp_path]) == file
    file.chmod(0o644)
    assert choice.find("pulumi", [tmp_path]) is None


def test_a_language_host_is_found_beside_the_engines_real_file(tmp_path: Path) -> None:
    real = executable(tmp_path / "real" / "pulumi")
    link = tmp_path / "bin" / "pulumi"
    link.parent.mkdir()
    link.symlink_to(real)
    assert choice.find_language_host(link, [link.parent]) is None
    host = executable(real.parent / choice.LANGUAGE_HOST)
    assert choice.find_language_host(link, [link.parent]) == host


@pytest.mark.parametrize(("version", "usable"), [((1, 26, 0), True), ((1, 27, 3), True), ((1, 25, 9), False), (None, False)])
def test_a_go_compiler_that_is_too_old_is_refused(version: tuple[int, ...] | None, usable: bool) -> None:
    assert (choice.go_objection(version, (1, 26, 0)) == "") is usable


def test_the_needed_go_is_read_from_the_pinned_module(project: Path) -> None:
    assert choice.needed_go((project / "toolchain" / "engine" / "go.mod").read_text()) >= (1, 26, 0)
    with pytest.raises(ValueError, match="no go line"):
        choice.needed_go("module example\n")
