"""What kind of device something is made for."""

import re
from dataclasses import dataclass

from toolchain.prepare.environment import DEVICE_FIRST_PYTHON, DEVICE_INTERPRETER_LOCK, DEVICE_LOCK
from toolchain.prepare.layout import version_text
from toolchain.prepare.steps import PrepareError

ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
"""As wheels call them, and as Debian does."""
LAST_PYTHON = (3, 14)
"""The newest that the interpreter has wheels for."""
LIBCS = ("manylinux_2_28", "manylinux_2_27", "manylinux_2_17", "manylinux2014")
"""What runs on a device with the first of them, Debian 10 and later."""


@dataclass(frozen=True)
class Target:
    """A kind of device. architecture: as wheels call it. has_interpreter: it serves models itself."""

    architecture: str
    python: tuple[int, int]
    has_interpreter: bool = True

    @property
    def lock(self) -> str:
        """The lock file of what it needs, in the project."""
        return DEVICE_INTERPRETER_LOCK if self.has_interpreter else DEVICE_LOCK

    @property
    def python_text(self) -> str:
        """`3.11`."""
        return version_text(self.python)

    @property
    def platform(self) -> str:
        """As uv and pip call it: `x86_64-manylinux_2_28`."""
        return f"{self.architecture}-{LIBCS[0]}"

    @property
    def debian(self) -> str:
        """Debian's name of the architecture. Without the interpreter nothing is of one."""
        return ARCHITECTURES[self.architecture] if self.has_interpreter else "all"


def target(architecture: str, python: str, *, has_interpreter: bool = True) -> Target:
    """A kind of device from texts. Raises PrepareError."""
    names = {name: wheel for wheel, debian in ARCHITECTURES.items() for name in (wheel, debian)}
    if architecture not in names:
        raise PrepareError(f"--architecture: found {architecture!r}, expected one of {', '.join(names)}")
    first, last = DEVICE_FIRST_PYTHON, LAST_PYTHON
    found = re.fullmatch(r"(\d)\.(\d{1,2})", python)
    version = (int(found[1]), int(found[2])) if found else (0, 0)
    if not first <= version <= last:
        raise PrepareError(f"--python: found {python!r}, expected {version_text(first)} to {version_text(last)}: the device's own")
    return Target(names[architecture], version, has_interpreter)
