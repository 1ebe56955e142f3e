"""Where the user's cache lies: one rule, for the package and for the toolchain."""

import pwd
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isthmus.errors import InputError
from isthmus.folders import CACHE_VARIABLE, cache_folder

REPOSITORY = Path(__file__).parents[1]


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"HOME": "/h"}, "/h/.cache/isthmus"),
        ({"HOME": "/h", "XDG_CACHE_HOME": ""}, "/h/.cache/isthmus"),
        ({"HOME": "/h", "XDG_CACHE_HOME": "/x"}, "/x/isthmus"),
        ({"HOME": "/h", "XDG_CACHE_HOME": "relative"}, "/h/.cache/isthmus"),
        ({"HOME": "/h", "XDG_CACHE_HOME": "/x", CACHE_VARIABLE: "/c"}, "/c"),
        ({"HOME": "/h", CACHE_VARIABLE: ""}, "/h/.cache/isthmus"),
        ({"HOME": "/h", CACHE_VARIABLE: "~/c"}, "/h/c"),
        ({"HOME": "/h", CACHE_VARIABLE: "near"}, "/p/near"),
        ({"HOME": "/h", CACHE_VARIABLE: "../beside"}, "/beside"),
    ],
    ids=str,
)
def test_a_variable_of_our_own_counts_before_the_desktops_and_that_before_the_home_folder(environ: dict[str, str], expected: str) -> None:
    assert cache_folder(environ, Path("/p")) == Path(expected)


@given(st.dictionaries(st.sampled_from(["HOME", "XDG_CACHE_HOME", CACHE_VARIABLE]), st.sampled_from(["", "a", "/a", "~", "~/a", "./a/.."])))
def test_it_is_absolute_whatever_is_set(environ: dict[str, str]) -> None:
    assert cache_folder(environ).is_absolute()


def test_without_a_home_folder_one_line_says_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody(_uid: int) -> None:
        raise KeyError("no such user")

    monkeypatch.setattr(pwd, "getpwuid", nobody)
    monkeypatch.delenv("HOME")
    with pytest.raises(InputError, match=f"^{CACHE_VARIABLE}: .*no home folder.*export {CACHE_VARIABLE}=") as caught:
        cache_folder({})
    assert "\n" not in str(caught.value)
    assert cache_folder({CACHE_VARIABLE: "/c"}) == Path("/c")


def test_the_toolchain_reads_the_same_rule_before_any_package_is_installed() -> None:
    code = (
        "import sys; from pathlib import Path; from toolchain.prepare.layout import load; from isthmus import folders; "
        "environ = {'XDG_CACHE_HOME': '/x'}; print(load(Path('/p'), environ).cache == folders.cache_folder(environ) == Path('/x/isthmus'))"
    )
    # -I -S: the standard library, and nothing that was installed.
    command = [sys.executable, "-I", "-S", "-c", f"import sys; sys.path.insert(0, {str(REPOSITORY)!r}); {code}"]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "True\n"
