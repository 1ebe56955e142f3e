"""`python -m toolchain.images [NAME…]`, run in the project folder: builds these images, or all, and prints where they lie."""

import sys
from pathlib import Path

from toolchain.images.builder import build
from toolchain.prepare.layout import load
from toolchain.prepare.steps import PrepareError, fail, let_others_read, phase


def main(arguments: list[str]) -> int:
    """Returns the exit status."""
    let_others_read()
    try:
        with phase("images"):
            made = build(load(Path.cwd().resolve()), arguments or None)
        for name, file in made.items():
            print(f"{name} {file}")
    except (PrepareError, OSError) as error:
        return fail(error)
    except KeyboardInterrupt:
        return fail(PrepareError("interrupted; the same command goes on from here"))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
