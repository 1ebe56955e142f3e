"""A hybrid as it runs, made up: what its devices say."""

from dataclasses import replace
from typing import Any

from isthmus.migration.running import CloudReading, DeviceReading, Reading
from isthmus_agent.formats.policy import LOAD, NETWORK, Measured, Policy
from isthmus_agent.formats.routing import ASKED, OUTCOMES, Level, Routing

RELEASE = "sha256:" + "a" * 64
PLACES = ("device", "cloud")
DIMENSIONS = (
    Measured(NETWORK, "ms", ("good", "fair", "cut"), (30_000, 10**6), 5_000, 2),
    Measured(LOAD, "per second", ("calm", "busy"), (10_000,), 500),
)
POLICY = Policy(RELEASE, "camera", PLACES, DIMENSIONS, (0, 1, 0, 1, 0, 0) * 2, 10_000)
MINUTE_MS = 60_000


def said(place: str = "cloud", network: str = "good", load: str = "busy", **changes: Any) -> Routing:
    """What a device says that follows POLICY: 600 requests in the last minute."""
    found = Routing(
        RELEASE,
        place,
        PLACES,
        "closed",
        (Level(NETWORK, "ms", network, None if network == "cut" else 14_200), Level(LOAD, "per second", load, 14_000)),
        moves=3,
        totals=dict(zip(OUTCOMES, (1500, 4400, 90, 0, 0), strict=True)),
        recent=dict(zip(OUTCOMES, (150, 440, 10, 0, 0), strict=True)),
        recent_ms=MINUTE_MS,
        asked={**dict.fromkeys(ASKED, 0), "asked": 4500, "answered": 4490, "full": 7},
        round_trip_microseconds=14_200,
        p50_microseconds=21_000,
        p95_microseconds=48_000,
        policy=POLICY.to_json().decode(),
    )
    return replace(found, **changes)


AWAY = said("device", "cut", breaker="open", round_trip_microseconds=None, recent=dict(zip(OUTCOMES, (600, 0, 0, 0, 0), strict=True)))
SOME = (
    DeviceReading("camera-1", said()),
    DeviceReading("camera-2", said("device", load="calm", recent=dict.fromkeys(OUTCOMES, 0))),
    DeviceReading("camera-3", AWAY),
    DeviceReading("camera-4", said(), age_seconds=400.0),
    DeviceReading("camera-5", problem="no answer (ConnectionError)"),
)


CLOUD = CloudReading("digits", 3, 2)


def reading(devices: tuple[DeviceReading, ...] = SOME, cloud: CloudReading | None = CLOUD) -> Reading:
    """One look."""
    return Reading("digits", "12:00:00", devices, cloud)
