"""What a fleet's devices have told of their network and load, read from its store: one listing, and what has changed since the last time.

Of each device on the roster one object counts, and only where that device has written it (its MAC) and is of the class that it says. Of a
fleet with more devices than are read, those count whose names draw the smallest numbers: the same ones each time. What this machine has
read once is kept beside its releases, by the store's tag of it; it is checked like any other.
"""

import hashlib
import os
import tempfile
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from isthmus.errors import IntegrityError
from isthmus.release.store import ListedObject, MissingObjectError
from isthmus.repository.objects import Place
from isthmus_agent.formats import experience, told_counts
from isthmus_agent.formats.contents import ANY_CLASS
from isthmus_agent.formats.numbers import FormatError
from isthmus_agent.formats.report import printable
from isthmus_agent.formats.roster import Device, Roster

MOST_DEVICES: Final = 2_000
"""That are read: more say no more of how levels follow each other."""
MOST_KEYS_PER_DEVICE: Final = 4
"""Beyond these a device's keys are passed over: it may write any number below its own name."""
_AT_ONCE: Final = 8


@dataclass(frozen=True)
class Counted:
    """contents: documents by device. broken: why those of others could not be read, in printable ASCII. left_out: devices beyond
    MOST_DEVICES. requests: to the store."""

    contents: Mapping[str, bytes]
    broken: Mapping[str, str]
    left_out: int = 0
    requests: int = 0


def counted(place: Place, roster: Roster, secret: bytes, kept: "Kept | None" = None, most: int = MOST_DEVICES) -> Counted:
    """What is there. secret: the fleet's, by which devices sign. kept: None: all are fetched. Raises StoreError."""
    listed, pages = _listed(place, roster)
    chosen = sorted(sorted(listed, key=_draw)[:most])
    kept = kept or Kept(None)
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        fetched = dict(zip(chosen, pool.map(lambda device: kept.content(place, listed[device]), chosen), strict=True))
    devices, contents, broken = roster.by_name(), {}, {}
    for device, content in fetched.items():
        if content is None:  # it went meanwhile
            continue
        try:
            contents[device] = _document(content, roster, devices[device], secret)
        except FormatError as error:
            broken[device] = printable(str(error))
    kept.tidy()
    return Counted(contents, broken, len(listed) - len(chosen), pages + kept.requests)


def _listed(place: Place, roster: Roster) -> tuple[Mapping[str, ListedObject], int]:
    """The objects of devices on the roster, by device, and how many pages they were."""
    folder, devices = told_counts.folder(place.prefix), roster.by_name()
    found: dict[str, ListedObject] = {}
    keys: Counter[str] = Counter()
    after, is_last, pages = "", False, 0
    while not is_last:
        page = place.objects.page(folder, after=after)
        is_last, pages = page.is_last or not page.objects, pages + 1
        for listed in page.objects:
            whose = listed.key.removeprefix(folder).partition("~")[0]
            keys[whose] += 1
            # The character after `~`: no other device's keys are in between.
            after = f"{folder}{whose}\x7f" if keys[whose] > MOST_KEYS_PER_DEVICE else listed.key
            with suppress(FormatError):
                device = told_counts.device_of(listed.key, place.prefix, roster.fleet)
                if device in devices:
                    found[device] = listed
    return found, pages


def _draw(device: str) -> bytes:
    return hashlib.sha256(device.encode()).digest()


def _document(content: bytes, roster: Roster, device: Device, secret: bytes) -> bytes:
    """Raises FormatError for what this device has not written, and for what is none of its class."""
    document = told_counts.read(content, roster.fleet, device.name, device.report_key(secret, roster.fleet))
    its_class = experience.read(document).device_class
    if its_class not in (device.device_class, ANY_CLASS):
        raise FormatError("class", f"it is of class {its_class}, and the device of {device.device_class}")
    return document


class Kept:
    """Objects that this machine has read, in a folder; whatever is wrong with it, they are fetched. folder: None: nothing is kept."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._used: set[str] = set()
        self._fetched: set[str] = set()

    @property
    def requests(self) -> int:
        """How many objects were asked for."""
        return len(self._fetched)

    def content(self, place: Place, listed: ListedObject) -> bytes | None:
        """An object's content; None where it is gone. What is larger than it may be is empty. Raises StoreError."""
        name = hashlib.sha256(f"{listed.key}\0{listed.tag}".encode()).hexdigest()
        self._used.add(name)
        if self._folder is not None and listed.tag:
            with suppress(OSError):
                return (self._folder / name).read_bytes()
        self._fetched.add(name)
        try:
            found = place.objects.get(listed.key, max_bytes=told_counts.MOST_OBJECT_BYTES)
        except MissingObjectError:
            return None
        except IntegrityError:
            return b""
        if self._folder is not None and listed.tag:
            with suppress(OSError):
                _write(self._folder, name, found)
        return found

    def tidy(self) -> None:
        """Removes what is no object's any more."""
        with suppress(OSError):
            for file in self._folder.iterdir() if self._folder is not None else ():
                if file.name not in self._used:
                    file.unlink()


def _write(folder: Path, name: str, content: bytes) -> None:
    """It is there completely or not at all. Raises OSError."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    with tempfile.NamedTemporaryFile(dir=folder, delete=False) as written:
        written.write(content)
    os.replace(written.name, folder / name)
