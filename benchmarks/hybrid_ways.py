"""What each way to answer does with the same requests: `hybrid.py`'s simulation of one request a step, and the plan's expectations of it.

Times are drawn from the distributions whose closed forms are in `isthmus.migration.costs`: serving is a floor and an exponential; a queue
in front of the device, and of the cloud's servers at their utilisation (M/G/1); a round trip, bytes over the rate, and where a packet was
lost a retransmission more. A device that asks gives its own answer 2 ms before the deadline (docs/offload.md), and stops asking after three
failures until a try of its own has come back, for which nobody waits (docs/edge.md): in a cut, three requests wait.
"""

import math
from dataclasses import dataclass, replace

import numpy as np
from hybrid_release import Flags, Known, Numbers

from isthmus.compile.halves.ways import Situation as CutSituation
from isthmus.compile.halves.ways import plan as plan_cuts
from isthmus.limits import FALLBACK_TIMEOUT_MS
from isthmus.migration.costs import PACKET_BYTES, TIMEOUT_MS, transfer_ms, waiting
from isthmus.migration.learning.stream import stream
from isthmus.migration.learning.traces import PLANNED, matrix_of
from isthmus.migration.process import Choices, Process
from isthmus.migration.situation import Link, Worth
from isthmus.sizing.cost import BYTES_PER_GIGABYTE, DEFAULT_PRICES
from isthmus_agent.formats.policy import CLOUD, DEVICE

DIMENSIONS = stream().process.dimensions
UNSURE = "device, then cloud"
PLACES = (DEVICE, UNSURE, CLOUD)
STEP_SECONDS = 20.0
BEFORE_DEADLINE_MS = 2.0
FAILURES = 3
_TAIL = math.log(20) - 1
TIMEOUT_OF_CLOUD_MS = float(FALLBACK_TIMEOUT_MS.default or 0)


@dataclass(frozen=True)
class Case:
    """links: by network level, None where it is cut. load: requests a second, by level. used: of the cloud's servers, by its load's level.

    watts: of the device while it computes. joules_per_megabyte: of its radio. mistake_ms: what a wrong answer is worth. speed_factor: of
    the class of devices. mean and p95 in ms: medians stand for means (see hybrid.py).
    """

    known: Known
    speed_factor: float
    deadline_ms: float
    links: tuple[Link | None, ...]
    load: tuple[float, float]
    used: tuple[float, float]
    worth: Worth
    mistake_ms: float
    watts: float
    joules_per_megabyte: float

    @property
    def device(self) -> tuple[float, float]:
        """One run's ms, and its 95th percentile."""
        return self.known.device.p50_ms * self.speed_factor, self.known.device.p95_ms * self.speed_factor

    @property
    def cloud(self) -> tuple[float, float]:
        return self.known.cloud.p50_ms, self.known.cloud.p95_ms

    @property
    def server_price(self) -> float:
        """Of a second of a server."""
        return DEFAULT_PRICES.servers["cpu-2"] / 3600


def scene_shares(examples: int) -> Numbers:
    """(2, N): how often each example comes in a clear and in a hard scene; the least sure first. In a hard scene the weight falls from 2 to
    0 with the rank, and clear ones have the rest, so that by the plan's shares of scenes all examples come equally often, as they were
    measured."""
    rank = (np.arange(examples) + 0.5) / examples
    clear, hard = PLANNED["scene"].shares
    dense = np.stack([(1 - hard * 2 * (1 - rank)) / clear, 2 * (1 - rank)])
    found: Numbers = dense / dense.sum(axis=1, keepdims=True)
    return found


@dataclass(frozen=True)
class Timed:
    """Of a place, by what is drawn. spread, floor: of serving. queue, busy: of M/G/1."""

    floor: float
    spread: float
    queue: float
    busy: float

    def served(self, e: Numbers) -> Numbers:
        return self.floor + self.spread * e

    def waited(self, u: Numbers, e: Numbers) -> Numbers:
        return np.where(u < self.busy, e * (self.queue / self.busy if self.busy else 0.0), 0.0)


