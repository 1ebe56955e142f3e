"""`runtime.options`, as the official language host understands them."""

from pathlib import Path
from typing import Any

import pytest
from toolchain.language_host.options import OptionError, parse


def test_without_options_a_program_uses_pip_and_the_ambient_python(tmp_path: Path) -> None:
    options = parse(str(tmp_path), str(tmp_path), {})
    assert (options.toolchain, options.virtualenv, options.typechecker) == ("pip", "", "")


def test_a_plugin_has_an_environment_of_its_own(tmp_path: Path) -> None:
    assert parse(str(tmp_path), str(tmp_path), {}, is_plugin=True).virtualenv == "venv"
    assert parse(str(tmp_path), str(tmp_path), {"virtualenv": "other"}, is_plugin=True).virtualenv == "other"
    assert parse(str(tmp_path), str(tmp_path), {"toolchain": "uv"}, is_plugin=True).virtualenv == ""


def test_a_lock_file_of_uv_means_uv(tmp_path: Path) -> None:
    program = tmp_path / "a" / "b"
    program.mkdir(parents=True)
    (tmp_path / "uv.lock").touch()
    assert parse(str(tmp_path), str(program), {}).toolchain == "uv"
    assert parse(str(tmp_path), str(program), {"toolchain": "pip"}).toolchain == "pip"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"toolchain": "poetry"}, "the official one"),
        ({"toolchain": 3}, "toolchain option must be a string"),
        ({"virtualenv": True}, "virtualenv option must be a string"),
        ({"typechecker": "lint"}, "unsupported typechecker option: lint"),
    ],
)
def test_an_option_that_is_not_supported_is_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        parse("/", "/", options)
