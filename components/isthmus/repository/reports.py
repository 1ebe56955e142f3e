"""What a fleet's devices say, read from the store: the keys of a listing, 1,000 a request, and no object is read.

Whoever has a device's credentials can write any key of that device's, and whoever has the store's any at all. So a report counts only if
its MAC is by the key of the device that it names, of the generation in the signed roster, and if it is about the release that is asked
for; what does not count is counted by why, and shown in ASCII alone. A device that fills the listing with keys is passed over and costs a
request or two. Ages are by the store's own clock; how long a device may be silent is the operator's to say, and not the device's.

One identity on two devices is found by the marks that a device draws at each start: two that both speak, or the earlier start speaking
after the later one. Such a device is unclear: nobody knows which of the two says what.
"""

import random
import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from isthmus.errors import StoreError
from isthmus.release.store import ListedObject, MissingBucketError, Page, RefusedCredentialsError
from isthmus_agent.formats import numbers, report
from isthmus_agent.formats.numbers import FormatError
from isthmus_agent.formats.report import Figures, Outcome, Reason, Report
from isthmus_agent.formats.roster import Device, Roster

MISSED_HEARTBEATS: Final = 3
MOST_KEYS_PER_DEVICE: Final = 8
"""About one release. A sound device has one, and two for the moment between writing the new one and deleting the old one."""
MOST_EXAMPLES: Final = 5
LEEWAY_SECONDS: Final = 5.0
"""The store's times are whole seconds, and two requests may overtake each other."""
_FIRST_PAUSE_SECONDS, _MOST_PAUSE_SECONDS = 0.2, 5.0

UNKNOWN_DEVICE: Final = "of a device that is not on the roster"
FORGED: Final = "not signed by the device it names"
REVOKED_KEY: Final = "signed by a key that the device had before"
GARBLED: Final = "no report"
ANOTHER_RELEASE: Final = "about another release"


class Listing(Protocol):
    """What is asked of a store."""

    def page(self, prefix: str, *, after: str = "") -> Page: ...


@dataclass(frozen=True)
class DeviceReport:
    """What a device said last. seconds: since it has this outcome, at the least. age_seconds: since it spoke."""

    report: Report
    age_seconds: float
    is_overdue: bool

    @property
    def outcome(self) -> Outcome:
        return self.report.outcome

    @property
    def reason(self) -> str:
        """One line of printable ASCII. It is a device's text: escape it where a page or a terminal gives characters a meaning."""
        words = "" if self.report.reason is Reason.NONE else self.report.reason.name.lower().replace("_", " ")
        return ": ".join(it for it in (words, self.report.text) if it)

    @property
    def seconds(self) -> float:
        return (self.report.figures.outcome_seconds or 0) + self.age_seconds

    @property
    def figures(self) -> Figures:
        return self.report.figures


@dataclass(frozen=True)
class Look:
    """What all devices said about one assignment. unclear: device → why.

    dropped: how many keys did not count, by why; examples: some of them, in ASCII. flooding: devices that wrote more keys than any sound
    one. requests: to the store.
    """

    reports: Mapping[str, DeviceReport]
    unclear: Mapping[str, str]
    dropped: Mapping[str, int]
    examples: Sequence[str]
    flooding: Sequence[str]
    requests: int


@dataclass(frozen=True)
class Asked:
    """What is looked for. digests: of the release's contents, for any class; empty: whatever it is. secret: the fleet's.

    heartbeat_seconds: in which a device says something again.
    """

    fleet: str
    number: int
    roster: Roster
    secret: bytes = field(repr=False)
    digests: Collection[str] = ()
    heartbeat_seconds: float = report.HEARTBEAT_SECONDS

    @property
    def overdue_seconds(self) -> float:
        """The age of a report from which its device is silent."""
        return MISSED_HEARTBEATS * self.heartbeat_seconds


def look(
    listing: Listing,
    prefix: str,
    asked: Asked,
    *,
    before: Look | None = None,
    patience_seconds: float = 60.0,
    wait: Callable[[float], None] = time.sleep,
    now: Callable[[], float] = time.monotonic,
) -> Look:
    """Reads the reports about an assignment.

    before: an earlier look at the same assignment, by which a device that goes back to an earlier start is found. patience_seconds: for
    which a store that fails is asked again. Raises StoreError after that, and at once where the credentials or the bucket are wrong: a
    look that failed says nothing about the devices.
    """
    reader = _Reader(asked, prefix)
    pages = _Pages(listing, now() + patience_seconds, wait, now)
    after, is_last = "", False
    while not is_last:
        page = pages.page(report.folder(prefix, asked.number), after)
        is_last = page.is_last or not page.objects
        for listed in page.objects:
            reader.take(listed)
        after = reader.next_after(page.objects[-1].key) if page.objects else ""
    return reader.looked(before, pages.requests)


class _Pages:
    """Pages of a listing, asked for again where the store fails, until the deadline."""

    def __init__(self, listing: Listing, deadline: float, wait: Callable[[float], None], now: Callable[[], float]) -> None:
        self._listing = listing
        self._deadline = deadline
        self._wait = wait
        self._now = now
        self.requests = 0

    def page(self, prefix: str, after: str) -> Page:
        pause_seconds = _FIRST_PAUSE_SECONDS
        while True:
            self.requests += 1
            try:
                return self._listing.page(prefix, after=after)
            except (RefusedCredentialsError, MissingBucketError):
                raise
            except StoreError:
                left = self._deadline - self._now()
                if left <= 0:
                    raise
                self._wait(min(left, random.uniform(pause_seconds / 2, pause_seconds)))  # noqa: S311 - so that many do not ask at once
                pause_seconds = min(2 * pause_seconds, _MOST_PAUSE_SECONDS)


