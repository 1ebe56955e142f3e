"""What one member of a group says of one example: its evidence, in a byte or so for each class that it holds for possible.

The evidence for a class is how far its calibrated log-odds stand below those of the class that the member holds for the likeliest, in nats,
cut at `clip`: 0 for the likeliest, -clip for all that are out of the question. So no member says more against a class than `clip`, whatever
it answered, and who reads it cuts nothing.

On the wire it is a whole number, the highest bits first, filled with zeros to whole bytes; with b the bits of a class's number:

    b bits      how many other classes are named
    b bits      the likeliest class; of several the one with the least number
    b + 4 bits  for each class that is named, in rising order: its number, and its level: 1 … 15 sixteenths of `clip` below the likeliest

A class that is not named is at level 16, and none but the likeliest at 0, so that a member's own answer stays what it was. Of 10 classes
a sure answer has 1 byte, and one that is sure of nothing 10. Each evidence has one writing, and reading refuses every other.
"""

import math
from collections.abc import Sequence
from typing import Final

from isthmus_agent.formats.numbers import FormatError

MOST_CLASSES: Final = 4096
LEVELS: Final = 16
"""Into so many steps `clip` is divided. A step of a third of a nat is a seventh of a standard deviation of what members err by."""
_LEVEL_BITS: Final = 4
MOST_BELOW: Final = 16.0
"""Nats below the likeliest class: a probability of 1e-7 of its, below which a float32 says nothing, and a quantised one says 0."""
_MOST_LOG: Final = 1e6


def evidence_of(log_probabilities: Sequence[float], scale: float, log_prior: Sequence[float], clip: float) -> tuple[float, ...]:
    """The evidence [classes] in an answer, each in [-clip, 0], the largest 0.

    Args:
        log_probabilities: one for each class, or scores that differ from them by the same number; -inf for an impossible class.
        scale: one over the member's temperature. log_prior: of the classes, which the answer has in it already and the group adds once.

    Raises:
        FormatError: another number of classes, or a value that is neither -inf nor within a million of 0, or no class that is possible.
    """
    if len(log_probabilities) != len(log_prior):
        raise FormatError("", f"an answer of {len(log_probabilities)} classes, expected {len(log_prior)}")
    for value in log_probabilities:
        if value != -math.inf and not -_MOST_LOG <= value <= _MOST_LOG:
            raise FormatError("", f"found {value}, expected a log-probability: -inf, or a number within a million of 0")
    likeliest = max(log_probabilities)
    if likeliest == -math.inf:
        raise FormatError("", "no class is possible")
    floor = likeliest - MOST_BELOW
    scaled = [scale * (max(value, floor) - prior) for value, prior in zip(log_probabilities, log_prior, strict=True)]
    most = max(scaled)
    return tuple(max(value - most, -clip) for value in scaled)


def encode(evidence: Sequence[float], clip: float) -> bytes:
    """The bytes on the wire. evidence: as `evidence_of` makes it; each class comes back within half a level, clip / 32, or a whole
    one where it is hardly below the likeliest."""
    top = max(range(len(evidence)), key=lambda number: evidence[number])
    levels = [max(1, math.floor(-value * LEVELS / clip + 0.5)) for value in evidence]
    named = [(number, level) for number, level in enumerate(levels) if level < LEVELS and number != top]
    bits = _class_bits(len(levels))
    whole = len(named) << bits | top
    for number, level in named:
        whole = (whole << bits | number) << _LEVEL_BITS | level
    length_bits = 2 * bits + len(named) * (bits + _LEVEL_BITS)
    length = -(-length_bits // 8)
    return (whole << (8 * length - length_bits)).to_bytes(length, "big")


def most_bytes(classes: int) -> int:
    """The longest writing of an evidence of so many classes."""
    bits = _class_bits(classes)
    return -(-(2 * bits + (classes - 1) * (bits + _LEVEL_BITS)) // 8)


def decode(payload: bytes, classes: int, clip: float) -> tuple[float, ...]:
    """The evidence [classes] that bytes from anybody hold. Raises FormatError for all that `encode` does not write, and nothing else."""
    if not 0 < len(payload) <= most_bytes(classes):
        raise FormatError("", f"an answer of {len(payload)} bytes, expected 1 to {most_bytes(classes)}")
    bits = _class_bits(classes)
    left, whole = 8 * len(payload), int.from_bytes(payload, "big")

    def take(count: int) -> int:
        nonlocal left
        if left < count:
            raise FormatError("", "it ends early")
        left -= count
        return whole >> left & (1 << count) - 1

    named, top = take(bits), take(bits)
    if named >= classes or top >= classes:
        raise FormatError("", f"class {top} and {named} others, expected {classes} classes")
    levels, before = [LEVELS] * classes, -1
    levels[top] = 0
    for _ in range(named):
        number, level = take(bits), take(_LEVEL_BITS)
        if not before < number < classes or number == top:
            raise FormatError("", f"class {number} after {before}, expected another of {classes} classes, in rising order")
        if level == 0:
            raise FormatError("", f"class {number} at level 0, expected 1 to {LEVELS - 1}")
        levels[number], before = level, number
    if left >= 8 or whole & (1 << left) - 1:
        raise FormatError("", "something follows its end")
    return tuple(-level * clip / LEVELS for level in levels)


def _class_bits(classes: int) -> int:
    return (classes - 1).bit_length()
