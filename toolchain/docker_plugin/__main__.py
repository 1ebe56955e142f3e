"""The entry point: `pulumi-resource-docker [engine address]`. Prints the port that it serves on, then nothing more."""

import sys
from pathlib import Path

# This folder's own place on the path would let its modules shadow others; its parents' names them properly.
sys.path[0] = str(Path(__file__).resolve().parents[2])

from toolchain.docker_plugin.provider import DockerProvider  # noqa: E402

from isthmus.plugin import process  # noqa: E402
from isthmus.plugin.bags.servicer import Servicer  # noqa: E402

if __name__ == "__main__":
    process.run("A fall-back docker plugin for Pulumi.", lambda engine: Servicer(DockerProvider(), engine), sys.argv[1:])
