"""What many devices of a class have seen, merged into the process to solve next: the plan's transitions as the prior, their counts as seen.

Counts are summed as whole numbers, so that no order matters. Of one device no row counts for more than `most_a_row` transitions, all places
together, so that one that has run for years doesn't outweigh the others. Nor may one that lies (`_caps`): of m devices that tell a row none
counts for more of it than the middle one does, so that with m of 3 or more its share of what they tell is 1/(⌊m/2⌋ + 1) at most, whatever
it says. What only one or two of a fleet tell counts as much as the plan does, each. Of a fleet of one or two nothing can be compared.

What a row says has followed without saying where (`rest`: suppressed small counts) is spread as the prior has it over the cells that this
device doesn't tell: suppression takes nothing away from what is rare, and what is rare stays as rare as the plan held it, among itself.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from isthmus.errors import InputError, Problem, property_path
from isthmus.migration.learning.beliefs import SURPRISE
from isthmus.migration.process import Numbers, Process
from isthmus_agent.formats import digests
from isthmus_agent.formats.experience import Experience, meaning_of, read
from isthmus_agent.formats.numbers import FormatError
from isthmus_agent.formats.policy import Policy

PRIOR_WEIGHT: Final = 20.0
MOST_A_ROW: Final = 2_000
LEAST_TO_COMPARE: Final = 3
"""Devices: of two that differ nobody knows which one lies."""

_Followed = tuple[int, int]
_Untold = tuple[int, frozenset[int]]
"""A cell, and those that are told to have followed it."""


@dataclass(frozen=True, eq=False)
class Merged:
    """process: with what was learned. devices: how many have told something. transitions: how many of theirs count."""

    process: Process
    devices: int
    transitions: int


def experienced(process: Process, policy: Policy, contents: Mapping[str, bytes], prior_weight: float = PRIOR_WEIGHT) -> Merged:
    """The process of a policy's class, as the devices of that class have seen it that told something; other classes' are left out.

    process: the plan's, from which the policy is solved. contents: documents (`formats.experience`), one a device, by its name.

    Raises:
        InputError: documents that are none, or of other cells; all of them at once.
    """
    found: dict[str, list[Experience]] = {}
    problems = []
    for name, content in sorted(contents.items()):
        try:
            it = read(content)
        except FormatError as error:
            problems.append(
                Problem(property_path(["experiences", name]), f"is no experience: {error}", "a document that a device has written")
            )
            continue
        if it.device_class == policy.device_class:
            found[name] = [it]
    meaning = meaning_of(policy)
    problems += [problem for name, listed in found.items() for problem in _problems(name, listed, process, meaning)]
    if problems:
        raise InputError(problems)
    return learned_process(process, meaning, found, prior_weight)


def learned_process(
    process: Process,
    meaning: str,
    experiences: Mapping[str, Sequence[Experience]],
    prior_weight: float = PRIOR_WEIGHT,
    most_a_row: int = MOST_A_ROW,
) -> Merged:
    """The process of one class of devices, with transitions as these devices have seen them: the posterior's mean.

    process: the plan's. meaning: of its cells and places (`formats.experience.meaning_of` the policy that the devices have).
    experiences: by the device's name (or the file's); several of one device are added up before they are bounded. prior_weight: what the
    plan counts for, in transitions a row, above 0.

    Raises:
        InputError: experiences of other cells, or of several classes; all of them at once.
    """
    problems = [problem for name, listed in sorted(experiences.items()) for problem in _problems(name, listed, process, meaning)]
    classes = sorted({it.device_class for listed in experiences.values() for it in listed})
    if len(classes) > 1:
        problems.append(Problem("experiences", f"are of {', '.join(classes)}", "one class of devices", "merge those of each class"))
    if problems:
        raise InputError(problems)
    counts: Counter[_Followed] = Counter()
    rests: Counter[_Untold] = Counter()
    seen = [it for it in map(_seen, experiences.values()) if it.totals]
    caps = _caps([it.totals for it in seen], most_a_row, max(1, round(prior_weight)))
    for it in seen:
        own = _bounded(it, caps)
        counts.update(own[0])
        rests.update(own[1])
    return Merged(replace(process, transition=_posterior(process, counts, rests, prior_weight)), len(seen), counts.total() + rests.total())


@dataclass(frozen=True)
class _Seen:
    """What one device has seen. counts: how often a cell followed another. rests: how often one followed that isn't told. totals: both, by
    the cell before."""

    counts: Counter[_Followed]
    rests: Counter[int]
    totals: Counter[int]


def _seen(device: Sequence[Experience]) -> _Seen:
    counts: Counter[_Followed] = Counter()
    rests: Counter[int] = Counter()
    totals: Counter[int] = Counter()
    for experience in device:
        for (_, cell), row in experience.rows.items():
            rests[cell] += row.rest
            totals[cell] += row.total
            for following, count in row.counts.items():
                counts[cell, following] += count
    return _Seen(counts, rests, totals)


def _caps(totals: Sequence[Counter[int]], most_a_row: int, plan_weight: int) -> Mapping[int, int]:
    """For how many transitions of a cell's row one device counts at most; of each cell that one tells."""
    by_cell: dict[int, list[int]] = {}
    for device in totals:
        for cell, total in device.items():
            by_cell.setdefault(cell, []).append(total)
    return {cell: min(most_a_row, _cap(told, len(totals), plan_weight, most_a_row)) for cell, told in by_cell.items()}


