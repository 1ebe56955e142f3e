"""What can happen to a device."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from isthmus_agent.core.effects import Effect
from isthmus_agent.core.state import Kept
from isthmus_agent.formats.assignment import Assignment
from isthmus_agent.formats.report import Reason


@dataclass(frozen=True)
class Tick:
    """Time has passed. `step.wakes_at` says when the next one is of use."""


@dataclass(frozen=True)
class Checked:
    """The store's newest assignment, signed and unexpired. utc_floor: a time that it proves to be past, by the word of time_keys' owners:
    where these are others than before, what was proven before is worth nothing. is_fresh: it is known by something
    other than this disk (the store's own clock, say) that it was signed lately; asked for only after this disk was lost."""

    assignment: Assignment
    utc_floor: int = 0
    is_fresh: bool = False
    time_keys: str = ""


@dataclass(frozen=True)
class Unchanged:
    """The store has nothing newer than what was `Checked` last. utc_floor: a time that is past by now, as for Checked."""

    utc_floor: int = 0


@dataclass(frozen=True)
class CheckFailed:
    """The store could not be asked, or its answer could not be trusted."""

    reason: Reason
    text: str = ""


@dataclass(frozen=True)
class Fetched:
    """A content is in its slot, whole, verified and durable."""

    digest: str


@dataclass(frozen=True)
class FetchFailed:
    """A content is not in its slot. What there is of it is kept and gone on from."""

    digest: str
    reason: Reason
    text: str = ""


@dataclass(frozen=True)
class Serving:
    """A content passed its self-test in the process that answers requests from now on."""

    digest: str


@dataclass(frozen=True)
class ServeFailed:
    """A content is not served. What was served before is, if its process still runs."""

    digest: str
    reason: Reason
    text: str = ""


@dataclass(frozen=True)
class Crashed:
    """The process that served a content ended, or was ended as it hung, on a request. Nothing is served."""

    digest: str
    reason: Reason = Reason.CRASHED
    text: str = ""


@dataclass(frozen=True)
class Measurement:
    """What a content in service showed so far. None: not known."""

    golden_probes_passed: bool = True
    p95_microseconds: int | None = None
    rss_bytes: int | None = None
    distribution_distance_millionths: int | None = None


@dataclass(frozen=True)
class Measured:
    """The answer to Measure."""

    digest: str
    measurement: Measurement = field(default_factory=Measurement)


@dataclass(frozen=True)
class PersistFailed:
    """A Persist was not carried out. kept: what the disk has. skipped: the effects after it, of which none was done.

    It comes before any other event.
    """

    reason: Reason
    kept: Kept
    skipped: Sequence[Effect] = ()


@dataclass(frozen=True)
class RollBack:
    """Somebody at the device wants the model before this one."""


@dataclass(frozen=True)
class LookNow:
    """Somebody at the device wants the store asked now, and not at its time."""


@dataclass(frozen=True)
class Stopping:
    """Somebody ends the program, in order. It is the last event."""


Event = (
    Tick
    | Checked
    | Unchanged
    | CheckFailed
    | Fetched
    | FetchFailed
    | Serving
    | ServeFailed
    | Crashed
    | Measured
    | PersistFailed
    | RollBack
    | LookNow
    | Stopping
)
