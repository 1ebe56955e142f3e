"""Numbers that a user may set and that more than one room has to know: each with its unit, default and bounds.

The checked arguments, the plugin's tables of properties and the tables in the docs are made from these, or held equal by a test.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

DAY_SECONDS: Final = 86_400


@dataclass(frozen=True)
class Limit:
    """One number. The unit stands in the name that it has among others.

    what: it is, in a few words. default: where a user says nothing; None: there is none. least, most: both allowed.
    whole: whether it is a whole number. affects: False where a change of it alone changes nothing that exists.
    """

    what: str
    default: float | None = None
    least: float = 0
    most: float = math.inf
    whole: bool = False
    affects: bool = True

    @property
    def range(self) -> str:
        """The bounds, as people read them."""
        return f"{self.least:,g} or more" if self.most == math.inf else f"{self.least:,.10g} to {self.most:,.10g}"


# What a canary has to keep until it is promoted.
CANARY_GATE: Final[Mapping[str, Limit]] = {
    "min_requests": Limit("that each release answers before a verdict", 200, 1, whole=True),
    "max_error_percent": Limit("of the canary's requests that may fail", 1.0, 0, 100),
    "max_p95_ms": Limit("of the canary; left out: the service's `p95_ms`", None, 0.001),
    "max_p95_ratio": Limit("of the canary's p95 to the stable release's", 1.5, 1),
    "max_drift_percent": Limit("of the probes that may be answered differently", 5.0, 0, 100),
    "interval_seconds": Limit("between two looks", 2.0, 0.1, affects=False),
    "deadline_seconds": Limit("until a verdict; none by then is a failure", 600, 1, 7 * DAY_SECONDS, whole=True, affects=False),
}
CANARY_PERCENT: Final = Limit("of the requests until the verdict; 0: none, at once", 10, 0, 99, whole=True)
MIRROR_PERCENT: Final = Limit("of the requests that are copied to the canary", 0, 0, 100, whole=True)
# Until when things must have happened.
ROLLOUT_DEADLINE_SECONDS: Final = Limit("until when a silent device is a failure", 120, 1, 7 * DAY_SECONDS, whole=True, affects=False)
HOST_DEADLINE_SECONDS: Final = Limit("until when a new server must answer", 300, 1, 7 * DAY_SECONDS, whole=True, affects=False)
DRAIN_SECONDS: Final = Limit("how long requests may go on when a server leaves", 30, 0, 3600, affects=False)
