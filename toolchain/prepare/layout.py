"""Where everything lies. The project folder is the only place written to, but for a cache that the user moved."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

ENGINE_VERSION: tuple[int, ...] = (3, 259, 0)  # the one that toolchain/engine/go.mod and requirements.in pin
PYTHON_VERSIONS = ((3, 11), (3, 13))  # first and last with wheels for everything in requirements.txt


def version_text(version: tuple[int, ...]) -> str:
    """(3, 259, 0) → `3.259.0`."""
    return ".".join(map(str, version))


@dataclass(frozen=True)
class Layout:
    """The folders of one project. `cache` may be shared by several projects and survive all of them."""

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
    """The layout of `project`; `ISTHMUS_CACHE_DIR` moves the cache (a relative path counts from the project)."""
    moved = environ.get("ISTHMUS_CACHE_DIR", "")
    return Layout(project, (project / Path(moved).expanduser()).resolve() if moved else project / ".cache")
