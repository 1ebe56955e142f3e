"""`python -m toolchain.checkov ARGS`: Checkov, kept on this machine. `python -m toolchain.checkov lock`: its lock file again."""

import os
import sys
from pathlib import Path

from toolchain import checkov
from toolchain.prepare.layout import load
from toolchain.prepare.steps import PrepareError, fail


def main() -> int:
    layout = load(Path(__file__).resolve().parents[2])
    arguments = sys.argv[1:]
    try:
        if arguments == ["lock"]:
            checkov.lock(layout)
            return 0
        program = checkov.prepare(layout)
    except PrepareError as error:
        return fail(error)
    os.execve(program, [str(program), *checkov.OFFLINE, *arguments], checkov.environment())  # noqa: S606 - no shell is wanted


if __name__ == "__main__":
    sys.exit(main())
