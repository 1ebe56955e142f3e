"""Where a HybridDeployment's model runs: as the program says, or as the advisor finds for the situation that it describes."""

from collections.abc import Iterator
from typing import Annotated, Any, TypedDict

from pulumi import Input

from isthmus.arguments.checking import Checked, one_of
from isthmus.errors import Problem
from isthmus.sizing.advisor.requirements import MODES

AUTO, CLOUD, EDGE, HYBRID = "auto", "cloud", "edge", "hybrid"
CHOICES = (AUTO, *MODES)


class SituationArgs(TypedDict, total=False):
    """What the advisor is told, by the names that `isthmus advise` has for it; `preset`: one of its scenarios, for all that is left out.

    Left out are taken from the program, where it says them: p95_ms, requests_per_second (edge_requests_per_second), devices (of the
    fleet file), data_must_stay (data), releases_per_month, and the prices.
    """

    preset: Input[str]
    p95_ms: Input[float]
    availability_percent: Input[float]
    max_unsure_percent: Input[float]
    data_must_stay: Input[bool]
    devices: Input[int]
    requests_per_second: Input[float]
    request_bytes: Input[int]
    round_trip_p95_ms: Input[float]
    uplink_megabits_per_second: Input[float]
    offline_percent: Input[float]
    cloud_service_ms: Input[float]
    cloud_service_p95_ms: Input[float]
    device_p95_ms: Input[float]
    device_slowdown: Input[float]
    device_memory_bytes: Input[int]
    model_bytes: Input[int]
    unsure_percent: Input[float]
    price_per_server_hour: Input[float]
    price_per_gb_sent: Input[float]
    price_per_gb_shipped: Input[float]
    device_cost_per_month: Input[float]
    releases_per_month: Input[float]


class ModeArgs(TypedDict, total=False):
    """mode: `hybrid` (left out), `cloud`, `edge`, or `auto`: what the advisor says of the `situation`. It must be known to the program."""

    mode: Input[str]
    situation: Input[SituationArgs]


class ModeSettings(Checked):
    mode: Annotated[str, one_of(CHOICES, "mode")] = HYBRID
    situation: dict[str, Any] | None = None

    def mode_problems(self, path: str) -> Iterator[Problem]:
        """What is wrong with the two together."""
        if self.mode == AUTO and self.situation is None:
            what, fix = "is missing, and `mode: auto` asks the advisor about it", "isthmus advise --help tells the inputs"
            yield Problem(f"{path}.situation", what, "the advisor's inputs, or a preset", fix)
