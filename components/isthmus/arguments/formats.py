"""Texts that devices read as well: checked here as the signed formats check them, so that no preview lets pass what a device refuses."""

from collections.abc import Callable, Mapping
from typing import Annotated, Any, Final

from pydantic import BeforeValidator

from isthmus_agent.formats import numbers
from isthmus_agent.formats.numbers import FormatError

ARCHITECTURES: Final = ("x86_64", "arm64")
"""Of devices: those for which the agent and its interpreter are made."""
BYTES_PER_MEGABYTE: Final = 10**6


def _as_signed(read: Callable[[object, str], Any]) -> BeforeValidator:
    def check(value: object) -> object:
        try:
            return read(value, "")
        except FormatError as error:
            found, _, expected = str(error).partition(", expected ")
            where, _, what = found.rpartition(": ")
            raise ValueError(f"{f'{where}: ' if where else ''}{what}; expected {expected}") from None

    return BeforeValidator(check)


DeviceName = Annotated[str, _as_signed(numbers.device_name)]
ClassName = Annotated[str, _as_signed(numbers.device_class)]
"""A class of devices; `*`: those of no named class, and any."""
SignedName = Annotated[str, _as_signed(numbers.name)]
Labels = Annotated[Mapping[str, str], _as_signed(numbers.labels)]
