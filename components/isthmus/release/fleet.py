"""What a fleet is told, and what its devices answer.

The target is one signed document: `{prefix}target.dsse.json`. Its attempt number only ever grows, so that an old target
that is played back is seen as such. Each device answers in a document of its own: `{prefix}reports/{device}.json`,
bound to device, digest and attempt. A report is a device's own word and is not signed.
"""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Literal, get_args

from isthmus.errors import IntegrityError
from isthmus.release import signing
from isthmus.release.names import DEVICE
from isthmus.release.store import MissingObjectError, Store

TARGET_TYPE = "application/vnd.isthmus.target+json"
TARGET_NAME = "target.dsse.json"
FORMAT = 1
MAX_DOCUMENT_BYTES = 64 << 10
# A report is stale when this many heartbeats were missed; the grace covers a slow machine and the store's clock, which
# counts in whole seconds.
MISSED_HEARTBEATS = 3
STALE_GRACE_SECONDS = 5.0
# What a state can hold exactly.
_MOST_ATTEMPTS = 2**53
BELIEVED_ATTEMPTS = 2**31
"""Reports are not signed: numbers above it are no fleet's, and count for nothing when the next one is chosen."""

State = Literal["starting", "serving", "refused"]


@dataclass(frozen=True)
class Target:
    """What every device of a fleet shall serve. attempt: from 1, one more for every target of the fleet."""

    fleet: str
    attempt: int
    digest: str
    model: str

    def to_bytes(self) -> bytes:
        """Canonical JSON."""
        return json.dumps({**asdict(self), "format": FORMAT}, sort_keys=True, separators=(",", ":")).encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> "Target":
        """Raises IntegrityError where data is not a target of this format."""
        return cls(**_document(data, "target", {"fleet": str, "attempt": int, "digest": str, "model": str}))


@dataclass(frozen=True)
class Report:
    """One device's last word.

    digest, attempt: of the target that the report answers. state: `starting` (it fetches or tests that release),
        `serving` (it passed the self-test, was switched to and answers), `refused` (it did not, and reason says why).
    serving_digest: what the device serves now; empty where nothing. After a refusal that is what it had before.
    endpoint: URL at which it serves. reported_at: the device's own clock, ISO 8601 in UTC.
    heartbeat_seconds: the device promises another report within this time.
    requests, errors: predictions since it started, and those among them that were answered with an error.
    answered_by_device, answered_by_cloud: whose answer was given. cloud_unavailable: how often the cloud role was
        asked and did not answer in time, so that the device's own answer stood.
    age_seconds: since the report reached the store, by the store's clock. Set by `read_reports`, not in the document.
    """

    device: str
    fleet: str
    digest: str
    attempt: int
    state: State
    reason: str = ""
    serving_digest: str = ""
    endpoint: str = ""
    reported_at: str = ""
    heartbeat_seconds: float = 10.0
    requests: int = 0
    errors: int = 0
    answered_by_device: int = 0
    answered_by_cloud: int = 0
    cloud_unavailable: int = 0
    age_seconds: float = field(default=0.0, compare=False)

    @property
    def is_stale(self) -> bool:
        """Whether the device is silent for longer than it promised."""
        return self.age_seconds > MISSED_HEARTBEATS * self.heartbeat_seconds + STALE_GRACE_SECONDS

    def answers(self, target: Target) -> bool:
        """Whether it is about this target and no other."""
        return (self.fleet, self.digest, self.attempt) == (target.fleet, target.digest, target.attempt)

    def confirms(self, target: Target) -> bool:
        """Whether the device serves the target now."""
        return self.answers(target) and self.state == "serving" and self.serving_digest == target.digest and not self.is_stale

    def to_bytes(self) -> bytes:
        document = {name: value for name, value in asdict(self).items() if name != "age_seconds"}
        return json.dumps({**document, "format": FORMAT}, sort_keys=True).encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> "Report":
        """Raises IntegrityError where data is not a report of this format."""
        kinds = {f.name: _REPORT_KINDS.get(f.name, str) for f in fields(cls) if f.name != "age_seconds"}
        values = _document(data, "report", kinds)
        if values["state"] not in get_args(State):
            raise IntegrityError(f"not a report: state is {values['state']!r}")
        if not 0 <= values["attempt"] < _MOST_ATTEMPTS:
            raise IntegrityError("not a report: attempt is no number of a target")
        return cls(**values)


