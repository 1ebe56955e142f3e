"""Contents on their way into their slots, sealed and plain, from a mirror of the repository in a folder."""

import hashlib
import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from isthmus.release import deltas
from isthmus_agent.core.causes import Failure, failure_of
from isthmus_agent.core.effects import Fetch
from isthmus_agent.core.events import Event, Fetched, FetchFailed
from isthmus_agent.disk import opening
from isthmus_agent.formats import bundle, digests, sealed_contents
from isthmus_agent.formats.contents import Delta, Variant
from isthmus_agent.formats.report import MOST_TEXT_CHARACTERS, Reason
from isthmus_agent.formats.sealed_contents import content_key, key_name
from isthmus_agent.manager.fetching import Fetcher
from isthmus_agent.manager.refreshing import Target
from isthmus_agent.manager.signing_v4 import StoreClock
from isthmus_agent.manager.way import Folder, Way

URL = "http://store/models/edge/"
KEY, OTHER = (content_key(secret * 32, "cameras") for secret in (b"s", b"o"))
NOISE = b"".join(hashlib.sha256(b"%d" % number).digest() for number in range(3000))
OLD, NEW = (
    bundle.join({bundle.MODEL: model, bundle.MANIFEST: b"{}", bundle.GOLDEN: b"{}", bundle.GATES: b"{}"})
    for model in (NOISE, NOISE[:500] + b"another thing" + NOISE[500:])
)
WHOLE, DELTA = deltas.make(b"", NEW), deltas.make(OLD, NEW)
FROM, TO = digests.of(OLD), digests.of(NEW)


def sealed(file: bytes) -> bytes:
    return sealed_contents.sealed(KEY, file)


def damaged(file: bytes) -> bytes:
    return file[:-40] + bytes([file[-40] ^ 1]) + file[-39:]


class Device:
    """It has OLD, and the content key that it is given. The mirror has what is put there."""

    def __init__(self, folder: Path, key: bytes | None) -> None:
        self.disk, self.mirror, self.targets, self.told = (
            opening.opened(folder / "state"),
            folder / "mirror",
            dict[str, Target](),
            list[Event](),
        )
        way = Way(None, StoreClock())
        way.folder = Folder(self.mirror, URL)
        self._fetcher = Fetcher(self.disk, way, f"{URL}targets/", self.told.append, content_key=key)
        with self.disk.parts.going_on("old", 0) as stream:
            stream.write(OLD)
        assert self.disk.slots.put(self.disk.parts.path("old"), FROM, 1)

    def put(self, name: str, file: bytes, *, is_there: bool = True) -> None:
        """Signs an object of the store. is_there: whether it is."""
        digits = hashlib.sha256(file).hexdigest()
        self.targets[f"cameras/{name}"] = Target(f"cameras/{name}", len(file), {"sha256": digits})
        if is_there:
            path = self.mirror / "targets" / "cameras" / f"{digits}.{name}"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(file)

    def fetch(self, key: str | None, *known: Delta) -> Any:
        self._fetcher.want(TO)
        self._fetcher.fetch(Fetch(Variant("*", TO, "cameras/new.bundle", len(WHOLE), key), known), 2, self.targets)
        return self.told[-1]

    @property
    def left(self) -> list[str]:
        """Of downloads."""
        return [it.name for it in self.disk.parts.path("x").parent.iterdir()]


def test_a_sealed_content_is_opened_into_its_slot_and_nothing_else_is_left(tmp_path: Path):
    device = Device(tmp_path, KEY)
    device.put("new.bundle", sealed(WHOLE))
    assert device.fetch(key_name(KEY)) == Fetched(TO)
    assert device.disk.slots.path(TO).read_bytes() == NEW
    assert not device.left


@pytest.mark.parametrize("key", [None, OTHER], ids=["without a key", "with another one"])
def test_without_the_key_a_device_is_blocked_and_told_to_enrol_again_before_anything_is_fetched(tmp_path: Path, key: bytes | None):
    device = Device(tmp_path, key)
    device.put("new.bundle", sealed(WHOLE), is_there=False)
    found = device.fetch(key_name(KEY))
    assert isinstance(found, FetchFailed)
    assert found.reason is Reason.CONTENT_KEY
    assert found.text.endswith("enrol the device again")
    assert len(found.text) <= MOST_TEXT_CHARACTERS


WRONG = {
    "sealed, and damaged before it was signed": (damaged(sealed(WHOLE)), key_name(KEY)),
    "plain, where a sealed one was signed": (WHOLE, key_name(KEY)),
    "sealed, where a plain one was signed": (sealed(WHOLE), None),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_an_object_that_is_not_as_it_was_signed_to_be_is_never_taken_and_says_nothing_of_the_release(tmp_path: Path, wrong: str):
    device, (file, key) = Device(tmp_path, KEY), WRONG[wrong]
    device.put("new.bundle", file)
    found = device.fetch(key)
    assert isinstance(found, FetchFailed)
    assert failure_of(found.reason) is Failure.DEVICE
    assert not device.disk.slots.path(TO).exists()
    assert not device.left
    device.put("new.bundle", sealed(WHOLE))
    assert device.fetch(key_name(KEY)) == Fetched(TO)


def test_a_sealed_delta_is_opened_and_one_that_cannot_be_is_the_whole_bundles_turn(tmp_path: Path):
    device = Device(tmp_path, KEY)
    known = Delta(FROM, TO, "cameras/old-new.delta", len(DELTA), key_name(KEY))
    for file, delta in [(damaged(sealed(DELTA)), known), (DELTA, known), (sealed(DELTA), replace(known, key=key_name(OTHER)))]:
        device.put("old-new.delta", file)
        assert device.fetch(key_name(KEY), delta).reason is Reason.DELTA_UNUSABLE
    device.put("old-new.delta", sealed(DELTA))
    assert device.fetch(key_name(KEY), known) == Fetched(TO)
    assert device.disk.slots.path(TO).read_bytes() == NEW


def test_the_key_of_a_fleet_and_its_name_stay():
    """Devices of one version open what operators of another have sealed."""
    assert content_key(b"s" * 32, "cameras") != content_key(b"s" * 32, "doors")
    assert KEY.hex() == "ff210c0fcbc7111035f154edcfba666ed6dc4c822df139b11f0137f5beabb329"
    assert key_name(KEY) == "5f544dfb2f52cf00"
    assert hashlib.sha256(sealed(b"isthmus")).hexdigest() == "79153bbdc3e8c76bd17fb5cfbe1f8eb516cf8c104085f56b5cb459a5511fd7da"
    assert sealed_contents.opened(io.BytesIO(sealed(b"isthmus")), key_name(KEY), KEY).read() == b"isthmus"
