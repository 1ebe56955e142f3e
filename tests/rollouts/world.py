"""A fleet without devices: what they would say, written into a store in memory, by a clock that only a rollout's pauses move."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tests.fleet_sayings import FLEET
from tests.fleet_store import MemoryStore

from isthmus.fleet.gates import Gate
from isthmus.fleet.waves import Wave
from isthmus.release import deltas
from isthmus.repository import ceremony, roster
from isthmus.repository.objects import Place
from isthmus.repository.publish import Change, publish
from isthmus.rollouts.bringing import bring, follow
from isthmus.rollouts.intent import Fleet, Intent
from isthmus.rollouts.looking import at, read_signed
from isthmus.rollouts.standing import Standing
from isthmus_agent.formats import report, sealed_contents
from isthmus_agent.formats.assignment import Assignment, Wanted
from isthmus_agent.formats.contents import Variant
from isthmus_agent.formats.probation import Probation
from isthmus_agent.formats.report import Figures, Outcome, Reason, Report
from isthmus_agent.formats.roster import Device, Roster

SECRET = b"s" * 32
NOW = 1_800_000_000.0
OLD = b"".join(hashlib.sha256(b"%d" % number).digest() for number in range(60))
NEW = OLD[:900] + b"something else" + OLD[900:]
THIRD = OLD[:300] + b"another thing" + OLD[300:]
WAVES = (Wave(count=2), Wave(count=6), Wave("rest", percent=100))
GATE = Gate(max_failure_percent=2, soak_seconds=20, deadline_seconds=600)

Behaviour = Callable[[str, str], Outcome | None]
"""From a device's name and a content to what becomes of it; None: silence."""


def well(device: str, content: str) -> Outcome | None:
    return Outcome.CONFIRMED


def digest_of(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def intent(content: bytes, *, key: bytes | None = None, **changes: object) -> Intent:
    """key: what it is sealed with."""
    packed, digest = deltas.make(b"", content), digest_of(content)
    packed, name = (packed, None) if key is None else (sealed_contents.sealed(key, packed), sealed_contents.key_name(key))
    variant = Variant("*", digest, f"{FLEET}/{digest[7:]}{'-sealed' if key else ''}.bundle", len(packed), name)
    common: dict[str, object] = {"waves": WAVES, "gates": [GATE] * 3, "probation": Probation(5)}
    return Intent((variant,), {variant.bundle: packed}, **{**common, **changes})  # type: ignore[arg-type]


@dataclass
class World:
    """behave: what devices do. lines: of progress. history: what each device was told to have, each time that it changed."""

    fleet: Fleet
    store: MemoryStore
    behave: Behaviour = well
    time: float = NOW
    lines: list[str] = field(default_factory=list)
    history: dict[str, list[Wanted | None]] = field(default_factory=dict)
    begun: dict[tuple[str, object], float] = field(default_factory=dict)
    """When each device began with a number."""
    between: list[Callable[[], object]] = field(default_factory=list)
    """Done in the next pauses, one in each."""

    @classmethod
    def founded(cls, folder: Path, devices: int = 12) -> "World":
        store = MemoryStore()
        place, keyring = Place(store, "edge/"), ceremony.init(folder, [FLEET])
        ceremony.found(place, keyring)
        found = cls(Fleet(place, keyring, FLEET, SECRET), store)
        store.clock = found.now
        listed = tuple(Device(f"camera-{number:02}", "small", {"site": "ab"[number % 2]}) for number in range(devices))
        roster.change(place, keyring, FLEET, lambda _: Roster(FLEET, listed))
        return found

    def now(self) -> float:
        return self.time

    def pause(self, seconds: float) -> None:
        self.time += seconds
        if self.between:
            self.between.pop(0)()
        self.act()

    @property
    def told(self) -> Assignment:
        found = read_signed(self.fleet).told
        assert found is not None
        return found

    @property
    def devices(self) -> tuple[Device, ...]:
        return roster.read(self.fleet.place, self.fleet.keyring, FLEET).devices

    def act(self) -> None:
        """Has every device look at what it is told, and say how it is."""
        told = read_signed(self.fleet).told
        for device in self.devices if told else ():
            assert told is not None
            wanted = told.wanted(device.name, device.labels, device.device_class)
            seen = self.history.setdefault(device.name, [])
            if not seen or seen[-1] != wanted:
                seen.append(wanted)
            begins = told.begins(device.name, device.labels) if wanted and wanted.number == told.number else None
            if begins and self.time < sum(begins):
                continue
            self.begun.setdefault((device.name, wanted and wanted.number), self.time)
            if wanted and wanted.variant and not told.paused:
                self._say(device, wanted.number, wanted.variant.digest)

    def _say(self, device: Device, number: int, content: str) -> None:
        outcome = self.behave(device.name, content)
        if outcome is None:
            return
        mine = f"{report.folder('edge/', number)}{device.name}~"
        was = next((key for key in self.store.objects if key.startswith(f"{mine}{outcome.value}~")), None)
        for key in [key for key in self.store.objects if key.startswith(mine) and key != was]:
            del self.store.objects[key]
        # The first word of an outcome says 0 seconds; its age is the rest, so that it need not be written again.
        reason = Reason.CRASHED if outcome.is_against_release else Reason.DISK_FULL if outcome is Outcome.BLOCKED else Reason.NONE
        said = Report(device.name, number, outcome, content[7:23], reason, "", Figures(boots=1, boot_mark=7, outcome_seconds=0))
        key = was or said.object_key("edge/", FLEET, device.report_key(SECRET, FLEET))
        if was is None:
            self.store.objects[key], self.store.written[key] = b"", self.time

    def bring(self, wanted: Intent, upto: int = 2, *, wait: bool = True) -> Standing:
        return bring(self.fleet, wanted, upto, wait=wait, progress=self.lines.append, pause=self.pause, now=self.now)

    def follow(self, *, wait: bool = True) -> Standing:
        return follow(self.fleet, wait=wait, progress=self.lines.append, pause=self.pause, now=self.now)

    def change(self, how: Change) -> Assignment:
        return publish(self.fleet.place, self.fleet.keyring, FLEET, how, now=at(self.time)).assignment

    def contents(self) -> dict[str, str]:
        """What each device is told to have."""
        told = self.told
        wanted = {it.name: told.wanted(it.name, it.labels, it.device_class) for it in self.devices}
        return {name: it.variant.digest for name, it in wanted.items() if it and it.variant}


def failing(content: bytes, *but: str):
    """All devices go back from a content, but for some."""

    def behave(device: str, digest: str) -> Outcome:
        return Outcome.ROLLED_BACK if digest == digest_of(content) and device not in but else Outcome.CONFIRMED

    return behave


def silent(content: bytes):
    return lambda device, digest: None if digest == digest_of(content) else Outcome.CONFIRMED


def wave_devices(world: World, index: int) -> set[str]:
    return {it.name for it in world.devices if world.told.wave_of(it.name, it.labels) == index}