def timed(mean: float, p95: float, per_second: float) -> Timed:
    """As isthmus.migration.costs.waiting has it."""
    spread = max(min((p95 - mean) / _TAIL, mean), 1e-6)
    busy = per_second * mean / 1000
    if busy >= 1:
        raise SystemExit(f"a device of {mean:g} ms a request cannot answer {per_second:g} a second")
    queue = per_second / 1000 * mean**2 * (1 + (spread / mean) ** 2) / (2 * (1 - busy))
    return Timed(max(mean - spread, 0.0), spread, queue, busy)


def levels() -> tuple[Choices, ...]:
    """Of network, load, scene and cloud load, by cell."""
    return tuple(axis.ravel() for axis in np.indices([len(it.levels) for it in DIMENSIONS]))


def lost_share(link: Link, sent: float, answered: float) -> float:
    packets = math.ceil(sent / PACKET_BYTES) + math.ceil(answered / PACKET_BYTES)
    return 1 - (1 - link.loss_percent / 100) ** packets


@dataclass(frozen=True)
class Requests:
    """One request in each step of one trace and seed: what all ways see. Each (steps,). first_u: says which request of its step it is."""

    cells: Choices
    example: Choices
    own_served: Numbers
    own_waited: Numbers
    cloud_served: Numbers
    cloud_waited: Numbers
    lost_u: Numbers
    first_u: Numbers
    cut_begins: Flags


def drawn(case: Case, cells: Choices, seed: int) -> Requests:
    """cells: (steps,)."""
    random = np.random.default_rng(seed)
    network, load, scene, cloud_load = (level[cells] for level in levels())
    shares = np.cumsum(scene_shares(len(case.known.sure)), axis=1)
    u, e = random.random((5, len(cells))), random.exponential(size=(4, len(cells)))
    # One search for both scenes: the shares of the one lie between 0 and 1, of the other between 2 and 3.
    example = np.searchsorted(np.concatenate([shares[0], 2 + shares[1]]), 2 * scene + u[0]) - scene * len(case.known.sure)
    example = example.clip(0, len(case.known.sure) - 1)
    own = [timed(*case.device, per_second) for per_second in case.load]
    served = [timed(*case.cloud, 1000 * used / case.cloud[0]) for used in case.used]
    cut = network == 0
    return Requests(
        cells,
        example,
        own[0].served(e[0]),
        np.choose(load, [it.waited(u[1], e[1]) for it in own]),
        served[0].served(e[2]),
        np.choose(cloud_load, [it.waited(u[2], e[3]) for it in served]),
        u[3],
        u[4],
        cut & ~np.concatenate([[False], cut[:-1]]),
    )


@dataclass(frozen=True)
class Outcome:
    """Of each request, (steps,) each: ms until it is answered, whether the answer is right, what it cost, and whether it was sent away."""

    ms: Numbers
    right: Flags
    money: Numbers
    sent_bytes: Numbers
    joules: Numbers
    sent: Flags

    def weighed(self, case: Case) -> Numbers:
        """Everything in ms, as the decision process weighs it; nobody waits longer than the deadline for an answer."""
        late = self.ms > case.deadline_ms
        waited = np.minimum(self.ms, case.deadline_ms)
        worth = case.worth
        found: Numbers = (
            waited
            + worth.deadline_miss_ms * late
            + case.mistake_ms * ~self.right
            + worth.joule_ms * self.joules
            + worth.money_ms * self.money
        )
        return found


def asking_ms(case: Case, it: Requests, sent: float, answered: float, served: Numbers) -> Numbers:
    """Until an answer of the cloud is there; infinite where the network is cut."""
    network, found = levels()[0][it.cells], np.full(len(it.cells), np.inf)
    for level, link in enumerate(case.links):
        if link is not None:
            here = network == level
            again = (it.lost_u < lost_share(link, sent, answered)) * (TIMEOUT_MS + link.rtt_ms)
            found[here] = (link.rtt_ms + transfer_ms(sent + answered, link) + served + it.cloud_waited + again)[here]
    return found


