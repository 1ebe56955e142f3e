"""What is built from pinned Go modules: the engine, and the programs of the test cluster."""

from pathlib import Path

from toolchain.prepare import go
from toolchain.prepare.layout import ENGINE_VERSION, Layout, version_text

PACKAGE = "github.com/pulumi/pulumi/pkg/v3/cmd/pulumi"
VERSION_VARIABLE = "github.com/pulumi/pulumi/sdk/v3/go/common/version.Version"
KUBERNETES_VERSION = "1.37.2"  # the one that toolchain/cluster/binaries/go.mod pins
CLUSTER_SOURCE = Path("toolchain/cluster/binaries")
_KUBERNETES_VALUES = {
    "gitVersion": f"v{KUBERNETES_VERSION}",
    **dict(zip(("gitMajor", "gitMinor", "gitTreeState"), (*KUBERNETES_VERSION.split(".")[:2], "clean"), strict=True)),
}


def engine(layout: Layout) -> go.Commands:
    """The engine."""
    version = version_text(ENGINE_VERSION)
    source = layout.project / "toolchain" / "engine"
    return go.Commands(source, (PACKAGE,), what=f"the engine {version}", values={VERSION_VARIABLE: f"v{version}"})


def cluster(layout: Layout) -> go.Commands:
    """The cluster's programs, and `pause`."""
    values = {f"k8s.io/component-base/version.{name}": value for name, value in _KUBERNETES_VALUES.items()}
    what = f"Kubernetes {KUBERNETES_VERSION} for the test cluster"
    return go.Commands(layout.project / CLUSTER_SOURCE, ("./programs", "./pause"), what, values)


def build(layout: Layout, target: Path) -> None:
    """Makes the folder `target` with the engine in it, whole or not at all. Takes 3 to 8 minutes on 2 cores.

    Raises:
        PrepareError: no compiler, the modules cannot be fetched, or the compiler failed.
    """
    go.build(layout, engine(layout), target)