_REPORT_KINDS: dict[str, type | tuple[type, ...]] = {
    "attempt": int,
    "heartbeat_seconds": (int, float),
    "requests": int,
    "errors": int,
    "answered_by_device": int,
    "answered_by_cloud": int,
    "cloud_unavailable": int,
}


def _document(data: bytes, what: str, kinds: dict[str, Any]) -> dict[str, Any]:
    try:
        raw = json.loads(data)
        if raw["format"] != FORMAT:
            raise IntegrityError(f"{what} format {raw['format']!r} is not supported; this Isthmus reads format {FORMAT}")
        values = {name: raw[name] for name in kinds}
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise IntegrityError(f"not a {what}: {type(error).__name__} {error}") from error
    for name, kind in kinds.items():
        if not isinstance(values[name], kind) or isinstance(values[name], bool):
            raise IntegrityError(f"not a {what}: {name} is {values[name]!r}")
    return values


def target_tag(store: Store, prefix: str) -> str:
    """What tells the target that lies there from any other; empty where there is none."""
    return store.tag(prefix + TARGET_NAME)


def publish_target(store: Store, prefix: str, target: Target, private_pem: str, tag: str) -> bool:
    """Signs the target and puts it where the devices look, in place of the one with that `target_tag`.

    False where it is another one by now: then nothing is written.

    Of two who publish at once one succeeds, so that an attempt's number never stands for two releases.
    """
    return store.put(prefix + TARGET_NAME, signing.sign(TARGET_TYPE, target.to_bytes(), private_pem), only_new=not tag, over=tag)


def read_target(store: Store, prefix: str, public_pem: str) -> Target | None:
    """The fleet's target; None where there is none yet. Raises IntegrityError where it is not signed by that key."""
    try:
        envelope = store.get(prefix + TARGET_NAME, max_bytes=MAX_DOCUMENT_BYTES)
    except MissingObjectError:
        return None
    return Target.from_bytes(signing.verify(envelope, TARGET_TYPE, public_pem))


def claimed_target(store: Store, prefix: str) -> Target | None:
    """What the target claims to be, nobody knows by whom; None where that cannot be read. Never to be followed."""
    try:
        return Target.from_bytes(signing.unverified_payload(store.get(prefix + TARGET_NAME, max_bytes=MAX_DOCUMENT_BYTES)))
    except (MissingObjectError, IntegrityError):
        return None


def making_key(prefix: str) -> str:
    """Where the resource that set the target leaves its mark; it goes with the target."""
    return f"{prefix}target.making"


def remove_target(store: Store, prefix: str) -> None:
    """Removes the target and all reports: the fleet is told nothing any more."""
    store.delete([prefix + TARGET_NAME, making_key(prefix), *store.list(f"{prefix}reports/")])


def write_report(store: Store, prefix: str, report: Report) -> None:
    """Puts a device's report. Raises IntegrityError where its name cannot stand in a key."""
    store.put(_report_key(prefix, report.device), report.to_bytes())


def remove_report(store: Store, prefix: str, device: str) -> None:
    """Takes a device's report back."""
    store.delete([_report_key(prefix, device)])


def read_reports(store: Store, prefix: str, devices: Iterable[str]) -> dict[str, Report]:
    """Reports by device; a device without a readable report of its own is left out, as if it were silent."""
    reports = {}
    for device in devices:
        try:
            found = store.read(_report_key(prefix, device), max_bytes=MAX_DOCUMENT_BYTES)
            report = Report.from_bytes(found.data)
        except (MissingObjectError, IntegrityError):
            continue
        if report.device == device:
            reports[device] = replace(report, age_seconds=found.age_seconds)
    return reports


def _report_key(prefix: str, device: str) -> str:
    if not DEVICE.fullmatch(device):
        raise IntegrityError(f"not a device's name: {device!r}")
    return f"{prefix}reports/{device}.json"
