"""How long a group waits, and how much a device takes on."""

import math
from dataclasses import dataclass, fields


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Times in seconds of one's own clock; all devices of a group have the same beat, or shorter ones than others' expiry.

    beat: between two words that one is there. expiry: without a word, until a device is taken for gone. answer: until a request is asked
    again; longer than any takes. aside: the first pause of an owner that is there and does not answer; doubled with each, up to most_aside.
    most_waiting: requests of one's own without an answer. most_working: requests in hand, one's own and others'.
    full_percent: of a capacity. Up to it a device keeps its streams; above it they are given to others.
    gain_percent: by so much the busiest must gain from a stream that is moved from where it is done well.
    """

    beat_seconds: float = 2.0
    expiry_seconds: float = 7.0
    answer_seconds: float = 5.0
    aside_seconds: float = 10.0
    most_aside_seconds: float = 300.0
    most_waiting: int = 256
    most_working: int = 64
    most_bytes: int = 4 << 20
    full_percent: int = 70
    gain_percent: int = 20

    def __post_init__(self) -> None:
        """Raises ValueError, with all that is wrong."""
        numbers = {field.name: getattr(self, field.name) for field in fields(self)}
        wrong = [f"{name}: {value!r} is no positive number" for name, value in numbers.items() if not _is_positive(value)]
        if not wrong and self.expiry_seconds < 2 * self.beat_seconds:
            wrong.append(
                f"expiry_seconds: {self.expiry_seconds:g} is less than two beats of {self.beat_seconds:g} s: one lost word is no death"
            )
        if not wrong and self.most_aside_seconds < self.aside_seconds:
            wrong.append(f"most_aside_seconds: {self.most_aside_seconds:g} is less than aside_seconds, {self.aside_seconds:g}")
        if wrong:
            raise ValueError("; ".join(wrong))

    @property
    def moved_within_seconds(self) -> float:
        """From the last word of an owner that died or was cut off until its streams have another one, at a home that is awake."""
        return self.expiry_seconds

    @property
    def given_up_within_seconds(self) -> float:
        """From a request to an owner that is there and does not answer until its streams have another one."""
        return 2 * self.answer_seconds


def _is_positive(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and value > 0
