"""Devices before everybody else's door: their requests are told apart by a header, and turned away first.

A device has an answer of its own and says so (`ASKED_BY`); it can do without the cloud's. Envoy keeps a second set of circuit breakers
for routes of priority HIGH: a name, of which there are two, and no rank. Devices' requests take those routes, so that no more than
`GatewayOptions.device_requests` of them are at the servers at a time, and none waits for a place; all others keep the set that they had.
docs/decisions/0020 says why it is this and not another of Envoy's ways.
"""

from collections.abc import Iterable, Iterator
from typing import Final

from isthmus.gateway.spec import GatewayOptions
from isthmus.gateway.wire import Json, header
from isthmus_agent.formats.answers import ASKED_BY

DEVICE_HEADER: Final = ASKED_BY.lower()
PRIORITY: Final = "HIGH"
"""Of Envoy's two sets of circuit breakers, the one that is devices'."""
DEVICES: Final = "devices"
"""What Envoy's figures of these routes are called."""
RETRY_AFTER_SECONDS: Final = 5
"""What a device that is turned away is told; it waits up to half as long again by chance, and longer each time in a row."""
FULL: Final = "The service has no room for more requests of devices: ask again later"

_FROM_DEVICE: Final[Json] = {"name": DEVICE_HEADER, "present_match": True}
# Envoy's own flag: a circuit breaker let nothing more pass.
_OVERFLOW: Final = "UO"


def with_devices(routes: Iterable[Json]) -> Iterator[Json]:
    """Each route to servers twice: first for devices, then as it was for everybody else. Other answers are everybody's."""
    for route in routes:
        if action := route.get("route"):
            match = {**route["match"], "headers": [*route["match"].get("headers", ()), _FROM_DEVICE]}
            yield {**route, "match": match, "route": {**action, "priority": PRIORITY}, "stat_prefix": DEVICES}
        yield route


def device_limits(options: GatewayOptions, limits: Json) -> Iterator[Json]:
    """The second set, where there is one. limits: the first.

    Connections are no limit: a request for which there is one is turned away at once, and does not wait until one is free. Of those
    for which there is none yet, so many are made at a time.
    """
    most = options.device_requests
    if most:
        yield {**limits, "priority": PRIORITY, "max_requests": most, "max_pending_requests": most}


def full(options: GatewayOptions, body: Json) -> Iterator[Json]:
    """What a device is told that was turned away. body: of the answer, in the listener's form."""
    if options.device_requests:
        turned_away = [{"response_flag_filter": {"flags": [_OVERFLOW]}}, {"header_filter": {"header": _FROM_DEVICE}}]
        yield {
            "filter": {"and_filter": {"filters": turned_away}},
            "headers_to_add": [header("retry-after", str(RETRY_AFTER_SECONDS))],
            "body_format_override": body,
        }
