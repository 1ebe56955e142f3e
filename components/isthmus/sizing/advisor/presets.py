"""Scenarios of the advisor, as data: six from the article that this package follows, and three with mixed requirements.

Every number is a plausible one for a scenario of that kind, with where it comes from in `because`; none is a measurement of
yours. Take the nearest preset and override what you know: `isthmus advise --preset smart-security --p95-ms 500`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from isthmus.errors import InputError, Problem, property_path
from isthmus.sizing.advisor.inputs import Situation, situation_of
from isthmus.sizing.advisor.requirements import Mode


@dataclass(frozen=True)
class Preset:
    """about: the scenario in a sentence. expected: the mode it stands for. values: inputs. because: where the numbers come from."""

    about: str
    expected: Mode
    values: Mapping[str, Any]
    because: str


_PRESETS: dict[str, Preset] = {
    "online-recommendation": Preset(
        "A shop ranks articles for every page view of 200,000 visitors.",
        "cloud",
        {
            "p95_ms": 200, "availability_percent": 99, "max_unsure_percent": 5,
            "devices": 200_000, "requests_per_second": 2_000, "request_bytes": 2_000,
            "round_trip_p95_ms": 80, "uplink_megabits_per_second": 5, "offline_percent": 0.5,
            "cloud_service_ms": 8,
            "device_p95_ms": 400, "device_memory_bytes": 1_000_000_000, "model_bytes": 12_000_000_000, "unsure_percent": 40,
            "device_cost_per_month": 0.05, "releases_per_month": 30,
        },
        "200 ms is what a page can wait without being felt as slow; a request is a visitor's id and context, 2 kB. The model is "
        "mostly embedding tables: 100 million articles and visitors × 32 float32 = 12.8 GB, which a phone's browser does not "
        "have. 40 % unsure: what other visitors did in the last hour is not on the device. A new model each day.",
    ),
    "speech-recognition": Preset(
        "A dictation service writes down what 50,000 people say to their phones.",
        "cloud",
        {
            "p95_ms": 1_500, "availability_percent": 99, "max_unsure_percent": 5,
            "devices": 50_000, "requests_per_second": 100, "request_bytes": 320_000,
            "round_trip_p95_ms": 80, "uplink_megabits_per_second": 5, "offline_percent": 0.5,
            "cloud_service_ms": 150,
            "device_p95_ms": 9_000, "device_memory_bytes": 1_000_000_000, "model_bytes": 1_550_000_000, "unsure_percent": 4,
            "price_per_server_hour": 1.0, "device_cost_per_month": 0.2,
        },
        "10 s of speech, 16-bit at 16 kHz, are 320 kB; a person waits 1.5 s for the text. Large speech models have about 1.55 "
        "billion parameters, 1.55 GB at 8 bits, above the 1 GB that a phone gives to one program, and take about real time "
        "there. A server with an accelerator, about 1.00 an hour, does it in 150 ms.",
    ),
    "image-processing": Preset(
        "A photo service enhances pictures of 12 megapixels for 100,000 people.",
        "cloud",
        {
            "p95_ms": 5_000, "availability_percent": 99, "max_unsure_percent": 5,
            "devices": 100_000, "requests_per_second": 20, "request_bytes": 4_000_000,
            "round_trip_p95_ms": 80, "uplink_megabits_per_second": 10, "offline_percent": 0.5,
            "cloud_service_ms": 400,
            "device_p95_ms": 20_000, "device_memory_bytes": 1_000_000_000, "model_bytes": 800_000_000, "unsure_percent": 2,
            "price_per_server_hour": 1.0, "device_cost_per_month": 0.2,
        },
        "A picture of 12 megapixels has 4 MB as JPEG: 3.2 s on 10 Mbit/s, of the 5 s for which people watch a progress bar. "
        "Generative enhancement takes some 10¹³ operations: 400 ms on an accelerator of 1.00 an hour, 20 s on a phone.",
    ),
    "autonomous-driving": Preset(
        "1,000 vehicles find lanes and obstacles in every frame.",
        "edge",
        {
            "p95_ms": 50, "availability_percent": 99.99, "max_unsure_percent": 1, "data_must_stay": False,
            "devices": 1_000, "requests_per_second": 20_000, "request_bytes": 500_000,
            "round_trip_p95_ms": 60, "uplink_megabits_per_second": 20, "offline_percent": 5,
            "cloud_service_ms": 10,
            "device_p95_ms": 25, "device_memory_bytes": 4_000_000_000, "model_bytes": 60_000_000, "unsure_percent": 0.5,
            "price_per_server_hour": 1.0, "price_per_gb_sent": 2.0, "device_cost_per_month": 30, "releases_per_month": 2,
        },
        "20 frames a second leave 50 ms for each; at 100 km/h that is 1.4 m. The p95 of a mobile network's round trip alone is "
        "60 ms, and it has gaps: 5 % of a drive. A frame as JPEG has 500 kB, so 80 Mbit/s a vehicle. The vehicle's computer "
        "costs about 1,000 over three years.",
    ),
    "smart-security": Preset(
        "500 cameras inside and around buildings find people, 5 pictures a second each.",
        "edge",
        {
            "p95_ms": 200, "availability_percent": 99.9, "max_unsure_percent": 5, "data_must_stay": True,
            "devices": 500, "requests_per_second": 2_500, "request_bytes": 100_000,
            "round_trip_p95_ms": 50, "uplink_megabits_per_second": 2, "offline_percent": 2,
            "cloud_service_ms": 10,
            "device_p95_ms": 60, "device_memory_bytes": 256_000_000, "model_bytes": 6_000_000, "unsure_percent": 3,
            "device_cost_per_month": 2,
        },
        "Pictures of people at home and at work must not leave the premises (data protection law asks for the least data). An "
        "alarm is to sound while a person is still in the picture. 5 pictures of 100 kB a second are 4 Mbit/s, twice an uplink "
        "that several cameras share. A detector of 6 MB at 8 bits takes 60 ms on a camera's processor.",
    ),
    "offline-voice-assistant": Preset(
        "20,000 appliances understand spoken commands, most of them without a network.",
        "edge",
        {
            "p95_ms": 300, "availability_percent": 99, "max_unsure_percent": 5,
            "devices": 20_000, "requests_per_second": 50, "request_bytes": 64_000,
            "round_trip_p95_ms": 80, "uplink_megabits_per_second": 5, "offline_percent": 60,
            "cloud_service_ms": 20,
            "device_p95_ms": 120, "device_memory_bytes": 128_000_000, "model_bytes": 20_000_000, "unsure_percent": 3,
            "device_cost_per_month": 0.2,
        },
        "2 s of speech, 16-bit at 16 kHz, are 64 kB. 6 of 10 appliances are never connected by their owners. Answers within "
        "300 ms feel direct. A command model with a small vocabulary fits in 20 MB and is unsure of 3 %.",
    ),
    "in-car-assistant": Preset(
        "50,000 cars understand commands by themselves and open questions with help; tunnels and valleys included.",
        "hybrid",
        {
            "p95_ms": 800, "availability_percent": 99.5, "max_unsure_percent": 5,
            "devices": 50_000, "requests_per_second": 300, "request_bytes": 64_000,
            "round_trip_p95_ms": 120, "uplink_megabits_per_second": 5, "offline_percent": 4,
            "cloud_service_ms": 80,
            "device_p95_ms": 250, "device_memory_bytes": 512_000_000, "model_bytes": 80_000_000, "unsure_percent": 25,
            "price_per_server_hour": 1.0, "price_per_gb_sent": 2.0, "device_cost_per_month": 0.5,
        },
        "Commands must work in a tunnel, so the cloud alone is out; a quarter of what people say is an open question that a "
        "model of 80 MB has no answer to, so the device alone is out. 64 kB are 2 s of speech.",
    ),
    "visual-inspection": Preset(
        "40 cameras on assembly lines look for flaws; doubtful parts get a second look by a large model.",
        "hybrid",
        {
            "p95_ms": 1_000, "availability_percent": 99.9, "max_unsure_percent": 1,
            "devices": 40, "requests_per_second": 200, "request_bytes": 500_000,
            "round_trip_p95_ms": 30, "uplink_megabits_per_second": 10, "offline_percent": 0.5,
            "cloud_service_ms": 60,
            "device_p95_ms": 90, "device_memory_bytes": 2_000_000_000, "model_bytes": 25_000_000, "unsure_percent": 6,
            "price_per_server_hour": 1.0, "device_cost_per_month": 15,
        },
        "A line has a second until the gate that sorts out parts. 5 pictures of 500 kB a second are 20 Mbit/s, twice what a hall "
        "of 40 cameras gives to one; the 6 % doubtful ones are 1.2. A line must not stop when the link does (0.5 %).",
    ),
    "traffic-counting": Preset(
        "2,000 roadside cameras count and name vehicles, 10 crops a second each.",
        "hybrid",
        {
            "p95_ms": 500, "availability_percent": 98, "max_unsure_percent": 2,
            "devices": 2_000, "requests_per_second": 20_000, "request_bytes": 20_000,
            "round_trip_p95_ms": 40, "uplink_megabits_per_second": 10, "offline_percent": 1,
            "cloud_service_ms": 20,
            "device_p95_ms": 40, "device_memory_bytes": 512_000_000, "model_bytes": 10_000_000, "unsure_percent": 10,
            "price_per_server_hour": 1.0, "device_cost_per_month": 15,
        },
        "The cloud alone would do, and the price decides: 20,000 crops a second keep hundreds of servers busy, the devices' 10 % "
        "doubtful ones a tenth of them. A small computer at the roadside costs about 500 over three years.",
    ),
}  # fmt: skip

PRESETS: Mapping[str, Preset] = MappingProxyType(_PRESETS)


def situation_with(preset: object, values: Mapping[str, Any], path: str = "") -> Situation:
    """The inputs of a preset, overridden by others. preset: its name; None: without one. path: property path of the mapping, for messages.

    Raises:
        InputError: no such preset, or bad inputs; all at once.
    """
    if preset is None:
        return situation_of(values, path)
    if preset in list(PRESETS):  # a file may have anything there, also what cannot be hashed
        return situation_of({**PRESETS[str(preset)].values, **values}, path)
    problems = [Problem(property_path(["preset"], path), f"there is no preset {preset!r}", f"one of {', '.join(PRESETS)}")]
    try:  # what else is wrong, with any preset in place of that one
        situation_of({**next(iter(PRESETS.values())).values, **values}, path)
    except InputError as error:
        problems.extend(error.problems)
    raise InputError(problems)
