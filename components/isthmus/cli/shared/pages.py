"""Where a command writes a page to."""

from pathlib import Path

from isthmus.errors import InputError, IsthmusError, Problem


def check_page(page: Path) -> None:
    """Before the work and not after it. Raises InputError where the place cannot be."""
    if page.is_dir() or not page.absolute().parent.is_dir():
        what = "is a folder" if page.is_dir() else "lies in a folder that is not there"
        raise InputError([Problem("--html", f"{str(page)!r} {what}", "a file to write the page to")])


def write_page(page: Path, text: str) -> None:
    """Raises IsthmusError where it cannot be written."""
    try:
        page.write_bytes(text.encode(errors="replace"))  # a name may hold what is no character
    except OSError as error:
        raise IsthmusError(f"--html: {str(page)!r} cannot be written: {error.strerror or error}") from error
