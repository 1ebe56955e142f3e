"""`python -m toolchain.testing.programs [arguments of pytest]`: builds what the tests need that these arguments pick, and nothing else."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from toolchain.prepare.steps import phase, say
from toolchain.testing.needs import CLUSTER, IMAGES

# What a test may need → the command that builds it, in this order.
COMMANDS = {CLUSTER: ("toolchain.cluster", "build"), IMAGES: ("toolchain.images",)}


def needed(arguments: Sequence[str]) -> set[str]:
    """What the picked tests need; all of it where no argument picks any."""
    if not arguments:
        return set(COMMANDS)
    with phase("which programs are needed"), tempfile.TemporaryDirectory(prefix="isthmus-needs-") as folder:
        file = Path(folder) / "needs.json"
        command = [sys.executable, "-m", "pytest", "--collect-only", "--quiet", "-p", "no:cacheprovider", f"--needs={file}", *arguments]
        subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
        # Where there is none pytest refused the arguments, or a file: the run will say so.
        return set(json.loads(file.read_text(encoding="utf-8"))) if file.is_file() else set()


def main(arguments: Sequence[str]) -> int:
    """Returns 0: tests without their programs are skipped, with the reason."""
    wanted = needed(arguments)
    for need, command in COMMANDS.items():
        if need not in wanted:
            say(f"no test that was picked needs the {need}")
        elif subprocess.run(
            [sys.executable, "-m", *command], stdout=subprocess.DEVNULL if need == IMAGES else None, check=False
        ).returncode:
            say(f"tests that need the {need} will be skipped")
    return os.EX_OK


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
