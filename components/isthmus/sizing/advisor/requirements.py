"""The arithmetic of the advisor: what each mode comes to under each requirement, and what it costs.

`REQUIREMENTS` is the whole comparison, one row each: a limit, a value for every mode that it concerns, and the sentence
that shows how the value came about. The modes are what the components of the same name do. In the cloud mode every request
goes to the cloud role. In the edge mode the device answers. In the hybrid mode the device answers, and passes on the
requests that it is unsure of; it waits for the cloud role until the objective is due, and then its own answer stands.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from isthmus.limits import MOST_REPLICAS
from isthmus.sizing.advisor.inputs import Situation
from isthmus.words import in_bytes, plain

Mode = Literal["cloud", "edge", "hybrid"]

# From the simplest to run to the least simple; a tie goes to the earlier.
MODES: tuple[Mode, ...] = ("cloud", "edge", "hybrid")
# What a mode's cost is multiplied by before modes are compared: a fleet has to be 10 % cheaper than the cloud alone to be worth
# its rollouts, both roles together 20 %. A factor for each mode, not a band around the cheapest: how two modes compare does not
# depend on the third.
SURCHARGE: Mapping[Mode, float] = {"cloud": 1.0, "edge": 1.1, "hybrid": 1.2}
# Servers are planned for this utilisation, devices and uplinks for at most that one.
SERVER_UTILISATION = 0.6
MOST_BUSY_PERCENT = 80.0
# One serves while the other is restarted.
FEWEST_SERVERS = 2
HOURS_PER_MONTH = 730
# Only a p95 of the cloud's times is known: this share of the second looks is in time if the p95 is, and none if it is not.
_IN_TIME = 0.95


@dataclass(frozen=True)
class Requirement:
    """A row of the comparison. value: None for a mode that it does not concern. why: the arithmetic of that value."""

    name: str
    unit: str
    limit: Callable[[Situation], float]
    value: Callable[[Situation, Mode], float | None]
    why: Callable[[Situation, Mode], str]
    at_least: bool = False

    def met(self, situation: Situation, mode: Mode) -> bool:
        value = self.value(situation, mode)
        limit = self.limit(situation)
        return value is None or (value >= limit if self.at_least else value <= limit)


def cloud_share(situation: Situation, mode: Mode) -> float:
    """The share of the requests, 0 to 1, that the cloud role is asked."""
    return {"cloud": 1.0, "edge": 0.0, "hybrid": situation.unsure_percent / 100}[mode]


def upload_ms(situation: Situation) -> float:
    """Time to send one request: 8 · bytes / uplink."""
    return situation.request_bytes * 8 / (situation.uplink_megabits_per_second * 1000)


def cloud_p95_ms(situation: Situation) -> float:
    """Round trip p95 + upload + service p95. For independent times the p95 of a sum is at most about that, so it is cautious."""
    return situation.round_trip_p95_ms + upload_ms(situation) + situation.service_p95_ms


def edge_p95_ms(situation: Situation) -> float:
    """The measured p95, times how much slower the fleet's class of device is."""
    return situation.device_p95_ms * situation.device_slowdown


def second_looks_percent(situation: Situation) -> float:
    """Of the requests that a hybrid's device passes on, the share that the cloud role answers before the objective is due."""
    if edge_p95_ms(situation) + cloud_p95_ms(situation) > situation.p95_ms:
        return 0.0
    return _IN_TIME * (100 - situation.offline_percent)


def servers(situation: Situation, mode: Mode) -> float:
    """Servers on average: λ · service time / 0.6, at least 2. Not rounded: an autoscaler's average is no whole number."""
    erlangs = cloud_share(situation, mode) * situation.requests_per_second * situation.cloud_service_ms / 1000
    return max(FEWEST_SERVERS, erlangs / SERVER_UTILISATION)


def cost_per_month(situation: Situation, mode: Mode) -> float:
    """Servers and traffic for the share that goes to the cloud, devices and bundles where devices answer."""
    s, total = situation, 0.0
    if mode != "edge":
        sent_gb = cloud_share(s, mode) * s.requests_per_second * s.request_bytes * HOURS_PER_MONTH * 3600 / 1e9
        total += servers(s, mode) * s.price_per_server_hour * HOURS_PER_MONTH + sent_gb * s.price_per_gb_sent
    if mode != "cloud":
        total += s.devices * (s.device_cost_per_month + s.releases_per_month * s.model_bytes / 1e9 * s.price_per_gb_shipped)
    return total


def _latency_why(s: Situation, mode: Mode) -> str:
    if mode == "cloud":
        return (
            f"round trip {plain(s.round_trip_p95_ms)} + upload {plain(upload_ms(s))} + service {plain(s.service_p95_ms)} "
            f"= {plain(cloud_p95_ms(s))} ms at p95, objective {plain(s.p95_ms)} ms"
        )
    slower = f"{plain(s.device_p95_ms)} ms × {plain(s.device_slowdown)} = " if s.device_slowdown != 1 else ""
    device = f"the device answers in {slower}{plain(edge_p95_ms(s))} ms at p95, objective {plain(s.p95_ms)} ms"
    return device + (", until when unsure requests wait for the cloud role" if mode == "hybrid" else "")


