"""How hot the device is and what is left in its battery, as its kernel says it in files; each of them is read anew at each look.

    /sys/class/thermal/thermal_zone*/temp          thousandths of a degree Celsius
    /sys/class/power_supply/*/type, …/capacity     `Battery`, and percent

A file that is not there, cannot be read, or holds what no sensor measures says nothing, and where none says anything the level stays as it
was: the device's policy begins with cool, and with full.
"""

import math
import os
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Final

from isthmus_agent.formats.policy import BATTERY, TEMPERATURE, Policy

KERNEL: Final = Path("/sys/class")
_MOST_FILES: Final = 32
_MOST_BYTES: Final = 64
_COLDEST, _HOTTEST = -60.0, 200.0
"""In degrees: beyond it a sensor is broken, or says in its own way that it measures nothing."""


class Headroom:
    """What a policy asks to be measured of it. root: where the kernel's files are."""

    def __init__(self, policy: Policy, root: Path = KERNEL) -> None:
        wanted = {it.name for it in policy.dimensions}
        self._root = root
        self._measures: dict[str, Callable[[], float]] = {
            name: measure for name, measure in ((TEMPERATURE, self._temperature), (BATTERY, self._battery)) if name in wanted
        }

    def __call__(self) -> Mapping[str, float]:
        """By dimension; not a number where it is not known. Never raises."""
        return {name: measure() for name, measure in self._measures.items()}

    def _temperature(self) -> float:
        """Of the hottest zone."""
        found = (_number(it / "temp") / 1000 for it in self._entries("thermal", "thermal_zone"))
        return max((it for it in found if _COLDEST <= it <= _HOTTEST), default=math.nan)

    def _battery(self) -> float:
        """Of the emptiest battery of the device itself, not of what is plugged into it."""
        supplies = [it for it in self._entries("power_supply", "") if _text(it / "type") == "Battery" and _text(it / "scope") != "Device"]
        found = (_number(it / "capacity") for it in supplies)
        return min((it for it in found if 0 <= it <= 100), default=math.nan)

    def _entries(self, folder: str, begin: str) -> Iterable[Path]:
        with suppress(OSError):
            return [it for it in islice((self._root / folder).iterdir(), _MOST_FILES) if it.name.startswith(begin)]
        return []


def _number(file: Path) -> float:
    try:
        return float(int(_text(file)))
    except ValueError:
        return math.nan


def _text(file: Path) -> str:
    """The beginning of a file; empty where it cannot be read. Never waits: a pipe in its place has nobody at its other end."""
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return ""
    try:
        return os.read(descriptor, _MOST_BYTES).decode("ascii", "replace").strip()
    except OSError:
        return ""
    finally:
        os.close(descriptor)
