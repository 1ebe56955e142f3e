"""What a layer makes of each member's view, checked, and how it is sent: a byte a number."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from isthmus.errors import InputError, Problem, property_path
from isthmus.fusion.views import Numbers

MOST_HEAD_INPUTS: Final = 2048
"""Numbers of all members together: a head of more is not learned (its equations grow with their cube)."""
_LEVELS: Final = 255


@dataclass(frozen=True)
class Embedded:
    """members: their names, in order. values: [members, examples, size]. labels: [examples], the right classes below `classes`."""

    members: tuple[str, ...]
    values: Numbers
    labels: NDArray[np.int64]
    classes: int

    def of(self, examples: NDArray[Any]) -> "Embedded":
        """These examples alone. examples: whole numbers, or one truth value for each."""
        return Embedded(self.members, self.values[:, examples], self.labels[examples], self.classes)


def embedded_of(values: Mapping[str, Any], labels: NDArray[np.int64], classes: int, where: str) -> Embedded:
    """The checked embeddings.

    Args:
        values: by member, [examples, size]. labels, classes: as checked `Views` have them.
        where: the path of the file that the views came from, for problems.

    Raises:
        InputError: everything that is wrong with them.
    """
    tables = {name: np.asarray(values[name], np.float64) for name in sorted(values)}
    problems = [
        Problem(property_path([name], where), f"found {list(table.shape)}", f"[{len(labels)}, size]: one embedding for each label")
        for name, table in tables.items()
        if table.ndim != 2 or len(table) != len(labels) or not table.shape[1]
    ]
    if not problems:
        problems = [
            Problem(property_path([name], where), "the layer makes numbers of it that are not finite", "numbers", "choose another layer")
            for name, table in tables.items()
            if not np.isfinite(table).all()
        ]
        sizes = {name: table.shape[1] for name, table in tables.items()}
        if len(set(sizes.values())) > 1:
            each = ", ".join(f"{name} {size}" for name, size in sizes.items())
            problems.append(Problem(where, f"embeddings differ in size ({each})", "those of one layer of one model"))
        elif (together := sum(sizes.values())) > MOST_HEAD_INPUTS:
            what = f"the layer has {next(iter(sizes.values()))} numbers for each of {len(sizes)} members, {together} together"
            problems.append(Problem(where, what, f"{MOST_HEAD_INPUTS} together at most", "choose a narrower layer with --layer"))
    if problems:
        raise InputError(problems)
    return Embedded(tuple(tables), np.stack(list(tables.values())), labels, classes)


@dataclass(frozen=True)
class Bytes:
    """How a member's numbers are written: q = round((v - low) / step), 0 to 255 (Jacob et al., arXiv 1712.05877). low, step: [members]."""

    low: Numbers
    step: Numbers

    @classmethod
    def of(cls, values: Numbers) -> "Bytes":
        """The least that hold these, and 0. values: [members, examples, size]."""
        low, high = np.minimum(values.min(axis=(1, 2)), 0), np.maximum(values.max(axis=(1, 2)), 0)
        step = (high - low) / _LEVELS
        return cls(low, np.where(step > np.finfo(np.float64).tiny, step, 1.0))

    def arrived(self, values: Numbers) -> Numbers:
        """What the reader makes of what was sent; beyond the ends it is the end."""
        low, step = self.low[:, None, None], self.step[:, None, None]
        return np.asarray(low + step * np.clip(np.round((values - low) / step), 0, _LEVELS))
