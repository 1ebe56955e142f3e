"""The policy that devices of `hybrid.py` get: from the same figures, by the very code that a preview solves one with.

A policy file knows the device's network and load, and neither how hard a scene is nor how busy the cloud is: so the cloud's times are those
over both of its loads, and the shares of wrong and of unsure answers those of the whole evaluation set.
"""

import numpy as np
from hybrid_ways import PLACES, TIMEOUT_OF_CLOUD_MS, Case, levels, timed

from isthmus.migration.costs import build
from isthmus.migration.learning.traces import PLANNED
from isthmus.migration.process import Choices, Dimension
from isthmus.migration.situation import Axis, Link, Place, Situation, ThenCloud
from isthmus.migration.solve import solve
from isthmus.names import MAY_LEAVE_DEVICE
from isthmus.sizing.cost import BYTES_PER_GIGABYTE, DEFAULT_PRICES

STEP_SECONDS = 20.0
DISCOUNT = 0.99
DRAWS = 200_000


def signed_policy(case: Case) -> Choices:
    """(P, X), the places of PLACES in the cells of `hybrid.py`."""
    process = build(situation_of(case)).process
    network, load, *_ = levels()
    found = solve(process).next_place[:, network * len(case.load) + load]
    if len(process.places) == len(PLACES):
        return found
    found = np.where(found == 0, 0, PLACES.index("cloud"))  # without a price the places are the device and the cloud
    return np.stack([found[0], found[0], found[1]])


def situation_of(case: Case) -> Situation:
    """As `PolicySettings.of_class` makes it of a file with these figures and the release's answers."""
    known, unsure = case.known, case.known.sure < case.known.auto
    right = np.where(unsure, known.serving_right, known.edge_right)
    axes = [
        Axis(Dimension(name, tuple(f"l{it}" for it in range(len(PLANNED[name].shares)))), PLANNED[name].matrix())
        for name in ("network", "load")
    ]
    megabyte = DEFAULT_PRICES.per_gigabyte_shipped / BYTES_PER_GIGABYTE * 1e6
    links = [link and Link(link.rtt_ms, link.megabits_per_second, link.loss_percent, megabyte) for link in case.links]
    priced = case.mistake_ms > 0
    return Situation(
        "commands",
        STEP_SECONDS,
        DISCOUNT,
        case.deadline_ms,
        known.request_bytes,
        known.answer_bytes,
        type(case.worth)(case.worth.deadline_miss_ms, case.worth.joule_ms, case.worth.money_ms, case.mistake_ms),
        MAY_LEAVE_DEVICE,
        axes[0],
        tuple(links),
        axes[1],
        case.load,
        Place(*case.device, joules=case.device[0] / 1000 * case.watts, error_rate=float(1 - known.edge_right.mean())),
        Place(*cloud_times(case), known.cloud.p50_ms / 1000 * case.server_price, error_rate=float(1 - known.serving_right.mean())),
        joules_per_megabyte=case.joules_per_megabyte,
        then_cloud=ThenCloud(float(unsure.mean()), float(1 - right.mean()), TIMEOUT_OF_CLOUD_MS) if priced else None,
    )


def cloud_times(case: Case) -> tuple[float, float]:
    """Mean and 95th percentile of the cloud's times over both of its loads, with their queues; drawn."""
    dice = np.random.default_rng(1)
    busy = dice.random(DRAWS) < PLANNED["cloud load"].shares[1]
    served = [timed(*case.cloud, 1000 * used / case.cloud[0]) for used in case.used]
    u, e = dice.random(DRAWS), dice.exponential(size=(2, DRAWS))
    ms = served[0].served(e[0]) + np.where(busy, served[1].waited(u, e[1]), served[0].waited(u, e[1]))
    return float(ms.mean()), float(np.percentile(ms, 95))
