"""Where a request is answered first, by the bundle's migration policy: on the device, by the cloud role, or by a peer of the group.

Once a step, at the first request after it, the levels of what was measured are looked at and the place is chosen anew: so it changes once a
step at most, whatever is measured. Between two looks a request costs a comparison. Nothing here reads a request.
"""

import math
from collections.abc import Callable, Collection, Mapping
from typing import Any, Final, Protocol

from isthmus_agent.formats.policy import CLOUD, DEVICE, LOAD, NETWORK, THEN_CLOUD, Policy
from isthmus_agent.formats.routing import Level, thousandths
from isthmus_agent.server.looks import Looks

PROBE_SECONDS: Final = 5.0
"""Between two probes of the network, at least; where the policy is looked at more often, as often as that. A device that nobody asks sends
none."""
LEAST_PROBE_SECONDS: Final = 0.25
"""However often the policy is looked at."""
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
    there is none. reached: the places that may be asked. headroom: what else is measured, by dimension.
    """

    def __init__(
        self,
        policy: Policy,
        model: str,
        network: Network | None,
        now: float,
        *,
        reached: Collection[str] = (CLOUD,),
        headroom: Callable[[], Mapping[str, float]] = lambda: {},
    ) -> None:
        self._policy, self._model, self._network, self._headroom = policy, model, network, headroom
        self._reached = {DEVICE, THEN_CLOUD, *reached}
        self._looks = Looks(policy)
        self._levels = policy.unmeasured
        self._device = policy.places.index(DEVICE)
        self._place = self._device
        self._requests, self._counted_from = 0, now
        self._step_seconds = policy.step_ms / 1000
        self._probe_seconds = min(PROBE_SECONDS, max(LEAST_PROBE_SECONDS, self._step_seconds))
        self._looks_at, self._probes_at = now + self._step_seconds, -math.inf
        self._measured: dict[str, float] = {}
        self._moves = 0

    @property
    def place(self) -> str:
        """Where requests are answered first, as last chosen."""
        return self._policy.places[self._place]

    @property
    def passes_on(self) -> bool:
        """Whether an answer of the device's own that is not sure enough is passed on there."""
        return self._policy.passes_on(self.place)

    @property
    def policy(self) -> Policy:
        """That is followed."""
        return self._policy

    @property
    def moves(self) -> int:
        """How often the place changed."""
        return self._moves

    @property
    def levels(self) -> tuple[Level, ...]:
        """By which the place was chosen, with what was measured."""
        shown = zip(self._policy.dimensions, self._levels, strict=True)
        return tuple(Level(it.name, it.unit, it.levels[level], thousandths(self._measured.get(it.name))) for it, level in shown)

    def count(self) -> None:
        """A request has come, whoever is to answer it: what is asked of the device is its load."""
        self._requests += 1

    def chosen(self, now: float) -> str:
        """The place for a request that has come now, and was counted, and that others than the device may answer."""
        if now >= self._probes_at:
            self._probes_at = now + self._probe_seconds
            if self._network is not None:
                self._network.probe(self._model)
        if now >= self._looks_at:
            self._looks_at = now + self._step_seconds
            self._look(now)
        return self.place

    def _look(self, now: float) -> None:
        measured = {NETWORK: math.inf if self._network is None else self._network.round_trip_ms(), **self._headroom()}
        seconds = now - self._counted_from
        if seconds >= LEAST_WINDOW_SECONDS:
            measured[LOAD] = self._requests / seconds
            self._requests, self._counted_from = 0, now
        self._levels = self._policy.levels(self._levels, measured)
        self._measured.update(measured)
        before, found = self._place, self._policy.next_place(self._place, self._levels)
        self._place = found if self._policy.places[found] in self._reached else self._device
        self._moves += self._place != before
        self._looks.looked(now, measured, self._place, self._policy.cell(self._levels))

    def seen(self) -> dict[str, Any] | None:
        """How cells followed each other since this was last asked (`Tally.to_value`). None: nothing was counted."""
        return self._looks.taken()
