"""What a device knows: what is kept on its disk (`Kept`), and what ends with its process (`State`)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from isthmus_agent.formats.assignment import Assignment, Wanted
from isthmus_agent.formats.probation import Probation
from isthmus_agent.formats.report import HEARTBEAT_SECONDS, Outcome, Reason


@dataclass(frozen=True)
class Moment:
    """Now. seconds: of a clock that never goes back. utc_seconds: since 1970, by the store's time or another to trust; None: unknown."""

    seconds: float
    utc_seconds: float | None = None


@dataclass(frozen=True)
class Device:
    """Who this is."""

    name: str
    fleet: str
    device_class: str = "*"
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Settings:
    """How the core paces itself.

    most_trial_boots: starts of the program during one probation, in one life of the machine and with nobody who asked for them, that are
    still taken for chance. most_trial_reboots: starts of the machine during one probation, after which the content is left, and nobody
    blamed: power that comes and goes looks as a model does that takes the machine down. most_crashes: of a confirmed content within
    crash_memory_seconds, before the one before it is served again.
    """

    poll_seconds: float = 60.0
    heartbeat_seconds: float = HEARTBEAT_SECONDS
    measure_seconds: float = 10.0
    first_backoff_seconds: float = 5.0
    most_backoff_seconds: float = 900.0
    most_trial_boots: int = 3
    most_trial_reboots: int = 10
    most_crashes: int = 3
    crash_memory_seconds: float = 86_400.0
    clockless_wait_seconds: float = 86_400.0
    time_floor_step_seconds: int = 3600


@dataclass(frozen=True)
class Verdict:
    """What became of a content that an assignment gave to this device."""

    number: int
    digest: str
    outcome: Outcome
    reason: Reason = Reason.NONE

    @property
    def is_against(self) -> bool:
        """Whether the content is not tried again: the release is at fault, an operator holds it back, or trying it never ends."""
        return self.outcome.is_against_release or self.reason in (Reason.HELD_BY_OPERATOR, Reason.RESTARTED_TOO_OFTEN)


@dataclass(frozen=True)
class Kept:
    """What survives the process. It changes by the effect Persist alone.

    number: the highest assignment that was ever accepted; it never goes back. identity: that assignment's.
    time_floor: seconds since 1970; no time before it is believed, as long as the metadata has time_keys. boots: starts of the program.
    current: the digest that is confirmed and served; current_number: the assignment that gave it. previous and
    previous_number: the same of what was served before it.
    trial: the digest on probation, under trial_number; trial_boots, trial_reboots: starts since then that nobody asked for, in one life of
    the machine and with a new one. boot_id: of the machine's life at the last start. is_stopped: somebody ended the program in order.
    crashes: of what is served, since it is.
    verdict: on the last content that was decided about.
    """

    number: int = 0
    identity: str = ""
    time_floor: int = 0
    boots: int = 0
    current: str | None = None
    current_number: int = 0
    previous: str | None = None
    previous_number: int = 0
    trial: str | None = None
    trial_number: int = 0
    trial_boots: int = 0
    probation: Probation = field(default_factory=Probation)
    crashes: int = 0
    verdict: Verdict | None = None
    time_keys: str = ""
    trial_reboots: int = 0
    boot_id: str = ""
    is_stopped: bool = False


class Phase(str, Enum):
    """Where a device is with what it is to have."""

    IDLE = "idle"
    CHECKING = "checking"
    DOWNLOADING = "downloading"
    VERIFIED = "verified"
    WAITING = "waiting"
    TRIAL = "trial"
    CONFIRMED = "confirmed"
    ROLLED_BACK = "rolled_back"
    UNFIT = "unfit"
    BLOCKED = "blocked"


@dataclass(frozen=True)
class Said:
    """What was said last."""

    number: int
    digest: str
    outcome: Outcome
    reason: Reason


@dataclass(frozen=True)
class State:
    """kept: as it is on disk, or, where `unsaved`, as it has to be written yet. held: the verified slots.

    is_lost: the disk could not say which numbers were seen; an assignment is then believed only if it is known to be fresh.
    served, serving: what answers requests; what was asked to. fetching, looking: what is under way. target: what the device is to have.
    whole_only: the digest of which no delta could be used. save_at: when what is `unsaved` is written again. waiting_until: for a window,
    where the time of day is not known. seen_open: the number and the opening of this device's paced wave, and when it first saw that.
    serve_at: before which nothing is started again. deadline: the end of the probation, from when the trial content is in service; None
    before.
    crashes: of what is served, also where the disk did not take it. crashed_at: the last one. began: of this process.
    is_retreat: what the last step wanted kept holds even if the disk did not take it.
    """

    device: Device
    settings: Settings
    kept: Kept
    held: frozenset[str]
    seed: str
    began: float
    poll_at: float
    is_lost: bool = False
    phase: Phase = Phase.IDLE
    assignment: Assignment | None = None
    target: Wanted | None = None
    served: str | None = None
    serving: str | None = None
    fetching: str | None = None
    looking: bool = False
    whole_only: str | None = None
    failures: int = 0
    draws: int = 0
    save_at: float = 0.0
    waiting_until: float | None = None
    seen_open: tuple[int, int, float] | None = None
    serve_at: float = 0.0
    deadline: float | None = None
    measure_at: float = 0.0
    crashes: int = 0
    crashed_at: float | None = None
    unsaved: bool = False
    is_retreat: bool = False
    said: Said | None = None
    said_at: float = 0.0

    @property
    def to_serve(self) -> str | None:
        """What ought to be served now."""
        choice = (self.kept.trial, self.kept.current, self.kept.previous)
        return next((it for it in choice if it is not None and it in self.held), None)
