"""A fleet file: the devices of one fleet."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import yaml
from pydantic import Field

from isthmus.arguments.checking import AnyPort, Checked, Name, check
from isthmus.errors import InputError, Problem
from isthmus.limits import ANY_PORT, FLEET_DEVICES


class DeviceSettings(Checked):
    """One device of a fleet. port: of its REST server on loopback; 0: any free one."""

    name: Name
    port: AnyPort = ANY_PORT.default


class FleetSettings(Checked):
    name: Name
    devices: Annotated[tuple[DeviceSettings, ...], Field(min_length=int(FLEET_DEVICES.least), max_length=int(FLEET_DEVICES.most))]

    def problems(self, path: str) -> Sequence[Problem]:
        names = [device.name for device in self.devices]
        return [
            Problem(f"{path}.devices", f"two devices are named {name!r}", "different names")
            for name in sorted({name for name in names if names.count(name) > 1})
        ]


def load_fleet(text: str, base_directory: Path, path: str) -> FleetSettings:
    """The fleet of a fleet file (YAML).

    Raises:
        InputError: no such file, not YAML, or wrong content; all problems at once.
    """
    file = base_directory / text
    try:
        raw = yaml.safe_load(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(
            [Problem(path, f"cannot read fleet file {text!r}: {error.strerror}", "a YAML file with `name` and `devices`")]
        ) from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # ValueError: a date that is none
        mark = getattr(error, "problem_mark", None)
        line = f" (line {mark.line + 1})" if mark else ""
        raise InputError([Problem(path, f"fleet file {text!r} is not YAML{line}", "a YAML file with `name` and `devices`")]) from error
    return check(FleetSettings, raw, path)
