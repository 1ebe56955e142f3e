"""The Isthmus plugin, as a process."""

import sys
from collections.abc import Sequence
from importlib import metadata

from isthmus.names import PACKAGE
from isthmus.plugin import process
from isthmus.plugin.servicer import Servicer
from isthmus.provider.registry import HANDLERS

_VERSION_WITHOUT_METADATA = "0.1.0"


def main(arguments: Sequence[str] | None = None) -> None:
    """Serves the plugin. arguments: as the engine gives them, without the program's name; without any, of the command line."""
    given = sys.argv[1:] if arguments is None else arguments
    process.run("The Isthmus plugin for Pulumi.", lambda engine: Servicer(PACKAGE, version(), HANDLERS, engine), given)


def version() -> str:
    """The package's version, semver."""
    try:
        return metadata.version(PACKAGE)
    except metadata.PackageNotFoundError:  # run from its folder, without having been installed
        return _VERSION_WITHOUT_METADATA
