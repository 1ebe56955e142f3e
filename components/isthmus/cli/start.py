"""The `isthmus` command as it is installed. Without the extra `cli` there is nothing that it could be made of, and it says so."""

import sys
from typing import Final

_OF_EXTRA: Final = ("typer", "rich")


def main() -> None:
    """Runs the command."""
    try:
        from isthmus.cli.main import main as run
    except ModuleNotFoundError as error:
        if error.name not in _OF_EXTRA:
            raise
        sys.exit(f"isthmus: error: the command needs {error.name}, which is not installed. Fix: pip install 'isthmus[cli]'")
    run()
