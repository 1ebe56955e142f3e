"""Where everything lies. The project folder and the user's cache are the only places written to."""

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

# Where the cache lies is the package's to say, which runs without this toolchain. It is not installed yet when this is read.
_COMPONENTS = str(Path(__file__).resolve().parents[2] / "components")
if _COMPONENTS not in sys.path:
    sys.path.append(_COMPONENTS)

from toolchain.prepare.steps import PrepareError  # noqa: E402

from isthmus.errors import InputError  # noqa: E402
from isthmus.folders import CACHE_VARIABLE, cache_folder  # noqa: E402

ENGINE_VERSION: tuple[int, ...] = (3, 259, 0)  # the one that toolchain/engine/go.mod and requirements.in pin
PYTHON_VERSIONS = ((3, 11), (3, 13))  # first and last with wheels for everything in requirements.txt


def version_text(version: tuple[int, ...]) -> str:
    """(3, 259, 0) → `3.259.0`."""
    return ".".join(map(str, version))


@dataclass(frozen=True)
class Layout:
    """The folders of one project. `cache` is the user's: all their projects share it, and it survives them."""

    project: Path
    cache: Path

    @property
    def venv(self) -> Path:
        """The Python environment that the program, the plugin and the tools run in."""
        return self.project / ".venv"

    @property
    def toolchain(self) -> Path:
        """The fall-back engine of this project, and what this package notes about its work."""
        return self.project / ".toolchain"

    @property
    def binaries(self) -> Path:
        """On PATH (see `activate`) if it holds an engine."""
        return self.toolchain / "bin"

    @property
    def data(self) -> Path:
        """Data of running stacks, and the passphrase."""
        return self.project / ".isthmus"

    @property
    def passphrase(self) -> Path:
        """Encrypts the secrets of stacks, unless the user has a passphrase of their own."""
        return self.data / "passphrase"

    @property
    def plugin_venv(self) -> Path:
        """Where any Pulumi language host looks for the environment of the plugin in `components/`."""
        return self.project / "components" / "venv"


def load(project: Path, environ: Mapping[str, str] = os.environ) -> Layout:
    """The layout of `project`. Raises PrepareError where there is no place for a cache (see `isthmus.folders`)."""
    try:
        return Layout(project, cache_folder(environ, project))
    except InputError as error:
        raise PrepareError(str(error)) from None


def make_cache(layout: Layout) -> None:
    """Makes the cache's folder. Raises PrepareError where it cannot be made, or not be written to."""
    try:
        layout.cache.mkdir(parents=True, exist_ok=True)
        reason = "" if os.access(layout.cache, os.W_OK | os.X_OK) else "it belongs to somebody else, or is on a disk that is only read"
    except OSError as error:
        reason = error.strerror or str(error)
    if reason:
        raise PrepareError(f"the cache {layout.cache} cannot be written to: {reason}. Fix: export {CACHE_VARIABLE}=/a/folder/that/can")
