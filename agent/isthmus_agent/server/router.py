"""Where a request is answered first, by the bundle's migration policy: on the device, by the cloud role, or by a peer of the group.

Once a step, at the first request after it, the levels of what was measured are looked at and the place is chosen anew: so it changes once a
step at most, whatever is measured. Between two looks a request costs a comparison. Nothing here reads a request.
"""

import math
from collections.abc import Collection
from typing import Final, Protocol

from isthmus_agent.formats.policy import CLOUD, DEVICE, LOAD, NETWORK, THEN_CLOUD, Policy

PROBE_SECONDS: Final = 5.0
"""Between two probes of the network, at least. A device that nobody asks sends none."""
LEAST_WINDOW_SECONDS: Final = 1.0
"""That requests are counted for, at least: of a shorter time a rate says nothing."""


class Network(Protocol):
    """The way to the cloud role."""

    def probe(self, model: str) -> None:
        """Measures the round trip anew, where the cloud may be asked. Nothing of what a device is asked is in it."""

    def round_trip_ms(self) -> float:
        """The smoothed round trip; infinity while the cloud is not to be asked, not a number before the first."""


class Router:
    """The place of a device's requests. It begins on the device. now: by the monotonic clock, as everywhere here.

    A place that this device may not ask is none: where the policy goes there, the device answers. network: the way to the cloud; None:
    there is none. reached: the places that may be asked.
    """

    def __init__(self, policy: Policy, model: str, network: Network | None, now: float, reached: Collection[str] = (CLOUD,)) -> None:
        self._policy, self._model, self._network = policy, model, network
        self._reached = {DEVICE, THEN_CLOUD, *reached}
        self._levels = policy.unmeasured
        self._device = policy.places.index(DEVICE)
        self._place = self._device
        self._requests, self._counted_from = 0, now
        self._looks_at, self._probes_at = now + policy.step_ms / 1000, -math.inf

    @property
    def place(self) -> str:
        """Where requests are answered first, as last chosen."""
        return self._policy.places[self._place]

    @property
    def passes_on(self) -> bool:
        """Whether an answer of the device's own that is not sure enough is passed on there."""
        return self._policy.passes_on(self.place)

    def count(self) -> None:
        """A request has come, whoever is to answer it: what is asked of the device is its load."""
        self._requests += 1

    def chosen(self, now: float) -> str:
        """The place for a request that has come now, and was counted, and that others than the device may answer."""
        if now >= self._probes_at:
            self._probes_at = now + PROBE_SECONDS
            if self._network is not None:
                self._network.probe(self._model)
        if now >= self._looks_at:
            self._looks_at = now + self._policy.step_ms / 1000
            self._look(now)
        return self.place

    def _look(self, now: float) -> None:
        measured = {NETWORK: math.inf if self._network is None else self._network.round_trip_ms()}
        seconds = now - self._counted_from
        if seconds >= LEAST_WINDOW_SECONDS:
            measured[LOAD] = self._requests / seconds
            self._requests, self._counted_from = 0, now
        self._levels = self._policy.levels(self._levels, measured)
        found = self._policy.next_place(self._place, self._levels)
        self._place = found if self._policy.places[found] in self._reached else self._device
