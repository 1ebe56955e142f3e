"""The arguments of a plan: figures that replace the measured ones, head-room, prices."""

from collections.abc import Sequence
from typing import Annotated, Any, TypedDict

from pulumi import Input

from isthmus.arguments.checking import Checked, Limited
from isthmus.errors import Problem
from isthmus.limits import HEADROOM, SCV, SERVICE_MS
from isthmus.sizing.headroom import Headroom, headroom_problems


class ProfileArgs(TypedDict, total=False):
    """Figures that replace the measured ones.

    service_ms: mean time of one request at one replica. scv: squared coefficient of variation of that time (variance over
    squared mean); left out beside service_ms: 1, as for exponential times.
    """

    service_ms: Input[float]
    scv: Input[float]


class HeadroomArgs(TypedDict, total=False):
    """What may go wrong while the objective is kept, each on its own, or `together`.

    lost_servers: replicas that fail. zones, lost_zones: replicas are spread evenly over so many zones, and the fullest fail.
    burst_factor: the demand grows to so many times itself. max_unavailable, max_surge: of a rollout in progress, a number of
    replicas or a share such as "25%". offline_percent: of edge_requests_per_second, which the cloud role gets when devices
    cannot answer by themselves.
    """

    lost_servers: Input[int]
    zones: Input[int]
    lost_zones: Input[int]
    burst_factor: Input[float]
    max_unavailable: Input[Any]
    max_surge: Input[Any]
    offline_percent: Input[float]
    together: Input[bool]


class PricesArgs(TypedDict, total=False):
    """Prices, and the day of which they are (required, YYYY-MM-DD). What is left out is as in the built-in table.

    servers: kind → price of one server per hour. source: where they are from.
    """

    as_of: Input[str]
    servers: Input[dict[str, float]]
    per_gigabyte_shipped: Input[float]
    per_million_requests: Input[float]
    currency: Input[str]
    source: Input[str]


class ProfileSettings(Checked):
    service_ms: Annotated[float, Limited(SERVICE_MS)] | None = None
    scv: Annotated[float, Limited(SCV)] | None = None


class HeadroomSettings(Checked):
    lost_servers: Annotated[int, Limited(HEADROOM["lost_servers"])] = HEADROOM["lost_servers"].default
    zones: Annotated[int, Limited(HEADROOM["zones"])] = HEADROOM["zones"].default
    lost_zones: Annotated[int, Limited(HEADROOM["lost_zones"])] = HEADROOM["lost_zones"].default
    burst_factor: Annotated[float, Limited(HEADROOM["burst_factor"])] = HEADROOM["burst_factor"].default
    max_unavailable: int | str | None = None
    max_surge: int | str | None = None
    offline_percent: Annotated[float, Limited(HEADROOM["offline_percent"])] = HEADROOM["offline_percent"].default
    together: bool = False

    def problems(self, path: str) -> Sequence[Problem]:
        return headroom_problems(Headroom(**self.model_dump(exclude={"offline_percent"})), path)
