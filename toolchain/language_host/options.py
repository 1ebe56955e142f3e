"""What a project asks of its language host: `runtime.options` of Pulumi.yaml, PulumiPlugin.yaml or PulumiPolicy.yaml."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

TOOLCHAINS = ("pip", "uv")
TYPECHECKERS = ("mypy", "pyright")


class OptionError(Exception):
    """An option has a value that this host cannot honour; the text is for the user."""


@dataclass(frozen=True)
class Options:
    """root: folder of the project file. program: folder of the program. virtualenv: as written, empty if unset.

    toolchain: `pip` or `uv`. typechecker: `mypy`, `pyright` or empty.
    """

    root: Path
    program: Path
    virtualenv: str
    toolchain: str
    typechecker: str


def _text(options: Mapping[str, Any], name: str) -> str:
    value = options.get(name, "")
    if not isinstance(value, str):
        raise OptionError(f"{name} option must be a string")
    return value


def _search_up(folder: Path, name: str) -> Path | None:
    return next((place for place in (folder, *folder.parents) if (place / name).is_file()), None)


def parse(root: str, program: str, options: Mapping[str, Any], *, is_plugin: bool = False) -> Options:
    """Checked options, with the official host's defaults.

    Without `toolchain`, a `uv.lock` in the program's folder or above it means uv, and anything else pip. A plugin under
    pip always has an environment of its own, `venv` unless it names another.

    Raises:
        OptionError: an option has the wrong type or a value that is not supported.
    """
    virtualenv, typechecker, toolchain = (_text(options, name) for name in ("virtualenv", "typechecker", "toolchain"))
    if typechecker and typechecker not in TYPECHECKERS:
        raise OptionError(f"unsupported typechecker option: {typechecker}")
    if toolchain and toolchain not in TOOLCHAINS:
        raise OptionError(
            f"unsupported toolchain option: {toolchain}; this language host supports {' and '.join(TOOLCHAINS)}, "
            "the official one, which comes with the Pulumi CLI, supports more"
        )
    folder = Path(program)
    if is_plugin and toolchain in ("", "pip"):
        virtualenv = virtualenv or "venv"
    if not toolchain:
        toolchain = "uv" if _search_up(folder, "uv.lock") else "pip"
    return Options(Path(root), folder, virtualenv, toolchain, typechecker)


def project_folder(program: Path) -> Path | None:
    """The nearest folder, from the program's upwards, with a `uv.lock`, or else with a `pyproject.toml`."""
    return _search_up(program, "uv.lock") or _search_up(program, "pyproject.toml")
