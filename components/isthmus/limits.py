"""Numbers that a user may set: each with its unit, default and bounds, once.

The checked arguments, the plugin's tables of properties and the table in docs/limits.md are made from these, and messages say what they
allow. The server's bounds on what clients send are its own (`server/limits.py`), and those of the advisor's figures are theirs.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from isthmus_agent.formats import assignment as signed
from isthmus_agent.formats import probation, samples_wanted
from isthmus_agent.formats.answers import MOST_DEADLINE_MS
from isthmus_agent.formats.contents import MOST_VARIANTS
from isthmus_agent.formats.fusion_group import LEAST_CLIP_MILLINATS, MOST_CLIP_MILLINATS, THOUSAND
from isthmus_agent.formats.gate import MOST_DEADLINE_SECONDS, MOST_REPORTS, MOST_SOAK_SECONDS
from isthmus_agent.formats.numbers import DAY_SECONDS, MOST_NUMBER
from isthmus_agent.formats.pace import MOST_PER_MINUTE
from isthmus_agent.formats.roster import MOST_DEVICES
from isthmus_agent.formats.window import MOST_JITTER_SECONDS, Window

# More servers than this for one model is a mistake in the demand, not a plan.
MOST_REPLICAS: Final = 10_000


@dataclass(frozen=True)
class Limit:
    """One number. The unit stands in the name that it has among others.

    what: it is, in a few words. default: where a user says nothing; None: there is none, or `what` says it. least, most: both allowed.
    beyond: not `least` itself. whole: whether it is a whole number. affects: False where a change of it alone changes nothing that exists.
    """

    what: str
    default: Any = None
    least: float = 0
    most: float = math.inf
    beyond: bool = False
    whole: bool = False
    affects: bool = True

    @property
    def range(self) -> str:
        """The bounds, as people read them."""
        if self.beyond:
            return f"more than {self.least:,g}" + ("" if self.most == math.inf else f", {self.most:,.10g} at most")
        return f"{self.least:,g} or more" if self.most == math.inf else f"{self.least:,.10g} to {self.most:,.10g}"

    def allows(self, value: float) -> bool:
        """Whether a number is one of these; none that is not finite is."""
        return math.isfinite(value) and (self.least < value if self.beyond else self.least <= value) and value <= self.most


# Kinds of numbers: what bounds them is what they are.
SHARE: Final = Limit("a share", None, 0, 1)
PERCENT: Final = Limit("of a hundred", None, 0, 100, whole=True)
PORT: Final = Limit("a port", None, 1, 65_535, whole=True)
ANY_PORT: Final = Limit("a port; 0: any free one", 0, 0, 65_535, whole=True)
SPEED: Final = Limit("in multiples of the machine that was measured", 1.0, beyond=True)

# What to compile, and the promise it must keep.
VERSION: Final = Limit("of the release, as model servers see it", 1, 1, 2**31 - 1, whole=True)
MIN_ACCURACY: Final = replace(SHARE, what="below which a release fails the preview")
TRAINING_DEADLINE_SECONDS: Final = Limit("for a recipe that trains", 900, 1, 7 * DAY_SECONDS, whole=True)

# Demand, objective, and what a plan reckons with.
REQUESTS_PER_SECOND: Final = Limit("that clients send", beyond=True)
P95_MS: Final = Limit("that 95 of 100 requests keep", beyond=True)
EDGE_REQUESTS_PER_SECOND: Final = Limit("that all devices together are asked", 0.0)
OFFLOAD: Final[Mapping[str, Limit]] = {
    "devices": Limit("that may ask the service; left out: those of the fleet, where there is one", None, 1, MOST_DEVICES, whole=True),
    "unsure_percent": Limit("of devices that are unsure, and ask, at a time; left out: as measured (see plan.md)", None, 0, 100),
    # The upper end of what IEC 61508-6 (annex D) gives for the share of sensors' failures that have a common cause.
    "correlation": Limit("between devices, of being unsure: 0 each by itself, 1 all or none", 0.1, 0, 1),
    "quantile_percent": Limit("of what devices send, for which the service is sized", 99.0, 50, 99.99),
}
MIN_REPLICAS: Final = Limit("of servers", 1, 1, MOST_REPLICAS, whole=True)
MAX_REPLICAS: Final = replace(MIN_REPLICAS, default=100)
SERVICE_MS: Final = Limit("mean time of one request at one replica; left out: as measured", beyond=True)
# Two moments of the service time say nothing useful beyond this; see docs/replicas.md.
SCV: Final = Limit("variance of that time over its squared mean; left out: as measured, or 1 beside `service_ms`", None, 0, 100)
HEADROOM: Final[Mapping[str, Limit]] = {
    "lost_servers": Limit("replicas that may fail", 0, 0, MOST_REPLICAS, whole=True),
    "zones": Limit("over which replicas are spread", 1, 1, MOST_REPLICAS, whole=True),
    "lost_zones": Limit("that may fail; fewer than `zones`", 0, 0, MOST_REPLICAS, whole=True),
    "burst_factor": Limit("to which the demand may grow, as a multiple", 1.0, 1),
    "offline_percent": Limit("of what devices are asked, when they cannot answer", 0.0, 0, 100),
}

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

# What a gateway lets through.
GATEWAY: Final[Mapping[str, Limit]] = {
    "timeout_seconds": Limit("a request, all tries together", 30.0, 0, 3600, beyond=True),
    "max_request_mib": Limit("a body; larger ones get 413", 64.0, 0, 1024, beyond=True),
    "requests_per_second_per_client": Limit("beyond which a client gets 429; left out: no limit", beyond=True),
    "burst_per_client": Limit("requests at once, after a pause; left out: as many as in one second", None, 1, whole=True),
}

# Fleets.
FLEET_DEVICES: Final = Limit("of a fleet, which a stack runs on this machine", None, 0, 1000, whole=True)
RELEASES_PER_MONTH: Final = Limit("that a fleet gets, for the cost of shipping", 1.0)
MIN_CONFIDENCE: Final = replace(SHARE, what="of an answer, below which a device asks the cloud role; or `auto`")
MAX_DEVICE_ERROR: Final = replace(SHARE, what="of all requests, that devices may answer wrong by themselves; left out: not asked")
FALLBACK_TIMEOUT_MS: Final = Limit("that a device waits for the cloud role", 500, 1, 60_000, whole=True)
DEADLINE_MS: Final = Limit(
    "within which a device answers requests that say no deadline themselves; left out: there is none", None, 1, MOST_DEADLINE_MS, whole=True
)
POLL_SECONDS: Final = Limit("between a device's looks at the store", None, 0, DAY_SECONDS, beyond=True)

# What a wave of a rollout has to keep until the next one opens.
FLEET_GATE: Final[Mapping[str, Limit]] = {
    "max_failure_percent": Limit("of a wave's devices that may fail", 2.0, 0, 50),
    "min_reports": Limit("devices that say how it went before the wave passes; left out: half of it", None, 1, MOST_REPORTS, whole=True),
    "soak_seconds": Limit("that a device serves the release before it counts", 300, 0, MOST_SOAK_SECONDS),
    "deadline_seconds": Limit("after which a silent device is a failure", 3600, 1, MOST_DEADLINE_SECONDS, affects=False),
    "confidence_percent": Limit("with which a wave that passes shows `max_failure_percent`; left out: not asked", None, 50, 99.99),
}

# Who has the release once a wave is open, what it has to show on a device, and when a device may change. What is signed has these bounds.
FLEET_WAVE: Final[Mapping[str, Limit]] = {
    "percent": Limit("of the devices that the wave's selector fits", None, 0, 100, beyond=True),
    "count": Limit("of them", None, 1, MOST_DEVICES, whole=True),
    "most_per_minute": Limit("of the wave's devices that begin in a minute; left out: all at once", None, 1, MOST_PER_MINUTE, whole=True),
}
MOST_WAVES: Final = signed.MOST_WAVES
FLEET_BUDGET: Final[Mapping[str, Limit]] = {
    "most_unavailable": Limit("devices of one value of the label", None, 1, MOST_DEVICES, whole=True),
    "most_unavailable_percent": Limit("of the devices of one value of the label, rounded down, and one at the least", None, 0.0001, 100),
}
PROBATION: Final[Mapping[str, Limit]] = {
    "seconds": Limit("that a device looks at the release", probation.Probation.seconds, 0, probation.MOST_PROBATION_SECONDS, whole=True),
    "max_crashes": Limit("that are forgiven in that time", probation.Probation.max_crashes, 0, probation.MOST_CRASHES, whole=True),
    "max_p95_ms": Limit("of what clients ask; left out: not asked", None, 0.001, probation.MOST_LATENCY_MICROSECONDS / 1000),
    "max_memory_megabytes": Limit("that the server may fill; left out: not asked", None, 1, MOST_NUMBER // 10**6),
    "max_distribution_distance": replace(SHARE, what="between the predictions of both releases; left out: not asked"),
}
JITTER_SECONDS: Final = Limit("over which devices spread their changes", Window.jitter_seconds, 0, MOST_JITTER_SECONDS, whole=True)

# What an owner wants of what devices are asked.
SAMPLES: Final[Mapping[str, Limit]] = {
    "share_percent": Limit("of a device's requests that are taken", None, 0.0001, 100),
    "most_per_day": Limit(
        "of a device, evenly over the day", samples_wanted.SamplesWanted.most_per_day, 1, samples_wanted.MOST_PER_DAY, whole=True
    ),
    "most_kilobytes": Limit(
        "of a request with its answer; larger ones are not taken", 64, 1, samples_wanted.MOST_SAMPLE_BYTES // 1000, whole=True
    ),
}
DEVICE_MEGABITS_PER_SECOND: Final = Limit("of a device's connection, for the times that a preview shows", 10.0, beyond=True)

# Devices that answer together.
FUSION_CLIP_NATS: Final = Limit(
    "what one member may say against a class; left out: learned", None, LEAST_CLIP_MILLINATS / THOUSAND, MOST_CLIP_MILLINATS / THOUSAND
)
FUSION_WAIT_MS: Final = Limit(
    "that a device waits for others of its group, where a request has no deadline", 200, 1, MOST_DEADLINE_MS, whole=True
)

# What a class of devices has.
DEVICE_CLASS: Final[Mapping[str, Limit]] = {
    "memory_megabytes": Limit("that the model's server may fill; left out: any model fits", None, 1, MOST_NUMBER // 10**6),
    "storage_megabytes": Limit("for three bundles and a download; left out: any model fits", None, 1, MOST_NUMBER // 10**6),
    "speed_factor": Limit("one run there takes so many times as long as measured; left out: not known", None, 0, 1_000_000, beyond=True),
}
MOST_CLASSES: Final = MOST_VARIANTS

# The migration policy.
MIGRATION: Final[Mapping[str, Limit]] = {
    "step_seconds": Limit("between two looks at the policy", 10.0, 0.1, 3600),
    "discount": Limit("of a step's cost against the one before it", 0.99, 0, 0.9999, beyond=True),
    "margin_ms": Limit("that a move must gain at least, of a step's requests together", 0.0, 0, 1e9),
    "deadline_ms": Limit("after which an answer is of no use", None, 0, DAY_SECONDS * 1000, beyond=True),
    "request_bytes": Limit("that a request sends", None, 0, MOST_NUMBER),
    "answer_bytes": Limit("that an answer brings", 1000.0, 0, MOST_NUMBER),
    "joules_per_megabyte": Limit("of the device's radio", 0.0, 0, 1e6),
    "deadline_miss_ms": Limit("of waiting that a missed deadline is worth", None, 0, 1e9),
    "joule_ms": Limit("of waiting that a joule is worth", 0.0, 0, 1e9),
    "money_ms": Limit("of waiting that one unit of money is worth", 0.0, 0, 1e12),
    "wrong_answer_ms": Limit("of waiting that a wrong answer is worth; 0: not weighed", 0.0, 0, 1e9),
    "error_percent": Limit("of the answers there that are wrong; left out: as measured of the release", None, 0, 100),
    "unsure_percent": Limit("of the requests that a device passes on; left out: as measured of the release", None, 0, 100),
    "service_ms": Limit("mean time of serving one request there", None, 0, 1e7, beyond=True),
    "p95_ms": Limit("95th percentile of that time", None, 0, 1e7, beyond=True),
    "price_per_request": Limit("in money", 0.0, 0, 1e6),
    "joules_per_request": Limit("of the device's battery", 0.0, 0, 1e6),
    "warm_up_ms": Limit("until it answers after a move", 0.0, 0, 1e7),
    "model_bytes": Limit("that a move must bring there first", 0.0, 0, MOST_NUMBER),
    "rtt_ms": Limit("of a round trip", None, 0, 1e7),
    "megabits_per_second": Limit("of the link, the slower direction", None, 0, 1e6, beyond=True),
    "loss_percent": Limit("of the packets", 0.0, 0, 99),
    "price_per_megabyte": Limit("in money", 0.0, 0, 1e6),
    # As OFFLOAD's correlation: the share of failures that have a common cause, at its upper end.
    "common_percent": Limit("of the network's changes, that all devices of the fleet see at once", 10.0, 0, 100),
    "requests_per_second": Limit("that the device is asked", None, 0, 1e6),
    "stays_seconds": Limit("mean time at the level; left out: `transition` says it", None, 0, 365 * DAY_SECONDS, beyond=True),
    "transition": replace(SHARE, what="probability of a step, from each level (row) to each; left out: `stays_seconds` says it"),
    "until": Limit("where the next level begins; the last level has none", None, -1e9, 1e9),
    "band": Limit("beyond an edge, until which the level stays", 0.0, 0, 1e9),
    "slowdown": Limit("of the device's own times", 1.0, 0, 1000, beyond=True),
    "joules_factor": Limit("of the device's own joules", 1.0, 0, 1000),
}

# Where `isthmus partition` splits a network.
PARTITION: Final[Mapping[str, Limit]] = {
    "round_trip_ms": Limit("of the smallest request to the cloud, with what the server takes beside its run", 20.0, 0, 60_000),
    "speed_factor": Limit("one run on a device takes so many times as long as measured", 8.0, 0, 1_000_000, beyond=True),
    "cloud_speed_factor": Limit("the same of one run in the cloud", 1.0, 0, 1_000_000, beyond=True),
    "max_loss_percent": Limit("points of accuracy that eight bits on the wire may cost", 0.5, 0, 100),
    "margin_percent": Limit("by which another way must be faster before the way is changed", 5.0, 0, 1000),
    "megabits_per_second": Limit("of a device's way to the cloud", None, 0, 1_000_000, beyond=True),
}
PARTITION_LAYERS: Final = Limit("that a device runs of a network that is split", None, 1, 100_000, whole=True)

# How many days a signature of each role of a fleet's repository is good for. Devices accept nothing that is older, so that nobody can
# hold an update back for longer than the timestamp's; `isthmus fleet refresh` signs anew in time.
SIGNED_DAYS: Final[Mapping[str, Limit]] = {
    "root": Limit("of the offline keys' list of keys", 365, 1, 3650, whole=True),
    "targets": Limit("of the list of fleets", 365, 1, 3650, whole=True),
    "snapshot": Limit("of what belongs together", 14, 1, 3650, whole=True),
    "timestamp": Limit("of what is newest", 3, 1, 3650, whole=True),
    "delegated": Limit("of what a fleet is told, and of the roster", 90, 1, 3650, whole=True),
}
MOST_METADATA_VERSION: Final = 2**31
"""Of a role in a fleet's repository. Above it somebody counted who meant harm: `isthmus fleet recover`."""

