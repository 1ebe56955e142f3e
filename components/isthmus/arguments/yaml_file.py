"""A YAML file that a user wrote."""

from pathlib import Path
from typing import Any

import yaml

from isthmus.errors import InputError, Problem


def read_yaml(text: str, base_directory: Path, path: str, what: str, expected: str) -> Any:
    """What stands in the file, unchecked.

    Args:
        text: the file's name, as the user gave it; from the base directory, unless it is absolute.
        path: property path of the name.
        what: the file is, for messages: `fleet file`.
        expected: what would be right, for messages.

    Raises:
        InputError: no such file, or not YAML.
    """
    try:
        return yaml.safe_load((base_directory / text).read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError([Problem(path, f"cannot read {what} {text!r}: {error.strerror}", expected)]) from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # ValueError: a date that is none
        mark = getattr(error, "problem_mark", None)
        line = f" (line {mark.line + 1})" if mark else ""
        raise InputError([Problem(path, f"{what} {text!r} is not YAML{line}", expected)]) from error
