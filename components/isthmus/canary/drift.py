"""Answers to compare, and what a comparison found. `comparing.py` compares; it alone needs numpy, which a plugin seldom does."""

from dataclasses import dataclass
from typing import Literal

Kind = Literal["classes", "values"]
KINDS: tuple[Kind, ...] = ("classes", "values")


@dataclass(frozen=True)
class Drift:
    """compared: how many examples. changed: of these, answered differently. faults: what fails a canary whatever is allowed.
    example: one change, in words."""

    compared: int = 0
    changed: int = 0
    faults: tuple[str, ...] = ()
    example: str = ""

    @property
    def percent(self) -> float:
        return 100 * self.changed / self.compared if self.compared else 0.0

    def __add__(self, other: "Drift") -> "Drift":
        return Drift(
            self.compared + other.compared, self.changed + other.changed, self.faults + other.faults, self.example or other.example
        )


@dataclass(frozen=True)
class Answer:
    """A reply of a server. status: of HTTP. body: as it came."""

    status: int
    body: bytes