@dataclass
class _Reader:
    """Takes keys one by one. spoken: sound reports by device. keys: how many a device has, sound or not."""

    asked: Asked
    prefix: str
    spoken: dict[str, list[DeviceReport]] = field(default_factory=dict)
    keys: Counter[str] = field(default_factory=Counter)
    dropped: Counter[str] = field(default_factory=Counter)
    examples: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._devices = self.asked.roster.by_name()
        self._digests = {report.told_digest(it) for it in self.asked.digests}
        self._folder = report.folder(self.prefix, self.asked.number)

    def take(self, listed: ListedObject) -> None:
        whose = listed.key.removeprefix(self._folder).partition("~")[0]
        self.keys[whose] += 1
        if self.keys[whose] > MOST_KEYS_PER_DEVICE:
            return
        found, why = self._read(listed)
        if found:
            self.spoken.setdefault(found.report.device, []).append(found)
            return
        self.dropped[why] += 1
        if len(self.examples) < MOST_EXAMPLES:
            self.examples.append(f"{why}: {numbers.shown(listed.key.removeprefix(self._folder))}")

    def next_after(self, last: str) -> str:
        """Where the next page begins. Past all keys of a device that has too many."""
        whose = last.removeprefix(self._folder).partition("~")[0]
        # The character after `~`: no other device's keys are in between.
        return f"{self._folder}{whose}\x7f" if self.keys[whose] > MOST_KEYS_PER_DEVICE else last

    def looked(self, before: Look | None, requests: int) -> Look:
        reports, unclear = {}, {}
        for device, spoken in self.spoken.items():
            starts = _by_start(spoken)
            newest = starts[-1]
            if why := self._unclear(starts) or _went_back(before.reports.get(device) if before else None, newest):
                unclear[device] = why
            reports[device] = newest
        flooding = sorted(name for name, count in self.keys.items() if count > MOST_KEYS_PER_DEVICE and name in self._devices)
        for device in flooding:
            unclear.setdefault(device, f"it has more than {MOST_KEYS_PER_DEVICE} reports about one release")
        for device, why in (before.unclear if before else {}).items():
            unclear.setdefault(device, why)
        return Look(reports, unclear, dict(self.dropped), tuple(self.examples), tuple(flooding), requests)

    def _read(self, listed: ListedObject) -> tuple[DeviceReport | None, str]:
        try:
            claim = report.read(listed.key, self.prefix)
        except FormatError:
            return None, GARBLED
        device = self._devices.get(claim.device)
        if device is None:
            return None, UNKNOWN_DEVICE
        try:
            found = claim.verified(self.asked.fleet, self._key(device))
        except FormatError:
            return None, self._why_not(claim, device)
        if not self._is_about(found):
            return None, ANOTHER_RELEASE
        overdue = listed.age_seconds > self.asked.overdue_seconds
        return DeviceReport(found, listed.age_seconds, is_overdue=overdue), ""

    def _why_not(self, claim: report.Claim, device: Device) -> str:
        for generation in range(max(0, device.generation - 2), device.generation):
            try:
                claim.verified(self.asked.fleet, report.device_key(self.asked.secret, self.asked.fleet, device.name, generation))
            except FormatError:
                continue
            return REVOKED_KEY
        return FORGED

    def _key(self, device: Device) -> bytes:
        return device.report_key(self.asked.secret, self.asked.fleet)

    def _is_about(self, found: Report) -> bool:
        if not self._digests or found.digest in self._digests:
            return True
        return not found.digest and not found.outcome.is_final  # it does not know yet which content is for it

    def _unclear(self, spoken: Sequence[DeviceReport]) -> str:
        """spoken: the last of each start, the earliest start first."""
        newest = spoken[-1]
        for other in spoken[:-1]:
            starts = f"start {other.figures.boots} and start {newest.figures.boots}"
            if other.figures.boots < newest.figures.boots and other.age_seconds + LEEWAY_SECONDS < newest.age_seconds:
                return f"one identity on two devices: {starts} speak, the earlier one last"
            if max(other.age_seconds, newest.age_seconds) <= 1.5 * self.asked.heartbeat_seconds:
                return f"one identity on two devices: {starts} both speak"
        return ""


def _by_start(spoken: Sequence[DeviceReport]) -> list[DeviceReport]:
    """The last report of each start, the earliest start first. A device that cannot write its disk counts no starts: then age decides."""
    last: dict[int, DeviceReport] = {}
    for it in sorted(spoken, key=lambda it: it.figures.sequence):
        last[it.figures.boot_mark] = it
    return sorted(last.values(), key=lambda it: (it.figures.boots, -it.age_seconds))


def _went_back(before: DeviceReport | None, newest: DeviceReport) -> str:
    if before is None or newest.figures.boots > before.figures.boots:
        return ""
    then, since = before.figures, newest.figures
    if since.boots < then.boots:
        return f"it went back from start {then.boots} to start {since.boots}: two devices, or one restored from a copy"
    if since.boot_mark == then.boot_mark and since.sequence < then.sequence:
        return f"it went back from report {then.sequence} to {since.sequence} of one start: somebody repeats what it said"
    return ""
