"""How sure the edge variant of a release is, and how often that is right: what is kept of it with the release.

A `Calibration` is part of the manifest, and so of the digest: devices apply it. `Confidences` are part of the record beside it: who
plans reads them. Both are functions of the release's files and of the evaluation data; but processors differ in the last bits, so that
what is in the digest is rounded far above these.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from isthmus_agent.formats.scores import PROBABILITIES, SCORES

LEAST_EXAMPLES: Final = 20
"""Of held-out examples. Fewer say nothing about how sure answers are."""
MOST_GROUPS: Final = 256


@dataclass(frozen=True)
class Calibration:
    """What makes of the edge variant's answer how sure it is: the largest element of softmax(z / temperature), z the logarithm of
    probabilities, none of which counts as less than `floor`, or the logits as they are.

    scores: what the answers are, one of SCORES. floor: 0 for logits.
    """

    scores: str
    temperature: float
    floor: float = 0.0

    def __post_init__(self) -> None:
        """Raises ValueError where it is none."""
        is_sound = self.scores in SCORES and math.isfinite(self.temperature) and self.temperature > 0
        if not is_sound or not (0 < self.floor < 1 if self.scores == PROBABILITIES else self.floor == 0):
            raise ValueError(f"no calibration: {self}")


@dataclass(frozen=True)
class Estimate:
    """A value that was measured on examples, and the bounds between which it lies with 95 % confidence."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Group:
    """Examples of which the edge variant is about equally sure: from `least` to `most`, calibrated.

    both, edge, serving, neither: how many are answered right by whom.
    """

    least: float
    most: float
    both: int
    edge: int
    serving: int
    neither: int

    @property
    def examples(self) -> int:
        return self.both + self.edge + self.serving + self.neither


@dataclass(frozen=True)
class Confidences:
    """The edge variant beside the serving variant, on the evaluation data.

    agreeing: examples of which both name the same class. largest_difference: of any output, absolute. raw_error, calibrated_error: the
    expected calibration error of the edge variant's largest probability as it is, and calibrated (each half of the examples by what the
    other half says). groups: all examples, the least sure first; MOST_GROUPS at most. request_bytes, answer_bytes: of one example in JSON,
    on average.
    """

    agreeing: int
    largest_difference: float
    raw_error: Estimate
    calibrated_error: Estimate
    groups: tuple[Group, ...]
    request_bytes: int
    answer_bytes: int

    @property
    def examples(self) -> int:
        """How many there are."""
        return sum(group.examples for group in self.groups)

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> "Confidences":
        """The inverse of `asdict`, through JSON. Raises KeyError, TypeError."""
        errors = {name: Estimate(**raw[name]) for name in ("raw_error", "calibrated_error")}
        return cls(**{**raw, **errors, "groups": tuple(Group(**group) for group in raw["groups"])})
