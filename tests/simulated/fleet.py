"""A fleet of simulated devices in a store, and its operator's side: signing, rosters, releases and looks."""

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final, Protocol

from tests.simulated.agenda import Agenda
from tests.simulated.device import Kind, SimulatedDevice, World
from tests.simulated.line import Traffic

from isthmus.release import deltas
from isthmus.release.store import ListedObject, Page
from isthmus.repository import ceremony
from isthmus.repository.access import derived_access
from isthmus.repository.keyring import Keyring
from isthmus.repository.objects import Place
from isthmus.repository.publish import publish_roster
from isthmus.repository.reports import Asked, Look, look
from isthmus_agent.core.state import Device as Who
from isthmus_agent.core.state import Settings
from isthmus_agent.formats import bundle
from isthmus_agent.formats.contents import Variant
from isthmus_agent.formats.roster import Device, Roster
from isthmus_agent.manager.repository import Address
from isthmus_agent.manager.signing_v4 import Credentials

FLEET: Final = "cameras"
PREFIX: Final = "edge/"
SECRET: Final = b"the secret of the simulated fleet"


class Listing(Protocol):
    """As `isthmus.repository.reports.Listing`."""

    def page(self, prefix: str, *, after: str = "") -> Page: ...


@dataclass(frozen=True)
class Site:
    """A store. place: to write to; url: of the bucket as devices ask it, ends with `/`; has_identities: devices have credentials there."""

    place: Place
    listing: Listing
    url: str
    has_identities: bool = False


@dataclass(frozen=True)
class Content:
    """What is released. kind: what it does on a device."""

    plain: bytes
    kind: Kind = field(default_factory=Kind)

    @property
    def digest(self) -> str:
        return f"sha256:{hashlib.sha256(self.plain).hexdigest()}"

    @property
    def packed(self) -> bytes:
        return deltas.make(b"", self.plain)

    @property
    def variant(self) -> Variant:
        return Variant("*", self.digest, self.path, len(self.packed))

    @property
    def path(self) -> str:
        return f"{FLEET}/{self.digest[7:19]}.bundle"


def content(number: int, kind: Kind | None = None, size_bytes: int = 2000) -> Content:
    """A bundle for devices that never open it."""
    model = b"".join(hashlib.sha256(f"{number}/{index}".encode()).digest() for index in range(size_bytes // 32))
    manifest = json.dumps({"model": "digits", "version": number}).encode()
    parts = {bundle.MODEL: model, bundle.MANIFEST: manifest, bundle.GOLDEN: b"{}", bundle.GATES: b"{}"}
    return Content(bundle.join(parts), kind or Kind())


class SimulatedFleet:
    """folder: for the key ring and the devices' disks. others: devices of the roster that are none of this process."""

    def __init__(
        self, site: Site, names: Sequence[str], folder: Path, *, settings: Settings | None = None, others: Iterable[Device] = ()
    ) -> None:
        self.site, self.agenda = site, Agenda()
        self.settings = settings or Settings()
        self.kinds: dict[str, Kind] = {}
        self.keyring: Keyring = ceremony.init(folder / "keys", [FLEET])
        ceremony.found(site.place, self.keyring)
        every = sorted([*(Device(name, "small", {"site": f"site-{hash_of(name) % 8}"}) for name in names), *others], key=lambda it: it.name)
        self.roster = Roster(FLEET, tuple(every))
        publish_roster(site.place, self.keyring, self.roster.to_json(), name=FLEET)
        self.traffic = Traffic(lambda: self.agenda.now, Counter(), {}, {}, f"/{site.url.split('/', 3)[3]}")
        root = self.keyring.root_at(1)
        assert root is not None
        address = Address(site.url + PREFIX, FLEET)
        self.world = World(self.agenda, self.traffic, address, root, self.settings, self.kinds)
        mine = set(names)
        self.devices = {it.name: self._device(it, folder) for it in every if it.name in mine}

    def _device(self, device: Device, folder: Path) -> SimulatedDevice:
        credentials = None
        if self.site.has_identities:
            access = derived_access(SECRET, FLEET, device)
            credentials = Credentials(access.access_key, access.secret_key)
        who = Who(device.name, FLEET, device.device_class, device.labels)
        return SimulatedDevice(self.world, who, device.report_key(SECRET, FLEET), credentials, folder / "devices" / device.name)

    def boot(self, over_seconds: float) -> None:
        """Starts all devices, spread evenly."""
        for index, device in enumerate(self.devices.values()):
            self.agenda.at(self.agenda.now + over_seconds * index / len(self.devices), device.boot)

    def revive(self) -> None:
        """Starts those anew that were never heard of again, and has what silenced them be over."""
        for digest in [digest for digest, kind in self.kinds.items() if kind.is_silent]:
            del self.kinds[digest]
        for name, device in self.devices.items():
            if device.is_dead:
                self.devices[name] = device.again()
                self.devices[name].boot()

    def look(self, number: int, digests: Iterable[str], before: Look | None = None) -> Look:
        """What the devices say about an assignment, read as an operator does; ages are virtual."""
        asked = Asked(FLEET, number, self.roster, SECRET, list(digests), self.settings.heartbeat_seconds)
        return look(VirtualAges(self.site.listing, self.traffic.written, lambda: self.agenda.now), PREFIX, asked, before=before)

    def touched(self, number: int, names: Iterable[str]) -> list[str]:
        """Of these devices, those that fetched or tried what an assignment gave."""
        return [name for name in names if name in self.devices and number in self.devices[name].touched]


class VirtualAges:
    """A listing whose ages are those of the virtual clock. A key that none of the simulated devices wrote is as old as when it was seen."""

    def __init__(self, listing: Listing, written: dict[str, float], now: Callable[[], float]) -> None:
        self._listing, self._written, self._now = listing, written, now

    def page(self, prefix: str, *, after: str = "") -> Page:
        """As the listing's."""
        page = self._listing.page(prefix, after=after)
        now = self._now()
        aged = tuple(replace(it, age_seconds=now - self._written.setdefault(it.key, now)) for it in page.objects)
        return replace(page, objects=aged)


@dataclass(frozen=True)
class ListedMemory:
    """Pages of a store in memory."""

    objects: Mapping[str, bytes]

    def page(self, prefix: str, *, after: str = "") -> Page:
        """1,000 keys at most."""
        keys = sorted(key for key in list(self.objects) if key.startswith(prefix) and key > after)
        return Page(tuple(ListedObject(key, 0.0) for key in keys[:1000]), len(keys) <= 1000)


def hash_of(name: str) -> int:
    """A number that stays a device's."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big")
