"""What the handlers of folders from which model servers load have in common: whose a folder is, and what goes wrong on its disk."""

import errno
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from isthmus.errors import PlatformError, Problem, ResourceFullError
from isthmus.plugin.handler import Context, HandlerBase, Values
from isthmus.plugin.values import UNKNOWN
from isthmus.provider.handlers.releases import digest_problems
from isthmus.provider.local import marks

MAKING_NAME: Final = ".making"
"""The file that says which stack, and which making of the resource, laid a folder out."""
_WHAT: Final = "a model"


class ModelFolderBase(HandlerBase):
    """Of a folder with a release: inputs `directory`, which is its id, and `digest`."""

    def check(self, inputs: Values, old_inputs: Values, context: Context) -> Sequence[Problem]:
        directory, found = inputs["directory"], [*digest_problems(inputs)]
        if directory is not UNKNOWN and not os.path.isabs(directory):
            found.append(Problem("directory", f"is {directory!r}", "an absolute path"))
        elif directory is not UNKNOWN:
            found += marks.problems(_mark(directory), _WHAT, old_inputs, context)
        return found

    def mark(self, id: str, inputs: Values, context: Context) -> None:
        marks.leave(_mark(id), context)

    def marked(self, id: str, state: Values, context: Context) -> str:
        return marks.making(_mark(id))


def foreign(directory: str | Path, context: Context) -> str:
    """Whose a folder is, in words, where it is not this stack's; else empty."""
    return marks.foreign(_mark(directory), _WHAT, context)


def refuse_foreign(directory: str | Path, context: Context) -> None:
    """Raises PlatformError where a folder is another stack's."""
    if whose := foreign(directory, context):
        raise PlatformError(f"{whose}; choose another folder")


@contextmanager
def writing(directory: Path) -> Iterator[None]:
    """While files are written. Raises ResourceFullError, PlatformError in place of what the disk says."""
    try:
        yield
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise ResourceFullError(f"no space left on the disk for {directory}; free some and try again") from error
        raise PlatformError(f"cannot write {error.filename or directory}: {error.strerror}") from error


def _mark(directory: str | Path) -> Path:
    return Path(directory) / MAKING_NAME
