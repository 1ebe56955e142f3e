"""Checks of numbers that the formulas share: what makes no sense is an InputError with every bad entry, up to a limit."""

import math

import numpy as np
from numpy.typing import ArrayLike

from isthmus.errors import InputError, Problem
from isthmus.sizing.formulas.filling import Floats

# As many bad entries are named one by one; a list of a million mistakes helps nobody.
MOST_NAMED = 20
# No server or task is outside these by any unit, and within them no product or quotient in the formulas leaves a double.
_SMALLEST, _LARGEST = 1e-60, 1e60


def numbers(values: ArrayLike, path: str) -> Floats:
    """The values as an array of shape (M,), M ≥ 1.

    Raises:
        InputError: not a flat list of numbers, or an empty one.
    """
    try:
        array = np.array(values, dtype=np.float64)
    except (TypeError, ValueError):
        raise InputError([Problem(path, "not a list of numbers", "one number a server", "write plain numbers")]) from None
    if array.ndim != 1 or not len(array):
        raise InputError([Problem(path, f"a shape of {array.shape}", "a flat list of at least one number", "name at least one")])
    return array


def positive_numbers(values: ArrayLike, path: str, what: str, *, zero_too: bool = False) -> Floats:
    """The values as an array of shape (M,), each from 1e-60 (0 with `zero_too`) to 1e60.

    Raises:
        InputError: naming every entry that is not.
    """
    array = numbers(values, path)
    least = 0.0 if zero_too else _SMALLEST
    bad = np.flatnonzero(~((array >= least) & (array <= _LARGEST)))
    refuse(
        [
            Problem(f"{path}[{i}]", f"{what} {array[i]:g}", f"a number from {least:g} to {_LARGEST:g}", "correct it")
            for i in bad[:MOST_NAMED]
        ],
        len(bad),
        path,
    )
    return array


def rate_of(value: float, path: str) -> float:
    """The value as a finite number of at least 0; raises InputError otherwise."""
    if not math.isfinite(value) or value < 0:
        raise InputError([Problem(path, f"a rate of {value:g}", "a finite number >= 0", "correct it")])
    return float(value)


def bounds_of(low: ArrayLike | None, high: ArrayLike | None, count: int, path: str) -> tuple[Floats, Floats]:
    """Minimum and maximum shares, shape (count,) each; 0 and 1 where none are given.

    Raises:
        InputError: a share outside [0, 1], or not one share for each server.
    """
    bounds, problems, found = [], list[Problem](), 0
    for values, name, default in ((low, "min_shares", 0.0), (high, "max_shares", 1.0)):
        given = np.array(default if values is None else values, dtype=np.float64)
        if given.ndim and given.shape != (count,):
            problems.append(Problem(f"{path}.{name}", f"{given.size} values for {count} servers", "one for each", "add or remove some"))
            found += 1
            continue
        array = np.broadcast_to(given, (count,)).astype(np.float64)
        bad = np.flatnonzero(~((array >= 0) & (array <= 1)))
        problems += [Problem(f"{path}.{name}[{i}]", f"a share of {array[i]:g}", "0 to 1", "correct it") for i in bad[:MOST_NAMED]]
        found += len(bad)
        bounds.append(array)
    refuse(problems, found, path)
    return bounds[0], bounds[1]


def refuse(problems: list[Problem], found: int, path: str) -> None:
    """Raise an InputError with these problems, if there are any, and say how many more were found."""
    if problems and found > len(problems):
        problems = [*problems, Problem(path, f"and {found - len(problems)} more entries like these")]
    if problems:
        raise InputError(problems)
