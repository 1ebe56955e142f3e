"""`python -m toolchain.device package | wheelhouse`, run in the project folder: makes it for a kind of device, and prints where it lies."""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from toolchain.device import debian_package, packages
from toolchain.device.target import ARCHITECTURES, target
from toolchain.prepare.layout import load, make_cache
from toolchain.prepare.steps import PrepareError, fail, let_others_read

FOLDER = Path("build/device")


def main(arguments: Sequence[str]) -> int:
    """Returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m toolchain.device", description=__doc__)
    parser.add_argument("what", choices=("package", "wheelhouse"))
    parser.add_argument("--architecture", default=os.uname().machine, help=f"of the device: one of {', '.join(ARCHITECTURES)}")
    parser.add_argument("--python", default="3.11", help="of the device: Debian 12 has 3.11, Debian 13 has 3.13 (default: %(default)s)")
    parser.add_argument("--without-interpreter", action="store_true", help="for devices that serve nothing themselves")
    parser.add_argument("--to", type=Path, default=FOLDER, metavar="FOLDER", help="default: %(default)s")
    asked = parser.parse_args(arguments)
    let_others_read()
    try:
        layout, kind = load(Path.cwd().resolve()), target(asked.architecture, asked.python, has_interpreter=not asked.without_interpreter)
        make_cache(layout)
        if asked.what == "package":
            print(debian_package.build(layout, kind, asked.to))
        else:
            name = f"{debian_package.NAME}-{kind.architecture}-python{kind.python_text}"
            print(packages.wheelhouse(layout, kind, asked.to / name))
    except (PrepareError, OSError) as error:
        return fail(error)
    except KeyboardInterrupt:
        return fail(PrepareError("interrupted; the same command begins again"))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