# Programs of a local stack.
PROGRAM_REPLICAS: Final = Limit("how many", 1, 1, 1000, whole=True)
READY_SECONDS: Final = Limit("until a replica must be ready", 60, 0.1, DAY_SECONDS)

# Machines with Docker.
HOST_DEADLINE_SECONDS: Final = Limit("until when a new server must answer", 300, 1, 7 * DAY_SECONDS, whole=True, affects=False)
DRAIN_SECONDS: Final = Limit("how long requests may go on when a server leaves", 30, 0, 3600, affects=False)
HOST_MEMORY_MIB: Final = Limit("limit of a server's memory; left out: none", None, 64, 4_194_304, whole=True)
HOST_CPUS: Final = Limit("limit of a server's processors; left out: none", None, 0.01)
FIRST_PORT: Final = Limit("the first of two ports", None, 1, 65_534, whole=True)

# Clusters.
POOL_REPLICAS: Final = Limit("servers of this kind", 1, 1, 1000, whole=True)
CLUSTER: Final[Mapping[str, Limit]] = {
    "node_port": Limit("of every node; left out: the cluster picks it", None, 30_000, 32_767, whole=True),
    "gateway_replicas": Limit("Envoys", 2, 1, 100, whole=True),
    "cpu_millis": Limit("thousandths of a core that a server asks for; left out: one core", None, 10, 512_000, whole=True),
    "memory_mib": Limit("that a server asks for and may use; left out: from the model's size", None, 64, 4_194_304, whole=True),
    "scale_down_seconds": Limit("that the demand stays lower before servers go", 300, 0, 3600, whole=True),
    "deadline_seconds": Limit("until when Pods must be ready", 600, 1, 7 * DAY_SECONDS, whole=True, affects=False),
    "model_size_limit_mib": Limit("of a Pod's folder for the model; left out: from the release", None, 1, 1_048_576, whole=True),
    "gateway_leave_seconds": Limit("that a leaving gateway serves on; left out: until nothing is lost", None, 1, 7200, whole=True),
    "server_drain_seconds": Limit("that a leaving server still answers", 15, 1, 3600, whole=True),
}
