"""Where a command writes a page to."""

from pathlib import Path

from isthmus.errors import InputError, IsthmusError, Problem


def check_page(page: Path, option: str = "--html") -> None:
    """Before the work and not after it. Raises InputError where the place cannot be."""
    if page.is_dir() or not page.absolute().parent.is_dir():
        what = "is a folder" if page.is_dir() else "lies in a folder that is not there"
        raise InputError([Problem(option, f"{str(page)!r} {what}", "a file to write to")])


def write_page(page: Path, text: str, option: str = "--html") -> None:
    """Raises IsthmusError where it cannot be written."""
    try:
        page.write_bytes(text.encode(errors="replace"))  # a name may hold what is no character
    except OSError as error:
        raise IsthmusError(f"{option}: {str(page)!r} cannot be written: {error.strerror or error}") from error
