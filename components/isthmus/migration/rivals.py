"""The policies that one has without a decision process: what the best one is compared with, each as a table like its own.

Where a policy would go to a place that is not allowed in a cell, it takes the cheapest allowed one in its stead.
"""

from collections.abc import Mapping
from typing import Final

import numpy as np

from isthmus.migration.process import Choices, Numbers, Process, stationary
from isthmus.migration.solve import evaluate
from isthmus_agent.formats.policy import CLOUD, DEVICE, THEN_CLOUD

NEVER: Final = "never"
ALWAYS_CLOUD: Final = "always cloud"
UNSURE: Final = "when unsure"
THRESHOLD: Final = "threshold"
MYOPIC: Final = "myopic"
FOLLOW: Final = "follow the user"


def always(process: Process, place: str) -> Choices:
    """Always this place: `device` is the policy that never moves away, `cloud` the one that always asks the cloud."""
    return _allowed(process, np.full(process.shape, process.places.index(place)))


def myopic(process: Process) -> Choices:
    """The cheapest choice of this step, the move included, with no thought of the next. Staying wins a tie."""
    choices = process.moving_cost.transpose(1, 0, 2) + _serving(process)[:, None, :]
    stays = _stays(process)
    stay = np.take_along_axis(choices, stays[None], axis=0)[0]
    found: Choices = np.where(stay <= choices.min(axis=0), stays, choices.argmin(axis=0))
    return found


def follow_the_user(process: Process) -> Choices:
    """Always where serving is cheapest now, whatever the move costs. Staying wins a tie."""
    serving, stays = _serving(process), _stays(process)
    found: Choices = np.where(serving <= serving.min(axis=0), stays, serving.argmin(axis=0)[None])
    return found


def threshold(process: Process, away: str) -> Choices:
    """The best of all rules with one threshold: the device on one side of a level of one dimension, `away` on the other.

    What a fleet's people would tune by hand (KubeEdge's Sedna has a threshold of this kind), tuned perfectly.
    """
    home, elsewhere = process.places.index(DEVICE), process.places.index(away)
    levels = np.array([process.cell_levels(cell) for cell in range(process.shape[1])])
    rules = [
        _allowed(process, np.broadcast_to(np.where((levels[:, axis] < level) == below, home, elsewhere), process.shape))
        for axis, count in enumerate(process.levels)
        for level in range(count + 1)
        for below in (True, False)
    ]
    begins = stationary(process.transition)
    return min(rules, key=lambda it: float(begins @ evaluate(process, it)[0]))


def without_policy(process: Process) -> Mapping[str, Choices]:
    """What needs no policy at all, by its name: one place for everything."""
    places = {NEVER: DEVICE, UNSURE: THEN_CLOUD, ALWAYS_CLOUD: CLOUD}
    return {name: always(process, place) for name, place in places.items() if place in process.places}


def rivals(process: Process) -> Mapping[str, Choices]:
    """All of them by their names; those that ask the cloud only where the process knows one."""
    found = {**without_policy(process)}
    aways = [it for it in (CLOUD, THEN_CLOUD) if it in process.places]
    if aways and DEVICE in process.places:
        begins = stationary(process.transition)
        found[THRESHOLD] = min((threshold(process, it) for it in aways), key=lambda it: float(begins @ evaluate(process, it)[0]))
    return {**found, MYOPIC: myopic(process), FOLLOW: follow_the_user(process)}


def expected(process: Process, value: Numbers) -> float:
    """The cost of a step, discounted, of a device that begins in the first place and in the cells' long-run shares.

    (1 − discount)·Σ_x π(x)·V(0, x): the discounted cost as if every step cost the same.
    """
    return float((1 - process.discount) * (stationary(process.transition) @ value[0]))


def _serving(process: Process) -> Numbers:
    return np.where(process.allowed, process.serving_cost, np.inf)


def _stays(process: Process) -> Choices:
    places, cells = process.shape
    return np.repeat(np.arange(places)[:, None], cells, axis=1)


def _allowed(process: Process, wanted: Choices) -> Choices:
    cells = np.arange(process.shape[1])[None]
    found: Choices = np.where(process.allowed[wanted, cells], wanted, _serving(process).argmin(axis=0)[None])
    return found
