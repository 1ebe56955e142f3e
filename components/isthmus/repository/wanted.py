"""A device that is to join a fleet, as somebody says it."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from isthmus.errors import Problem, property_path
from isthmus_agent.formats import numbers
from isthmus_agent.formats.numbers import FormatError
from isthmus_agent.formats.roster import Device


@dataclass(frozen=True)
class Wanted:
    """A device that is to join. A device of this name that is there already gets new keys, and the old ones are worth nothing after."""

    name: str
    device_class: str
    labels: Mapping[str, str] = field(default_factory=dict)

    def problems(self, path: str = "") -> list[Problem]:
        """What no signed roster could hold of it. path: of the device."""
        found = []
        checks = (
            ("name", lambda: numbers.device_name(self.name, "")),
            ("class", lambda: numbers.device_class(self.device_class, "")),
            ("labels", lambda: numbers.labels(dict(self.labels), "")),
        )
        for name, read in checks:
            try:
                read()
            except FormatError as error:
                found.append(Problem(property_path([name], path), str(error)))
        return found

    def device(self, generation: int = 0) -> Device:
        """As a roster has it. generation: of its keys."""
        return Device(self.name, self.device_class, dict(sorted(self.labels.items())), generation)
