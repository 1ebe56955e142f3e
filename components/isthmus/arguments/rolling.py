"""What a rollout on a fleet accepts."""

from typing import Annotated, TypedDict

from pulumi import Input
from pydantic import Field

from isthmus.arguments.checking import Checked, Share, limited
from isthmus.limits import ROLLOUT_DEADLINE_SECONDS

DEFAULT_FALLBACK_TIMEOUT_MS = 500


class RollingArgs(TypedDict, total=False):
    """A fleet file, where bundles go, and how sure a device must be to answer by itself.

    releases_per_month: for the cost of shipping.
    """

    fleet: Input[str]
    releases_per_month: Input[float]
    deadline_seconds: Input[int]
    min_confidence: Input[float]
    fallback_timeout_ms: Input[int]


class RollingSettings(Checked):
    fleet: str
    releases_per_month: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 1.0
    deadline_seconds: Annotated[int, limited(ROLLOUT_DEADLINE_SECONDS)] = 120
    min_confidence: Share | None = None
    fallback_timeout_ms: Annotated[int, Field(ge=1, le=60_000)] = DEFAULT_FALLBACK_TIMEOUT_MS
