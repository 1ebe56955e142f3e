"""Where requests of devices run: asked of the devices of this machine, and of others by what they have reported."""

import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import requests

from isthmus.errors import IsthmusError
from isthmus.migration.running import DeviceReading
from isthmus.observing import sockets
from isthmus.observing.reach import STATUS_SECONDS
from isthmus.repository import enrolment
from isthmus.repository.reports import DeviceReport, look
from isthmus.rollouts.intent import Fleet
from isthmus.rollouts.looking import asked as asked_about
from isthmus.rollouts.looking import at, read_signed
from isthmus_agent.formats import routing
from isthmus_agent.formats.answers import ROUTING_PATH
from isthmus_agent.formats.numbers import FormatError

_AT_ONCE: Final = 16
_NO_RELEASE: Final = "it serves no release, or its agent is of an earlier version"


def asked(devices: Mapping[str, str]) -> tuple[DeviceReading, ...]:
    """All devices, asked side by side. devices: their URLs by name. One that does not answer says why."""
    with ThreadPoolExecutor(max_workers=_AT_ONCE) as pool:
        return tuple(pool.map(_asked, devices, devices.values()))


def reported(fleet: Fleet, *, now: Callable[[], float] = time.time) -> tuple[DeviceReading, ...]:
    """What the devices of a fleet have said in its store about what they were told last, each with its age.

    Raises IsthmusError: nothing was told yet, the fleet's secret is not here, or the store fails.
    """
    if fleet.secret is None:
        raise IsthmusError(
            f"what devices of {fleet.name} report cannot be read here: the fleet's secret is not in the key ring's folder. "
            f"Fix: run this where it is ({fleet.keyring.folder})"
        )
    told = read_signed(fleet).told
    if told is None:
        raise IsthmusError(f"the devices of {fleet.name} were told nothing yet. Fix: pulumi up")
    roster = enrolment.settle_if_possible(fleet.place, fleet.keyring, fleet.name, now=at(now())).roster
    found = look(fleet.place.objects, fleet.place.prefix, asked_about(fleet, told, roster)).reports
    return tuple(_reported(it.name, found.get(it.name)) for it in roster.devices)


def _reported(name: str, found: DeviceReport | None) -> DeviceReading:
    if found is None:
        return DeviceReading(name, problem="it has reported nothing about what it was told last")
    routed, digest = found.figures.routed, found.report.digest
    if routed is None:
        why = "it asks nobody" if found.figures.requests else "it has not said where its requests run"
        return DeviceReading(name, problem=f"{why} ({found.outcome.value})", age_seconds=found.age_seconds)
    return DeviceReading(name, routing.reported(routed, digest), age_seconds=found.age_seconds)


def _asked(name: str, url: str) -> DeviceReading:
    try:
        reply = sockets.request("GET", f"{url}{ROUTING_PATH}", timeout=STATUS_SECONDS, allow_redirects=False)
    except requests.RequestException as error:
        return DeviceReading(name, problem=f"no answer ({type(error).__name__})")
    if reply.status_code != requests.codes.ok:
        return DeviceReading(name, problem=_NO_RELEASE if reply.status_code == requests.codes.not_found else f"answers {reply.status_code}")
    try:
        return DeviceReading(name, routing.read(reply.content))
    except FormatError as error:
        return DeviceReading(name, problem=f"what it says of its routing cannot be read: {error}")
