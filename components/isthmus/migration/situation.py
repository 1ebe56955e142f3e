"""What a migration policy is made from: what was measured of places, links and load, and what each thing is worth. Values only."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from isthmus.migration.process import Dimension, Numbers
from isthmus.names import MAY_LEAVE_DEVICE, STAYS_IN_GROUP, STAYS_ON_DEVICE
from isthmus_agent.formats.policy import CLOUD, DEVICE, PEER, THEN_CLOUD

PRIVACY: Final = (MAY_LEAVE_DEVICE, STAYS_IN_GROUP, STAYS_ON_DEVICE)
"""Where a device's inputs may go: anywhere, to devices of its own group, nowhere."""


@dataclass(frozen=True)
class Link:
    """A way from the device to a place. price_per_megabyte: of a metered network, both directions alike."""

    rtt_ms: float
    megabits_per_second: float
    loss_percent: float = 0.0
    price_per_megabyte: float = 0.0


@dataclass(frozen=True)
class Place:
    """Where requests can run.

    service_ms, p95_ms: mean and 95th percentile of the time that serving takes there, one request at a time. price: of a request.
    joules: of the device's battery, for a request that runs there, without the radio. warm_up_ms: until it answers after a move.
    model_bytes: that a move must bring there first. link: its own; None: the device's network at its present level. error_rate: the share
    of its answers that are wrong.
    """

    service_ms: float
    p95_ms: float
    price: float = 0.0
    joules: float = 0.0
    warm_up_ms: float = 0.0
    model_bytes: float = 0.0
    link: Link | None = None
    error_rate: float = 0.0


@dataclass(frozen=True)
class ThenCloud:
    """The device, which then asks the cloud for what it is not sure of.

    unsure_share: of the requests. error_rate: the share of all answers that are wrong, where the cloud answers what it is asked in time.
    timeout_ms: how long the cloud is waited for at most.
    """

    unsure_share: float
    error_rate: float
    timeout_ms: float = math.inf


@dataclass(frozen=True)
class Answers:
    """How often answers are wrong, as far as it is known: shares, 0 to 1. then_cloud: where the cloud answers what the device is not sure
    of, unsure_share of the requests. peers: by class, in pairs. timeout_ms: that a device waits for the cloud."""

    device: float | None = None
    cloud: float | None = None
    then_cloud: float | None = None
    unsure_share: float | None = None
    peers: tuple[tuple[str, float], ...] = ()
    timeout_ms: float = math.inf


NOTHING_MEASURED: Final = Answers()


@dataclass(frozen=True)
class Headroom:
    """A level of thermal or battery head-room: factors of the device's own times and joules."""

    slowdown: float = 1.0
    joules_factor: float = 1.0


@dataclass(frozen=True)
class Worth:
    """What other things are worth, in milliseconds of waiting: a missed deadline, a joule, one unit of money, a wrong answer (0: not
    weighed)."""

    deadline_miss_ms: float
    joule_ms: float
    money_ms: float
    wrong_answer_ms: float = 0.0


@dataclass(frozen=True)
class Axis:
    """A dimension of the cell and its matrix of one step, (levels, levels). band: see the policy file's format, in the unit itself."""

    dimension: Dimension
    transition: Numbers
    band: float = 0.0


@dataclass(frozen=True)
class Situation:
    """All of it.

    network: a link for each level of its axis, None where it is cut. load: requests per second for each level. headroom: None where it
    is not known. peers: classes of other devices by name. cloud: None where there is none. joules_per_megabyte: of the device's radio.
    then_cloud: None: it is no place of its own. network_common: the share of the network's changes that all of a fleet see at once.
    """

    name: str
    step_seconds: float
    discount: float
    deadline_ms: float
    request_bytes: float
    answer_bytes: float
    worth: Worth
    privacy: str
    network_axis: Axis
    network: tuple[Link | None, ...]
    load_axis: Axis
    load: tuple[float, ...]
    device: Place
    cloud: Place | None = None
    peers: Mapping[str, Place] | None = None
    headroom_axis: Axis | None = None
    headroom: tuple[Headroom, ...] = (Headroom(),)
    joules_per_megabyte: float = 0.0
    then_cloud: ThenCloud | None = None
    network_common: float = 0.0

    @property
    def places(self) -> Mapping[str, Place]:
        """By their names, the device first."""
        cloud = {CLOUD: self.cloud} if self.cloud else {}
        if self.cloud and self.then_cloud:
            cloud = {THEN_CLOUD: replace(self.device, error_rate=self.then_cloud.error_rate), **cloud}
        return {DEVICE: self.device, **cloud, **{PEER + name: place for name, place in (self.peers or {}).items()}}

    @property
    def axes(self) -> tuple[Axis, ...]:
        """Network, load, and head-room where it is known."""
        return (self.network_axis, self.load_axis, *([self.headroom_axis] if self.headroom_axis else []))

    def of_class(self, speed_factor: float, joules_factor: float = 1.0) -> "Situation":
        """The same for a class of devices whose runs take so many times as long, and so many times the joules."""
        device = self.device
        service_ms, p95_ms = device.service_ms * speed_factor, device.p95_ms * speed_factor
        return replace(self, device=replace(device, service_ms=service_ms, p95_ms=p95_ms, joules=device.joules * joules_factor))


def leaving(step_seconds: float, stays_seconds: float) -> float:
    """The probability that a level is left in one step, where it lasts so long in the mean: 1 − e^(−step/stays)."""
    return float(-np.expm1(-step_seconds / stays_seconds))


def wandering(stays_seconds: tuple[float, ...], step_seconds: float) -> Numbers:
    """(levels, levels): each level lasts so long in the mean, and then goes one up or one down, evenly."""
    levels = len(stays_seconds)
    matrix = np.zeros((levels, levels))
    for level, stays in enumerate(stays_seconds):
        near = [it for it in (level - 1, level + 1) if 0 <= it < levels]
        leaves = leaving(step_seconds, stays) if near else 0.0
        matrix[level, level] = 1 - leaves
        matrix[level, near] = leaves / max(len(near), 1)
    return matrix
