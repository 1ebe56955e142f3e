"""The entry point: `python -m toolchain.kubernetes_plugin ENGINE_ADDRESS`. Prints the port that it serves on, then nothing more."""

import sys
from pathlib import Path

# This folder's own place on the path would let its modules shadow others; their parents' names them properly.
sys.path[0] = str(Path(__file__).resolve().parents[2])

from toolchain.kubernetes_plugin.provider import KubernetesProvider  # noqa: E402
from toolchain.plugin.main import main  # noqa: E402

main(KubernetesProvider(), sys.argv[1:])
