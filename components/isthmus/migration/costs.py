"""From measured figures to a decision process. The unit of every cost is a millisecond of waiting, summed over a step's requests.

Time of a request. Serving is a shifted exponential with the measured mean m and 95th percentile: floor + Exp(τ), where
τ = (p95 − m)/(ln 20 − 1), m at most. The device has one queue in front of it (M/G/1): with load ρ a request waits with probability ρ, and
then Exp(w/ρ), w = λm²(1 + (τ/m)²)/(2(1 − ρ)) (Pollaczek and Khinchine's mean; exact for exponential service). A place elsewhere costs a
round trip, its bytes over the bandwidth, and where a packet was lost a retransmission more: the round trip and Linux's least time-out.
Beyond the deadline a request counts as missed, and nobody waits longer for it: E[min(T, D)] and P(T > D) are closed forms.

The device, then the cloud. The device answers as ever, and then asks for the share of the requests that it is not sure of, for as long as
is left until the deadline; its own answer stands where nobody answers by then, so that no deadline is missed by asking.

Wrong answers. Of each place the share that was measured; what comes too late from elsewhere the device has answered.

A move. While a place warms up, and the model's bytes are on their way, requests wait: with w seconds of that, λw²/2 seconds in all, each
one for D at most; those that come more than D before its end are missed.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from isthmus.migration.process import Numbers, Process, product_transition
from isthmus.migration.situation import Headroom, Link, Place, Situation
from isthmus.names import MAY_LEAVE_DEVICE, STAYS_ON_DEVICE
from isthmus_agent.formats.policy import CLOUD, DEVICE, THEN_CLOUD

TIMEOUT_MS: Final = 200.0
"""Linux's least time until a packet is sent again (TCP_RTO_MIN)."""
PACKET_BYTES: Final = 1460
_TAIL: Final = math.log(20) - 1
_LEAST_MS: Final = 1e-6
REQUESTS: Final = "requests"
MISSED: Final = "deadlines missed"
JOULES: Final = "joules"
MONEY: Final = "money"
WAITED_MS: Final = "ms waited"
WRONG: Final = "wrong answers"


@dataclass(frozen=True, eq=False)
class Built:
    """A process, and what its costs are made of.

    figures: (P, X) each, of a step: requests, ms waited, deadlines missed, joules, money, and wrong answers where they are weighed.
    moving_figures: the same of a move, (P, P, X), from, to; no answer is wrong by it.
    """

    situation: Situation
    process: Process
    figures: Mapping[str, Numbers]
    moving_figures: Mapping[str, Numbers]


def build(situation: Situation) -> Built:
    """The decision process. Raises InputError where it is not sound."""
    places = situation.places
    counts = [len(it.dimension.levels) for it in situation.axes]
    count, cells = len(places), math.prod(counts)
    weighed = (WRONG,) if situation.worth.wrong_answer_ms else ()
    figures = {name: np.zeros((count, cells)) for name in (REQUESTS, WAITED_MS, MISSED, JOULES, MONEY, *weighed)}
    moving = {name: np.zeros((count, count, cells)) for name in (WAITED_MS, MISSED, JOULES, MONEY)}
    allowed = np.zeros((count, cells), dtype=bool)
    for cell, levels in enumerate(np.ndindex(*counts)):
        network, load = situation.network[levels[0]], situation.load[levels[1]]
        headroom = situation.headroom[levels[2]] if situation.headroom_axis else Headroom()
        for index, (name, place) in enumerate(places.items()):
            asked = places[CLOUD] if name == THEN_CLOUD else place
            link = None if name == DEVICE else asked.link or network
            figures[REQUESTS][index, cell] = load * situation.step_seconds
            if not _may(situation.privacy, name) or (name != DEVICE and link is None):
                continue
            allowed[index, cell] = True
            one = _then_asked(situation, link, load, headroom) if name == THEN_CLOUD else _served(situation, place, link, load, headroom)
            for which in figures.keys() - {REQUESTS}:
                figures[which][index, cell] = one[which] * load * situation.step_seconds
            for which, value in _moved(situation, place, link, load).items():
                moving[which][:, index, cell] = value
    if situation.then_cloud and THEN_CLOUD in places:
        _move_then([*places], moving, situation.then_cloud.unsure_share)
    for costs in moving.values():
        costs[np.arange(count), np.arange(count)] = 0
    process = Process(
        tuple(places),
        tuple(it.dimension for it in situation.axes),
        product_transition([it.transition for it in situation.axes]),
        _weighed(situation, figures),
        _weighed(situation, moving),
        allowed,
        situation.discount,
    )
    return Built(situation, process, figures, moving)


def _may(privacy: str, place: str) -> bool:
    """Whether a device's inputs may go there."""
    return place == DEVICE or privacy == MAY_LEAVE_DEVICE or (privacy != STAYS_ON_DEVICE and place not in (CLOUD, THEN_CLOUD))


def _weighed(situation: Situation, figures: Mapping[str, Numbers]) -> Numbers:
    worth = situation.worth
    found: Numbers = (
        figures[WAITED_MS] + worth.deadline_miss_ms * figures[MISSED] + worth.joule_ms * figures[JOULES] + worth.money_ms * figures[MONEY]
    )
    return found + worth.wrong_answer_ms * figures[WRONG] if WRONG in figures else found


def _served(situation: Situation, place: Place, link: Link | None, load: float, headroom: Headroom) -> Mapping[str, float]:
    """What one request costs there. link: None on the device itself."""
    if link is None:
        waited, missed = waiting(
            place.service_ms * headroom.slowdown, place.p95_ms * headroom.slowdown, situation.deadline_ms, requests_per_second=load
        )
        joules = place.joules * headroom.joules_factor
        return {WAITED_MS: waited, MISSED: missed, JOULES: joules, MONEY: place.price, WRONG: place.error_rate}
    one = _elsewhere(situation, place, link, situation.deadline_ms)
    return {**one, WRONG: place.error_rate + one[MISSED] * (situation.device.error_rate - place.error_rate)}


