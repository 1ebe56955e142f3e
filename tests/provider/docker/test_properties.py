"""Whose a folder on a host is, as the shell there finds it out."""

import os
import subprocess
from pathlib import Path

import pytest

from isthmus.provider.docker.properties import STACK_FILE, claim_script, own_script
from isthmus.provider.handlers import docker_files

OURS, THEIRS = "acme/shop/dev", "acme/shop/it's $HOME"


def sh(script: str) -> tuple[int, str]:
    done = subprocess.run(["sh"], input=f"set -eu\n{script}\necho went on >&2\n", capture_output=True, text=True, timeout=30, check=False)
    return done.returncode, done.stderr.strip()


def content(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("name", ["digits", "a folder", "with'quote"])
def test_a_new_folder_becomes_the_stacks_and_stays_so(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "shop" / name
    for known in (False, False, True):
        assert sh(claim_script(str(folder), OURS, known=known)) == (0, "went on")
        assert content(folder) == {STACK_FILE: OURS}


@pytest.mark.parametrize("known", [False, True])
def test_a_folder_of_another_stack_is_refused_by_name_and_left_as_it_is(tmp_path: Path, known: bool) -> None:
    sh(claim_script(str(tmp_path), THEIRS, known=False))
    (tmp_path / "model").write_text("theirs")
    before = content(tmp_path)
    for script in (claim_script(str(tmp_path), OURS, known=known), own_script(str(tmp_path), [OURS, "acme/shop/old"])):
        assert sh(script) == (1, f"the folder belongs to {THEIRS}")
    assert content(tmp_path) == before
    assert sh(own_script(str(tmp_path), [OURS, THEIRS])) == (0, "went on")


def test_a_folder_that_says_nothing_is_the_stacks_where_its_state_has_it_and_nobodys_else(tmp_path: Path) -> None:
    (tmp_path / "model").write_text("somebody's")
    assert sh(claim_script(str(tmp_path), OURS, known=False)) == (1, "the folder holds something else already")
    assert content(tmp_path) == {"model": "somebody's"}
    assert sh(own_script(str(tmp_path), [OURS])) == (0, "went on")
    assert sh(claim_script(str(tmp_path), OURS, known=True)) == (0, "went on")
    assert content(tmp_path) == {"model": "somebody's", STACK_FILE: OURS}


def test_what_is_not_there_is_nobodys(tmp_path: Path) -> None:
    assert sh(own_script(str(tmp_path / "none"), [OURS])) == (0, "went on")


@pytest.mark.parametrize("left", [[STACK_FILE], [f"{STACK_FILE}.new"]])
def test_a_claim_that_was_killed_or_found_the_disk_full_is_made_by_the_next_update(tmp_path: Path, left: list[str]) -> None:
    for name in left:
        (tmp_path / name).touch()
    assert sh(claim_script(str(tmp_path), OURS, known=False)) == (0, "went on")
    assert content(tmp_path) == {STACK_FILE: OURS}


def test_a_folder_of_a_stack_that_was_renamed_gets_its_new_name(tmp_path: Path) -> None:
    sh(claim_script(str(tmp_path), THEIRS, known=False))
    (tmp_path / "model").write_text("theirs")
    assert sh(claim_script(str(tmp_path), OURS, known=True, former=[THEIRS, "acme/shop/old"])) == (0, "went on")
    assert content(tmp_path) == {"model": "theirs", STACK_FILE: OURS}


def test_files_that_are_not_wanted_any_more_do_not_stay(tmp_path: Path) -> None:
    given = tmp_path / "given"
    given.mkdir()

    def write(files: dict[str, str], gone: list[str]) -> dict[str, str]:
        for index, name in enumerate(sorted(files)):
            (given / str(index)).write_text(files[name])
        script = docker_files._write_script("gateway", sorted(files), gone, os.getgid(), "m")
        script = (
            script.replace("/isthmus-root", str(tmp_path)).replace("/isthmus/", f"{given}/").replace("chown 0:", f"chown {os.getuid()}:")
        )
        assert sh(script) == (0, "went on")
        return content(tmp_path / "gateway")

    assert write({"live/lds.json": "a", "tls/it's.pem": "key"}, []) == {"live/lds.json": "a", "tls/it's.pem": "key", ".making": "m"}
    assert write({"live/lds.json": "b"}, ["tls/it's.pem"]) == {"live/lds.json": "b", ".making": "m"}
