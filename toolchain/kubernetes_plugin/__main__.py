"""The entry point: `python -m toolchain.kubernetes_plugin ENGINE_ADDRESS`. Prints the port that it serves on, then nothing more."""

import sys
from pathlib import Path

# This folder's own place on the path would let its modules shadow others; their parents' names them properly.
sys.path[0] = str(Path(__file__).resolve().parents[2])

from toolchain.kubernetes_plugin.provider import KubernetesProvider  # noqa: E402

from isthmus.plugin import process  # noqa: E402
from isthmus.plugin.bags.servicer import Servicer  # noqa: E402

process.run("A fall-back kubernetes plugin for Pulumi.", lambda engine: Servicer(KubernetesProvider(), engine), sys.argv[1:])
