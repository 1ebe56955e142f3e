"""What a rollout on a fleet accepts."""

from typing import Annotated, TypedDict

from pulumi import Input

from isthmus.arguments.checking import Checked, Limited
from isthmus.limits import FALLBACK_TIMEOUT_MS, MIN_CONFIDENCE, RELEASES_PER_MONTH, ROLLOUT_DEADLINE_SECONDS


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
    releases_per_month: Annotated[float, Limited(RELEASES_PER_MONTH)] = RELEASES_PER_MONTH.default
    deadline_seconds: Annotated[int, Limited(ROLLOUT_DEADLINE_SECONDS)] = ROLLOUT_DEADLINE_SECONDS.default
    min_confidence: Annotated[float, Limited(MIN_CONFIDENCE)] | None = None
    fallback_timeout_ms: Annotated[int, Limited(FALLBACK_TIMEOUT_MS)] = FALLBACK_TIMEOUT_MS.default