def _cap(told: Sequence[int], devices: int, plan_weight: int, most_a_row: int) -> int:
    """told: totals of the devices that tell the row, of so many."""
    if devices < LEAST_TO_COMPARE:
        return most_a_row
    return sorted(told)[(len(told) - 1) // 2] if len(told) >= LEAST_TO_COMPARE else plan_weight


def _bounded(device: _Seen, caps: Mapping[int, int]) -> tuple[Counter[_Followed], Counter[_Untold]]:
    """What one device has seen, within its bounds: how often a cell followed another, and one of those that it doesn't tell."""
    counts, rests, totals = device.counts, device.rests, device.totals
    told: dict[int, set[int]] = {}
    for cell, following in counts:
        told.setdefault(cell, set()).add(following)
    shares = {cell: (min(total, caps[cell]), total) for cell, total in totals.items() if total}
    bounded = Counter({at: count * shares[at[0]][0] // shares[at[0]][1] for at, count in counts.items()})
    untold = Counter(
        {(cell, frozenset(told.get(cell, ()))): rest * shares[cell][0] // shares[cell][1] for cell, rest in rests.items() if rest}
    )
    return +bounded, +untold


def _posterior(process: Process, counts: Counter[_Followed], rests: Counter[_Untold], weight: float) -> Numbers:
    cells = process.shape[1]
    prior = (1 - SURPRISE) * process.transition + SURPRISE / cells
    parameters = weight * prior
    for (cell, told), rest in sorted(rests.items(), key=lambda it: (it[0][0], sorted(it[0][1]))):
        untold = np.delete(np.arange(cells), sorted(told))
        where = untold if len(untold) else np.arange(cells)
        parameters[cell, where] += rest * prior[cell, where] / prior[cell, where].sum()
    for (cell, following), count in sorted(counts.items()):
        parameters[cell, following] += count
    found: Numbers = parameters / parameters.sum(axis=1, keepdims=True)
    return found


def _problems(name: str, listed: Sequence[Experience], process: Process, meaning: str) -> Iterator[Problem]:
    for index, it in enumerate(listed):
        where = property_path(["experiences", name, index])
        if it.meaning != meaning:
            yield Problem(
                f"{where}.meaning",
                f"is of cells cut as {digests.shown(it.meaning)}",
                digests.shown(meaning),
                "leave it out: it was counted under a policy with other levels or steps",
            )
        elif (it.places, it.cells) != process.shape:
            yield Problem(where, f"has {it.places} places and {it.cells} cells", "{} and {}".format(*process.shape))
