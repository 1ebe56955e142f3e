"""How many of a fleet's devices ask the cloud role at one time, and so what they send it.

A device that is not sure of its answers asks the cloud for each of its requests until it is sure again: a scene is hard, and stays
so for a while. Which devices are unsure at a time has a common cause in part (night, weather, one release), so that their number X
is beta-binomial: the share of unsure devices is itself a random number, Beta(α, β) with mean p, and pairs of devices are correlated
by ρ = 1/(α + β + 1), that is α = p·(1 − ρ)/ρ and β = (1 − p)·(1 − ρ)/ρ. J. G. Skellam, "A probability distribution derived from the
binomial distribution by regarding the probability of success as variable between the sets of trials", J. R. Stat. Soc. B 10 (1948);
ρ as in D. A. Williams, Biometrics 31 (1975). ρ = 0 is the binomial distribution, ρ = 1 all devices or none.

What they send is r·X requests per second, r: of one device.
"""

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from isthmus.limits import OFFLOAD
from isthmus_agent.formats.pauses import FIRST_PAUSE_SECONDS, PAUSE_SPREAD

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Asking:
    """What devices have a service answer. share: of their requests, on average. quantile_devices: so many ask at the quantile, by a
    simulation of the policies that they follow over `seconds` (`isthmus.migration.together`); None: there is none."""

    share: float
    quantile_devices: float | None = None
    seconds: float = 0.0


@dataclass(frozen=True)
class Offload:
    """Devices that may ask a service, as far as they are known.

    devices: N; 0: not known. unsure_share: p, in [0, 1]; None: not known. correlation: ρ, in [0, 1]. quantile_percent: of what they send,
    for which the service is sized. simulated_devices: how many ask at that quantile, by a simulation of so many seconds; None: there is
    none, and the distribution above says it.
    """

    devices: int = 0
    unsure_share: float | None = None
    correlation: float = OFFLOAD["correlation"].default
    quantile_percent: float = OFFLOAD["quantile_percent"].default
    simulated_devices: float | None = None
    simulated_seconds: float = 0.0

    def asked_by(self, asking: Asking) -> "Offload":
        """The same, of devices that ask so."""
        return replace(self, unsure_share=asking.share, simulated_devices=asking.quantile_devices, simulated_seconds=asking.seconds)


@dataclass(frozen=True)
class OffloadedLoad:
    """What devices send. quantile_devices: how many ask at the quantile, never fewer than on average. closed_devices: the same by the
    closed form, also where a simulation says it."""

    mean_devices: float
    quantile_devices: float
    requests_per_second_per_device: float
    closed_devices: float

    @property
    def mean_per_second(self) -> float:
        return self.mean_devices * self.requests_per_second_per_device

    @property
    def quantile_per_second(self) -> float:
        return self.quantile_devices * self.requests_per_second_per_device

    @property
    def closed_per_second(self) -> float:
        return self.closed_devices * self.requests_per_second_per_device


def offloaded_load(offload: Offload, edge_requests_per_second: float) -> OffloadedLoad | None:
    """The load, by a simulation, else by the distribution above; None where devices, their requests or their share are not known.

    A quantile below the mean (of a correlation near 1) would plan for less than there is every day: then it is the mean.

    Args:
        edge_requests_per_second: what all devices together are asked.
    """
    if not offload.devices or offload.unsure_share is None or not edge_requests_per_second:
        return None
    chances = unsure_devices(offload.devices, offload.unsure_share, offload.correlation)
    mean = offload.devices * offload.unsure_share
    closed = max(mean, float(quantile_of(chances, offload.quantile_percent / 100)))
    quantile = closed if offload.simulated_devices is None else max(mean, offload.simulated_devices)
    return OffloadedLoad(mean, quantile, edge_requests_per_second / offload.devices, closed)


def unsure_devices(devices: int, share: float, correlation: float) -> Floats:
    """P(X = k), k = 0 … devices, of the beta-binomial distribution. Shape (devices + 1,).

    By its ratios P(k + 1)/P(k) = (N − k)/(k + 1) · (α + k)/(β + N − k − 1), summed as logarithms: nothing overflows.

    Raises:
        ValueError: no devices, or a share or correlation outside [0, 1].
    """
    if devices < 1 or not 0 <= share <= 1 or not 0 <= correlation <= 1:
        raise ValueError(f"no distribution of {devices} devices with share {share} and correlation {correlation}")
    found = np.zeros(devices + 1)
    if share in (0, 1):
        found[-1 if share else 0] = 1
        return found
    if correlation == 1:
        found[0], found[-1] = 1 - share, share
        return found
    k = np.arange(devices, dtype=np.float64)
    # Both times ρ/(1 − ρ), which is 0 for the binomial distribution, where α and β would be infinite.
    step = correlation / (1 - correlation)
    ratios = (devices - k) / (k + 1) * (share + step * k) / (1 - share + step * (devices - k - 1))
    with np.errstate(divide="ignore"):  # of a share that is almost 0: nothing is left of the ratio
        logs = np.concatenate([[0.0], np.cumsum(np.log(ratios))])
    found = np.exp(logs - logs.max())
    return np.asarray(found / found.sum())


def quantile_of(chances: Floats, quantile: float) -> int:
    """The least k with P(X ≤ k) ≥ quantile, which lies in (0, 1)."""
    # A sum that is 0.99 but for rounding is 0.99.
    return min(int(np.searchsorted(np.cumsum(chances), quantile - 1e-12)), len(chances) - 1)


def storm_per_second(devices: int) -> float:
    """At most so many requests per second come when a short outage ends.

    All devices' breakers opened together. Each lets one try pass at the end of its pause, which is FIRST_PAUSE_SECONDS give or take
    PAUSE_SPREAD by chance (uniform); after a longer outage pauses, and with them the window, are longer.
    """
    return devices / (2 * PAUSE_SPREAD * FIRST_PAUSE_SECONDS)


def erlang_b(servers: int, offered_load: float) -> float:
    """The share that M/G/c/c turns away: A. K. Erlang (1917), by the recurrence B(k) = a·B(k − 1)/(k + a·B(k − 1)); it depends on the
    times' mean alone. Raises ValueError for fewer than 0 servers or a load that is none.
    """
    if servers < 0 or not (math.isfinite(offered_load) and offered_load >= 0):
        raise ValueError(f"Erlang B needs servers and a load from 0 on, not {servers} and {offered_load}")
    blocking = 1.0
    for k in range(1, servers + 1):
        blocking = offered_load * blocking / (k + offered_load * blocking)
    return blocking
