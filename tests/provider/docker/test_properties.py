"""Whose a folder on a host is, as the shell there finds it out."""

import subprocess
from pathlib import Path

import pytest

from isthmus.provider.docker.properties import STACK_FILE, claim_script, own_script

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