def _then_asked(situation: Situation, link: Link | None, load: float, headroom: Headroom) -> Mapping[str, float]:
    """What one request costs on a device that asks the cloud for what it is not sure of."""
    then, cloud, own = situation.then_cloud, situation.cloud, _served(situation, situation.device, None, load, headroom)
    if then is None or cloud is None or link is None:
        return own
    one = _elsewhere(situation, cloud, link, max(0.0, min(then.timeout_ms, situation.deadline_ms - own[WAITED_MS])))
    asked = {name: own[name] + then.unsure_share * one[name] for name in (WAITED_MS, JOULES, MONEY)}
    wrong = then.error_rate + one[MISSED] * (situation.device.error_rate - then.error_rate)
    return {**asked, MISSED: own[MISSED], WRONG: wrong}


def _elsewhere(situation: Situation, place: Place, link: Link, until_ms: float) -> Mapping[str, float]:
    """What one request to another place costs, which is waited for so long. MISSED: the share that takes longer."""
    carried = situation.request_bytes + situation.answer_bytes
    fixed = link.rtt_ms + transfer_ms(carried, link)
    packets = math.ceil(situation.request_bytes / PACKET_BYTES) + math.ceil(situation.answer_bytes / PACKET_BYTES)
    lost = 1 - (1 - link.loss_percent / 100) ** packets
    clean = waiting(place.service_ms, place.p95_ms, until_ms, fixed_ms=fixed)
    again = waiting(place.service_ms, place.p95_ms, until_ms, fixed_ms=fixed + TIMEOUT_MS + link.rtt_ms)
    waited, missed = ((1 - lost) * good + lost * bad for good, bad in zip(clean, again, strict=True))
    joules = place.joules + situation.joules_per_megabyte * carried / 1e6
    return {WAITED_MS: waited, MISSED: missed, JOULES: joules, MONEY: place.price + link.price_per_megabyte * carried / 1e6}


def _move_then(places: list[str], moving: Mapping[str, Numbers], unsure_share: float) -> None:
    """Moves to and from THEN_CLOUD, from those to DEVICE and CLOUD: the device is as warm there as in DEVICE, and of the way to the cloud
    those wait who ask, whose own answer stands by the deadline."""
    device, cloud, then = (places.index(it) for it in (DEVICE, CLOUD, THEN_CLOUD))
    shares = {WAITED_MS: unsure_share, MISSED: 0.0}
    for which, costs in moving.items():
        here, there = costs[cloud, device].copy(), shares.get(which, 1.0) * costs[device, cloud]
        costs[:, then] = here + there
        costs[device, then], costs[cloud, then], costs[then, device] = there, here, 0.0


def _moved(situation: Situation, place: Place, link: Link | None, load: float) -> Mapping[str, float]:
    """What a move there costs."""
    pause_ms = place.warm_up_ms + (link.rtt_ms + transfer_ms(place.model_bytes, link) if link else 0.0)
    pause, deadline = pause_ms / 1000, situation.deadline_ms / 1000
    late = max(0.0, pause - deadline)
    megabytes = place.model_bytes / 1e6 if link else 0.0
    return {
        WAITED_MS: 1000 * load * (min(pause, deadline) ** 2 / 2 + late * deadline),
        MISSED: load * late,
        JOULES: situation.joules_per_megabyte * megabytes,
        MONEY: link.price_per_megabyte * megabytes if link else 0.0,
    }


def transfer_ms(size_bytes: float, link: Link) -> float:
    """How long so many bytes take at the link's rate."""
    return size_bytes * 8 / (link.megabits_per_second * 1000)


def waiting(
    service_ms: float, p95_ms: float, deadline_ms: float, *, fixed_ms: float = 0.0, requests_per_second: float = 0.0
) -> tuple[float, float]:
    """E[min(T, D)] in ms, and P(T > D), for T = fixed + serving, and the queue in front of it where requests come at that rate."""
    spread = max(min((p95_ms - service_ms) / _TAIL, service_ms), _LEAST_MS)
    floor = fixed_ms + max(service_ms - spread, 0.0)
    left = deadline_ms - floor
    busy = requests_per_second * service_ms / 1000
    if left <= 0 or busy >= 1:
        return deadline_ms, 1.0
    queue = requests_per_second / 1000 * service_ms**2 * (1 + (spread / service_ms) ** 2) / (2 * (1 - busy))
    tail, area = _exponential(spread, left)
    if busy > 0:
        queued_tail, queued_area = _two_exponentials(spread, queue / busy, left)
        tail, area = (1 - busy) * tail + busy * queued_tail, (1 - busy) * area + busy * queued_area
    return floor + area, min(max(tail, 0.0), 1.0)


def _exponential(mean: float, until: float) -> tuple[float, float]:
    """P(E > t), and its integral from 0 to t."""
    tail = math.exp(-until / mean)
    return tail, mean * -math.expm1(-until / mean)


def _two_exponentials(first: float, second: float, until: float) -> tuple[float, float]:
    """The same for the sum of two with these means; equal ones are told apart by a millionth, or the fraction would be 0/0."""
    second = max(second, _LEAST_MS)
    if abs(first - second) < 1e-4 * first:
        second = first * (1 + 1e-4)
    found = [
        (second * longer - first * shorter) / (second - first)
        for longer, shorter in zip(_exponential(second, until), _exponential(first, until), strict=True)
    ]
    return found[0], found[1]
