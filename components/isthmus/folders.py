"""Where the user's cache lies: the one rule for it, which the package and the repository's toolchain share.

Standard library alone, and nothing of this package but its errors: the toolchain reads it with the system's Python, before there is an
environment.
"""

import os
from collections.abc import Mapping
from pathlib import Path

from isthmus.errors import InputError, Problem

CACHE_VARIABLE = "ISTHMUS_CACHE_DIR"
SHARED_CACHE_VARIABLE = "ISTHMUS_SHARED_CACHE"
"""Names a bucket that several machines share their releases in."""
_XDG_VARIABLE = "XDG_CACHE_HOME"
_NAME = "isthmus"


def cache_folder(environ: Mapping[str, str] | None = None, base: Path | None = None) -> Path:
    """The folder for what can be made or fetched again; of the user's, so that all their projects share it. It need not exist.

    It is what ISTHMUS_CACHE_DIR names, else `isthmus` in XDG_CACHE_HOME, else `~/.cache/isthmus`.

    Args:
        environ: the variables; None: those of this process.
        base: what a relative ISTHMUS_CACHE_DIR counts from; None: the working directory. (A relative XDG_CACHE_HOME counts as none, as
            its standard says.)

    Raises:
        InputError: no variable says where, and this user has no home folder.
    """
    environ = os.environ if environ is None else environ
    if named := environ.get(CACHE_VARIABLE):
        return Path(os.path.normpath((base or Path.cwd()) / _expanded(named, environ)))
    caches = environ.get(_XDG_VARIABLE, "")
    return Path(caches) / _NAME if os.path.isabs(caches) else _expanded("~/.cache", environ) / _NAME


def _expanded(path: str, environ: Mapping[str, str]) -> Path:
    if path == "~" or path.startswith("~/"):
        home = environ.get("HOME", "")
        path = home + path[1:] if os.path.isabs(home) else path
    try:
        return Path(path).expanduser()
    except RuntimeError:
        what = f"the folder {path} is wanted for the cache, and this user has no home folder"
        problem = Problem(CACHE_VARIABLE, what, "a folder that can be written to", f"export {CACHE_VARIABLE}=/some/folder")
        raise InputError([problem]) from None
