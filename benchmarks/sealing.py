"""What sealing a bundle costs the operator, and what opening it costs a device: MB/s of processor time, and the most memory.

    python benchmarks/sealing.py [--megabytes 64]

Each measure is the best of three, in a process of its own, of random bytes from file to file. `reads` is the device's way: the tag over the
whole, then every byte opened, not kept. HMAC by blocks is the construction for small contents, of 1 MB.
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from isthmus_agent.formats import sealing
from isthmus_agent.formats.sealed_contents import KIND

KEY = bytes(range(32))
MEGABYTE = 1_000_000


def seals(folder: Path) -> None:
    with (folder / "plain").open("rb") as content, (folder / "sealed").open("wb") as into:
        sealing.seal(KIND, KEY, content, into, sealing.nonce_of(KIND, KEY, content))


def reads(folder: Path) -> None:
    with (folder / "sealed").open("rb") as stored:
        plain = sealing.opened(KIND, KEY, stored)
        while plain.read(sealing.PIECE_BYTES):
            pass


def seals_by_blocks(folder: Path) -> None:
    with (folder / "plain").open("rb") as content:
        sealing.sealed(KIND, KEY, content.read(MEGABYTE), bytes(16))


def imports(folder: Path) -> None:
    """Nothing: what Python takes with what it imports here."""


WORK = {it.__name__: it for it in (imports, seals, reads, seals_by_blocks)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--megabytes", type=int, default=64)
    parser.add_argument("--work", choices=WORK, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        began = time.process_time()
        WORK[options.work](options.folder)
        print(time.process_time() - began, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with (folder / "plain").open("wb") as file:
            for _ in range(options.megabytes):
                file.write(os.urandom(MEGABYTE))
        for work in WORK:
            command = [sys.executable, __file__, "--work", work, "--folder", name]
            found = [subprocess.run(command, check=True, capture_output=True, text=True).stdout.split() for _ in range(3)]
            seconds, mebibytes = min(float(it[0]) for it in found), min(float(it[1]) for it in found)
            size = 1 if work == "seals_by_blocks" else options.megabytes
            speed = "" if work == "imports" else f"{size / seconds:8.1f} MB/s"
            print(f"{work:16} {speed:14} {mebibytes:6.1f} MiB at most")


if __name__ == "__main__":
    main()
