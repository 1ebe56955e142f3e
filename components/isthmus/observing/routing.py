"""Where requests of devices run, asked of the devices of this machine."""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import requests

from isthmus.migration.running import DeviceReading
from isthmus.observing import sockets
from isthmus.observing.reach import STATUS_SECONDS
from isthmus_agent.formats import routing
from isthmus_agent.formats.answers import ROUTING_PATH
from isthmus_agent.formats.numbers import FormatError

_AT_ONCE: Final = 16
_NO_RELEASE: Final = "it serves no release, or its agent is of an earlier version"


def asked(devices: Mapping[str, str]) -> tuple[DeviceReading, ...]:
    """All devices, asked side by side. devices: their URLs by name. One that does not answer says why."""
    with ThreadPoolExecutor(max_workers=_AT_ONCE) as pool:
        return tuple(pool.map(_asked, devices, devices.values()))


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