def answered(case: Case, it: Requests, places: Choices, asks: Flags, *, has_breaker: bool = True) -> Outcome:
    """What comes of it. places: (steps,), indices of PLACES. asks: (steps,), whether a device in UNSURE asks for this answer."""
    at_once, after = places == PLACES.index(CLOUD), (places == PLACES.index(UNSURE)) & asks
    known = case.known
    network, load, *_ = (level[it.cells] for level in levels())
    per_step = np.array(case.load)[load] * STEP_SECONDS
    cut = network == 0
    # Of a cut's first step the requests that are among the first three to be sent away wait, and nobody after them.
    share = np.where(at_once, 1.0, max(float(asks.mean()), 1e-9))
    waits_in_vain = it.cut_begins & (it.first_u < FAILURES / (per_step * share)) if has_breaker else cut
    sent = (at_once | after) & (~cut | waits_in_vain)
    own = it.own_served + it.own_waited
    limit = np.minimum(TIMEOUT_OF_CLOUD_MS, case.deadline_ms - BEFORE_DEADLINE_MS - np.where(at_once, case.device[1], own)).clip(0)
    ask = asking_ms(case, it, known.request_bytes, known.answer_bytes, it.cloud_served)
    # Who comes to ask opens a connection: two round trips (TCP, TLS 1.3) for the first request of the step.
    connected = places != PLACES.index(DEVICE)
    opens = connected & ~np.concatenate([[False], connected[:-1]]) & (it.first_u < 1 / per_step)
    rtt = np.array([link.rtt_ms if link else 0.0 for link in case.links])[network]
    ask = ask + 2 * rtt * opens
    got = sent & (ask <= limit)
    waited = np.where(sent, np.minimum(ask, limit), 0.0)
    runs = ~at_once | ~got
    ms = waited + np.where(at_once & ~cut, np.where(got, 0.0, it.own_served), own)
    right = np.where(got, known.serving_right[it.example], known.edge_right[it.example])
    through = sent & ~cut
    sent_bytes = through * float(known.request_bytes) + got * float(known.answer_bytes)
    money = through * known.cloud.p50_ms / 1000 * case.server_price + sent_bytes * DEFAULT_PRICES.per_gigabyte_shipped / BYTES_PER_GIGABYTE
    joules = runs * it.own_served / 1000 * case.watts + case.joules_per_megabyte * sent_bytes / 1e6
    return Outcome(ms, right, money, sent_bytes, joules, sent)


def partitioned(case: Case, it: Requests) -> tuple[Outcome, list[str]]:
    """The network cut where `isthmus partition` says, at each level's rate and round trip; on the device where the link is cut. Both halves
    are the edge variant's, and answer as it does. Also says which way is taken at each level."""
    own = answered(case, it, np.zeros(len(it.cells), np.intp), np.zeros(len(it.cells), np.bool_))
    fields = {name: getattr(own, name).copy() for name in ("ms", "money", "sent_bytes", "joules", "sent")}
    network, names = levels()[0][it.cells], []
    for level, link in enumerate(case.links):
        found = plan_cuts(case.known.cuts, CutSituation(link.rtt_ms, case.speed_factor, 1.0, 0.005, 0.05)) if link else None
        best = found.choice.best(link.megabits_per_second) if found and link else 0
        names.append(found.offers[best].way.name if found else "all on the device")
        if found is None or link is None or (offer := found.offers[best]).cut is None or offer.form is None:
            continue
        here, carried = network == level, offer.way.sent_bytes
        head_ms = (offer.cut.head_ms + offer.form.encode_ms) * case.speed_factor
        tail_ms = offer.cut.tail_ms + offer.form.decode_ms
        ask = asking_ms(case, it, carried, 40, np.full(len(network), tail_ms))
        gives_up = case.deadline_ms - BEFORE_DEADLINE_MS - case.device[1] - head_ms
        late = ask > gives_up
        fields["ms"][here] = (head_ms + np.where(late, gives_up + it.own_served, ask))[here]
        fields["sent_bytes"][here] = carried + 40
        price = tail_ms / 1000 * case.server_price + (carried + 40) * DEFAULT_PRICES.per_gigabyte_shipped / BYTES_PER_GIGABYTE
        fields["money"][here] = price
        joules = (head_ms + late * it.own_served) / 1000 * case.watts + case.joules_per_megabyte * (carried + 40) / 1e6
        fields["joules"][here] = joules[here]
        fields["sent"][here] = True
    return replace(own, **fields), names


