"""The policy file of a class of devices, from its solution: what goes into the signed bundle."""

from isthmus.errors import InputError, Problem
from isthmus.migration.situation import Situation
from isthmus.migration.study import Solved
from isthmus_agent.formats.numbers import FormatError
from isthmus_agent.formats.policy import Measured, Policy, from_json


def frame(device_class: str, situation: Situation, release: str = "", table: tuple[int, ...] = ()) -> Policy:
    """A policy over a situation's cells; without a table what it says of them is all that it is good for."""
    dimensions = tuple(
        Measured(
            axis.dimension.name,
            axis.dimension.unit,
            axis.dimension.levels,
            tuple(round(it * 1000) for it in axis.dimension.edges),
            round(axis.band * 1000),
            axis.dimension.unmeasured,
        )
        for axis in situation.axes
    )
    return Policy(release, device_class, tuple(situation.places), dimensions, table, round(situation.step_seconds * 1000))


def policy_of(found: Solved, release: str) -> Policy:
    """The policy for one release (its digest), just as a device will read it. Raises InputError where no device could."""
    table = tuple(int(it) for it in found.chosen.next_place.ravel())
    policy = frame(found.device_class, found.built.situation, release, table)
    try:
        return from_json(policy.to_json(), release)
    except FormatError as error:
        raise InputError(
            [Problem("", f"no device could read this policy: {error}", "names, edges and sizes within the format's bounds")]
        ) from error