def _data_why(s: Situation, mode: Mode) -> str:
    if mode == "edge":
        return "raw data stays on the device"
    sent = "every request's raw data goes" if mode == "cloud" else f"raw data of the {plain(s.unsure_percent)} % unsure requests goes"
    return f"{sent} to the cloud, and " + ("it must stay on the device" if s.data_must_stay else "it may")


def _availability_why(s: Situation, mode: Mode) -> str:
    if mode == "cloud":
        return f"offline {s.offline_percent:.7g} % of the time, so {100 - s.offline_percent:.7g} % answered, {_promise(s)}"
    return f"the device answers offline too, {_promise(s)}"


def _promise(s: Situation) -> str:
    return f"promised {s.availability_percent:.7g} %"


def _unsure_percent(s: Situation, mode: Mode) -> float:
    if mode == "cloud":
        return 0.0
    return s.unsure_percent if mode == "edge" else s.unsure_percent * (1 - second_looks_percent(s) / 100)


def _quality_why(s: Situation, mode: Mode) -> str:
    if mode == "cloud":
        return "the cloud role runs the full model"
    allowed = f"allowed {plain(s.max_unsure_percent)} %"
    if mode == "edge":
        return f"the edge variant is unsure of {plain(s.unsure_percent)} % of the requests, {allowed}"
    left = _unsure_percent(s, mode)
    if second_looks_percent(s) > 0:
        return (
            f"of {plain(s.unsure_percent)} % unsure requests the cloud role answers {plain(second_looks_percent(s))} % in time: "
            f"{plain(left)} % stay unsure, {allowed}"
        )
    together = edge_p95_ms(s) + cloud_p95_ms(s)
    late = f"device {plain(edge_p95_ms(s))} + cloud {plain(cloud_p95_ms(s))} = {plain(together)} ms, objective {plain(s.p95_ms)} ms"
    cause = late if together > s.p95_ms else "the device is never online"
    return f"{cause}: no second look, {plain(left)} % stay unsure, {allowed}"


def _servers_why(s: Situation, mode: Mode) -> str:
    rate = cloud_share(s, mode) * s.requests_per_second
    return f"{plain(rate)} requests/s × {plain(s.cloud_service_ms)} ms / {SERVER_UTILISATION:.0%} = {plain(servers(s, mode))} servers"


def _uplink_percent(s: Situation, mode: Mode) -> float:
    bits = cloud_share(s, mode) * s.requests_per_second / s.devices * s.request_bytes * 8
    return bits / (s.uplink_megabits_per_second * 1e6) * 100


def _uplink_why(s: Situation, mode: Mode) -> str:
    rate = cloud_share(s, mode) * s.requests_per_second / s.devices
    return (
        f"{plain(rate)} requests/s of a device × {in_bytes(s.request_bytes)} fill {plain(_uplink_percent(s, mode))} % of its "
        f"{plain(s.uplink_megabits_per_second)} Mbit/s, at most {plain(MOST_BUSY_PERCENT)} %"
    )


def _device_busy_percent(s: Situation, _: Mode) -> float:
    return s.requests_per_second / s.devices * edge_p95_ms(s) / 10


def _device_why(s: Situation, mode: Mode) -> str:
    return (
        f"{plain(s.requests_per_second / s.devices)} requests/s of a device × {plain(edge_p95_ms(s))} ms keep it busy "
        f"{plain(_device_busy_percent(s, mode))} % of the time, at most {plain(MOST_BUSY_PERCENT)} %"
    )


def _memory_why(s: Situation, _: Mode) -> str:
    return f"the model has {in_bytes(s.model_bytes)}, the device {in_bytes(s.device_memory_bytes)} of memory for it"


def _only(*modes: Mode) -> Callable[[Callable[[Situation, Mode], float]], Callable[[Situation, Mode], float | None]]:
    return lambda value: lambda situation, mode: value(situation, mode) if mode in modes else None


_in_cloud, _on_device = _only("cloud", "hybrid"), _only("edge", "hybrid")

REQUIREMENTS: tuple[Requirement, ...] = (
    Requirement("latency", "ms", lambda s: s.p95_ms, lambda s, m: cloud_p95_ms(s) if m == "cloud" else edge_p95_ms(s), _latency_why),
    # 1: raw data leaves the device.
    Requirement("data stays", "leaves", lambda s: 0.0 if s.data_must_stay else 1.0, lambda _, m: float(m != "edge"), _data_why),
    Requirement(
        "availability",
        "percent",
        lambda s: s.availability_percent,
        lambda s, m: 100 - s.offline_percent if m == "cloud" else 100.0,
        _availability_why,
        at_least=True,
    ),
    Requirement("unsure answers", "percent", lambda s: s.max_unsure_percent, _unsure_percent, _quality_why),
    Requirement("servers", "servers", lambda _: MOST_REPLICAS, _in_cloud(servers), _servers_why),
    Requirement("uplink", "percent", lambda _: MOST_BUSY_PERCENT, _in_cloud(_uplink_percent), _uplink_why),
    Requirement("device load", "percent", lambda _: MOST_BUSY_PERCENT, _on_device(_device_busy_percent), _device_why),
    Requirement("memory", "bytes", lambda s: float(s.device_memory_bytes), _on_device(lambda s, _: float(s.model_bytes)), _memory_why),
)
