"""The arguments of a plan: figures that replace the measured ones, head-room, prices."""

from collections.abc import Sequence
from typing import Annotated, Any, TypedDict

from pulumi import Input
from pydantic import Field

from isthmus.arguments.checking import Checked, Positive
from isthmus.errors import Problem
from isthmus.sizing.headroom import MOST_REPLICAS, Headroom, headroom_problems
from isthmus.sizing.replicas import MOST_SCV


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
    service_ms: Positive | None = None
    scv: Annotated[float, Field(ge=0, le=MOST_SCV, allow_inf_nan=False)] | None = None


class HeadroomSettings(Checked):
    lost_servers: Annotated[int, Field(ge=0, le=MOST_REPLICAS)] = 0
    zones: Annotated[int, Field(ge=1, le=MOST_REPLICAS)] = 1
    lost_zones: Annotated[int, Field(ge=0)] = 0
    burst_factor: Annotated[float, Field(ge=1, allow_inf_nan=False)] = 1.0
    max_unavailable: int | str | None = None
    max_surge: int | str | None = None
    offline_percent: Annotated[float, Field(ge=0, le=100, allow_inf_nan=False)] = 0.0
    together: bool = False

    def problems(self, path: str) -> Sequence[Problem]:
        return headroom_problems(Headroom(**self.model_dump(exclude={"offline_percent"})), path)