def process_of(case: Case) -> Process:
    """The plan's decision process: what one request costs in ms in each place and cell, by closed forms, and what moving adds to it."""
    known, worth = case.known, case.worth
    shares = scene_shares(len(known.sure))
    unsure = known.sure < case.known.auto
    cost = np.zeros((len(PLACES), len(levels()[0])))
    moving = np.zeros((len(PLACES), len(PLACES), cost.shape[1]))
    computing = worth.joule_ms * case.device[0] / 1000 * case.watts
    for cell, (network, load, scene, cloud_load) in enumerate(zip(*levels(), strict=True)):
        share, link = shares[scene], case.links[network]
        wrong, wrong_there = ~known.edge_right, ~known.serving_right
        own_ms, own_late = waiting(*case.device, case.deadline_ms, requests_per_second=case.load[load])
        own = own_ms + worth.deadline_miss_ms * own_late + computing
        idle = waiting(*case.device, case.deadline_ms)[0] + computing
        cost[:, cell] = own + case.mistake_ms * (share @ wrong)
        if link is None:
            continue
        for place, busy_ms in ((1, own_ms), (2, case.device[1])):
            limit = min(TIMEOUT_OF_CLOUD_MS, case.deadline_ms - BEFORE_DEADLINE_MS - busy_ms)
            asked_ms, in_vain = asked_ms_and_share(case, link, cloud_load, limit)
            then = np.where(unsure | (place == 2), in_vain * wrong + (1 - in_vain) * wrong_there, wrong)
            asks = share @ unsure if place == 1 else 1.0
            runs = own if place == 1 else in_vain * idle
            cost[place, cell] = runs + asks * asked_ms + case.mistake_ms * (share @ then)
            moving[0, place, cell] = 2 * link.rtt_ms / (case.load[load] * STEP_SECONDS)
    return Process(PLACES, DIMENSIONS, matrix_of(PLANNED), cost, moving, np.ones(cost.shape, bool), 0.99)


def asked_ms_and_share(case: Case, link: Link, cloud_load: int, limit: float) -> tuple[float, float]:
    """What a request to the cloud costs in ms, E[min(T, limit)] with joules and money in it; and P(T > limit)."""
    known, carried = case.known, case.known.request_bytes + case.known.answer_bytes
    money = known.cloud.p50_ms / 1000 * case.server_price + carried * DEFAULT_PRICES.per_gigabyte_shipped / BYTES_PER_GIGABYTE
    sending = case.worth.joule_ms * case.joules_per_megabyte * carried / 1e6 + case.worth.money_ms * money
    fixed = link.rtt_ms + transfer_ms(carried, link)
    lost = lost_share(link, known.request_bytes, known.answer_bytes)
    per_second = 1000 * case.used[cloud_load] / case.cloud[0]
    clean, again = (
        waiting(*case.cloud, limit, fixed_ms=it, requests_per_second=per_second) for it in (fixed, fixed + TIMEOUT_MS + link.rtt_ms)
    )
    return sending + (1 - lost) * clean[0] + lost * again[0], (1 - lost) * clean[1] + lost * again[1]
