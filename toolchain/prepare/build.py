"""The engine, built from the Go module that toolchain/engine pins."""

from pathlib import Path

from toolchain.prepare import go
from toolchain.prepare.layout import ENGINE_VERSION, Layout, version_text

PACKAGE = "github.com/pulumi/pulumi/pkg/v3/cmd/pulumi"
VERSION_VARIABLE = "github.com/pulumi/pulumi/sdk/v3/go/common/version.Version"


def commands(layout: Layout) -> go.Commands:
    """The engine, as a command of its pinned module."""
    version = version_text(ENGINE_VERSION)
    source = layout.project / "toolchain" / "engine"
    return go.Commands(source, (PACKAGE,), what=f"the engine {version}", values={VERSION_VARIABLE: f"v{version}"})


def build(layout: Layout, target: Path) -> None:
    """Makes the folder `target` with the engine in it, whole or not at all. Takes 3 to 8 minutes on 2 cores.

    Raises:
        PrepareError: no compiler, the modules cannot be fetched, or the compiler failed.
    """
    go.build(layout, commands(layout), target)
