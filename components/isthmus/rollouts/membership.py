"""Which devices each wave of a rollout has."""

from collections.abc import Iterable

from isthmus_agent.formats.assignment import Assignment
from isthmus_agent.formats.roster import Device


def by_wave(told: Assignment, devices: Iterable[Device]) -> dict[int | None, list[Device]]:
    """The devices by the index of their wave, None: of none; of a wave without any there is nothing."""
    found: dict[int | None, list[Device]] = {}
    for device in devices:
        found.setdefault(told.wave_of(device.name, device.labels), []).append(device)
    return found
