"""What a rollout costs and takes, wave by wave, before anything is sent: bytes, time, money, and devices that may be hurt. Pure.

The time is that of the last device to begin, if all are on and find the release at once: it waits for its minute, for its turn, and for
the window, downloads everything (no delta), is on probation, and soaks. A wave has passed when enough devices have done so.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from isthmus.sizing.cost import BYTES_PER_GIGABYTE
from isthmus.words import duration, in_bytes, in_columns, money

BITS_PER_MEGABIT = 10**6


@dataclass(frozen=True)
class Download:
    """What one device fetches of a release. delta_bytes: if it has what the delta begins at; None: there is no such delta."""

    full_bytes: int
    delta_bytes: int | None = None

    @property
    def least_bytes(self) -> int:
        return self.full_bytes if self.delta_bytes is None else min(self.full_bytes, self.delta_bytes)


@dataclass(frozen=True)
class Pace:
    """How fast a rollout may go. megabits_per_second: of a device's connection; the others: seconds that a device spends on each,
    and spread_seconds: from the wave's opening until the last of its devices may begin. turns: of devices that confirm before the next
    begin."""

    megabits_per_second: float
    probation_seconds: float
    soak_seconds: float
    window_seconds: float = 0.0
    spread_seconds: float = 0.0
    turns: int = 1

    def download_seconds(self, size_bytes: int) -> float:
        return size_bytes * 8 / (self.megabits_per_second * BITS_PER_MEGABIT)


@dataclass(frozen=True)
class WavePlan:
    """One wave.

    devices: that it brings the release to. full_bytes: that all of them fetch without deltas; delta_bytes: with them, None where there are
    none. seconds: until the last device counts; window_seconds: for which it may have to wait for its window before. cost: of what is
    fetched, with deltas. most_hurt: devices on which a release fails at most before the wave is stopped. gate: what it asks, in words.
    """

    name: str
    devices: int
    full_bytes: int
    delta_bytes: int | None
    seconds: float
    window_seconds: float
    cost: float
    most_hurt: int
    gate: str

    def output(self) -> dict[str, Any]:
        """Of JSON's types alone."""
        return {
            "name": self.name,
            "devices": self.devices,
            "full_bytes": self.full_bytes,
            "delta_bytes": self.delta_bytes,
            "seconds": round(self.seconds, 3),
            "window_seconds": self.window_seconds,
            "cost": round(self.cost, 4),
            "most_hurt": self.most_hurt,
            "gate": self.gate,
        }


def plan_wave(
    name: str, downloads: Iterable[tuple[int, Download]], pace: Pace, *, price_per_gigabyte: float, most_hurt: int, gate: str
) -> WavePlan:
    """The figures of a wave. downloads: what so many of its devices fetch, by class."""
    given = [*downloads]
    full = sum(devices * it.full_bytes for devices, it in given)
    least = sum(devices * it.least_bytes for devices, it in given)
    slowest = max((it.full_bytes for devices, it in given if devices), default=0)
    turn_seconds = pace.download_seconds(slowest) + pace.probation_seconds
    return WavePlan(
        name=name,
        devices=sum(devices for devices, _ in given),
        full_bytes=full,
        delta_bytes=least if any(devices and it.delta_bytes is not None for devices, it in given) else None,
        seconds=max(pace.spread_seconds, (pace.turns - 1) * turn_seconds) + turn_seconds + pace.soak_seconds,
        window_seconds=pace.window_seconds,
        cost=least / BYTES_PER_GIGABYTE * price_per_gigabyte,
        most_hurt=most_hurt,
        gate=gate,
    )


@dataclass(frozen=True)
class WaveColumn:
    """Of the table of waves. text: of a wave's `output`."""

    head: str
    about: str
    text: Callable[[Mapping[str, Any]], str]


def _time(wave: Mapping[str, Any]) -> str:
    wait = wave["window_seconds"]
    return duration(wave["seconds"]) + (f" + up to {duration(wait)}" if wait else "")


WAVE_COLUMNS: Final = (
    WaveColumn("wave", "its name", lambda wave: str(wave["name"])),
    WaveColumn("devices", "that it brings the release to", lambda wave: f"{int(wave['devices']):,}"),
    WaveColumn("full", "what all of them fetch without deltas", lambda wave: in_bytes(wave["full_bytes"])),
    WaveColumn(
        "delta",
        "the same with deltas, for devices that have the release before",
        lambda wave: "–" if wave.get("delta_bytes") is None else in_bytes(wave["delta_bytes"]),
    ),
    WaveColumn(
        "time",
        "until the last device has begun, downloaded, been on probation and soaked; and its wait for the window",
        _time,
    ),
    WaveColumn("cost", "of what is fetched, with deltas", lambda wave: money(wave["cost"])),
    WaveColumn("hurt", "devices on which a release fails at most before the wave is stopped", lambda wave: f"{int(wave['most_hurt']):,}"),
)


def wave_lines(waves: Sequence[Mapping[str, Any]], currency: str) -> list[str]:
    """The table of waves in plain text, and below it what each gate asks. Empty without waves."""
    if not waves:
        return []
    heads = [f"{column.head}, {currency}" if column.head == "cost" else column.head for column in WAVE_COLUMNS]
    cells = [heads, *([column.text(wave) for column in WAVE_COLUMNS] for wave in waves)]
    return [*in_columns(cells, words=1), *(str(wave["gate"]) for wave in waves)]
