"""Whoever stands between a device and its fleet: what they have of keys, they sign with; what they have seen, they play back."""

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from securesystemslib.signer import CryptoSigner, Signer
from tests.fleet_store import MemoryStore, served
from tests.isthmus_agent.living import FLEET, PREFIX, Fleet, Living, digest_of
from toolchain.testing import patience
from tuf.api.metadata import Metadata, TargetFile

from isthmus.release import deltas
from isthmus.repository import ceremony
from isthmus.repository.keyring import Keyring
from isthmus.repository.objects import Place
from isthmus.repository.reading import read
from isthmus.repository.recover import recover
from isthmus.repository.roles import delegated_of, meta_of, signed, snapshot_of, timestamp_of
from isthmus_agent.formats.assignment import WHOLE_SHARE, Assignment, Wave
from isthmus_agent.formats.contents import Variant
from isthmus_agent.formats.probation import Probation
from isthmus_agent.formats.signed_fields import FIELD
from isthmus_agent.manager import control

OTHER_FLEET = "doors"
METADATA = f"{PREFIX}metadata/"
TIMESTAMP = f"{METADATA}timestamp.json"
PACE = {"poll_seconds": 0.1, "retry_seconds": 0.05, "measure_seconds": 0.05}

Content = Callable[..., bytes]
Keys = Mapping[str, Sequence[Signer]]


@dataclass(frozen=True)
class Seed:
    """A fleet whose device has confirmed the first content, as it lies on disks: each test begins with a copy."""

    objects: Mapping[str, bytes]
    folder: Path


def seeded(folder: Path, content: Content) -> Seed:
    """Makes it, by a real device."""
    with served(MemoryStore()) as http:
        place = Place(http.store, PREFIX)
        keyring = ceremony.init(folder / "keys", [FLEET, OTHER_FLEET])
        ceremony.found(place, keyring)
        siege = Siege(Fleet(http, place, keyring), Living(Fleet(http, place, keyring), folder / "device", dict(PACE)), content)
        try:
            siege.fleet.tell(content(1), probation=Probation(0))
            siege.device.start()
            siege.await_confirmed(1)
            siege.device.stop()
        finally:
            siege.device.kill()
        return Seed(dict(http.store.objects), folder)


@contextmanager
def besieged(seed: Seed, folder: Path, content: Content) -> Iterator["Siege"]:
    """A running device that serves the first content, and whoever wants it to serve another one."""
    store = MemoryStore()
    store.objects = dict(seed.objects)
    shutil.copytree(seed.folder / "keys", folder / "keys")
    shutil.copytree(seed.folder / "device", folder / "device", ignore=shutil.ignore_patterns("control"))
    with served(store) as http:
        fleet = Fleet(http, Place(store, PREFIX), Keyring.load(folder / "keys"))
        siege = Siege(fleet, Living(fleet, folder / "device", dict(PACE)), content)
        try:
            siege.start()
            yield siege
        finally:
            siege.device.kill()


@dataclass
class Siege:
    """fleet, device: the honest ones. content: contents by their version."""

    fleet: Fleet
    device: Living
    content: Content

    # The device.

    def start(self, *, weakened: str = "", afresh: bool = False) -> None:
        """Starts it. weakened: lines of Python that each of its processes runs first. afresh: a new device, which knows nothing yet."""
        if afresh:
            shutil.rmtree(self.device.state)
        program = self.device.arguments("run")
        if weakened:
            folder = self.device.folder / "weakened"
            folder.mkdir(exist_ok=True)
            (folder / "sitecustomize.py").write_text(weakened)
            program = ["/usr/bin/env", f"PYTHONPATH={folder}", *program]
        self.device.start(program)

    def start_again(self, *, weakened: str = "", afresh: bool = False) -> None:
        """The same after its end."""
        self.device.stop()
        self.start(weakened=weakened, afresh=afresh)

    def told(self) -> dict[str, Any]:
        """What the device says of itself."""
        return control.ask(self.device.state, {"do": "status"})

    def await_confirmed(self, version: int) -> None:
        """Waits until it serves a content, after its probation."""
        digest = digest_of(self.content(version))

        def is_there() -> bool:
            told = self.told()
            return told["phase"] == "confirmed" and told["serving"] == digest and told["current"]["digest"] == digest

        patience.wait_until(is_there, 60.0)

    def await_refusal(self, reason: str, *, of: str = "the store could not be asked", since: int | None = None) -> None:
        """Waits until it has refused something twice more, since a count or since now."""
        before = self._refusals(reason, of) if since is None else since
        patience.wait_until(lambda: self._refusals(reason, of) >= before + 2, 60.0)

    def _refusals(self, reason: str, of: str) -> int:
        return sum(it["times"] for it in self.told()["events"] if it["what"].startswith(of) and reason in it["what"])

    def holds(self, version: int, number: int) -> None:
        """It serves that content, and no other number was accepted."""
        self.device.await_served(self.content(version))  # it may have been started just now
        told = self.told()
        assert (told["serving"], told["number"]) == (digest_of(self.content(version)), number)

    def goes_on(self, version: int) -> None:
        """The attack is over: an honest release comes through."""
        self.fleet.tell(self.content(version), probation=Probation(0))
        self.await_confirmed(version)

    def bundle_of(self, version: int) -> str:
        """The path of a content's bundle."""
        return f"{FLEET}/{digest_of(self.content(version))[7:19]}.bundle"

    # The operator.

    def revoke(self, role: str) -> None:
        """Takes a role's key its say."""
        ring = self.fleet.keyring
        self.fleet.keyring = ceremony.revoke(self.fleet.place, ring, ring.roles[role].keys[0].public.keyid)

    def recover(self) -> None:
        """Puts what is not signed as it should be out of force."""
        self.fleet.keyring = recover(self.fleet.place, self.fleet.keyring).keyring

    # The attacker.

    @property
    def objects(self) -> dict[str, bytes]:
        return self.fleet.store.objects

    def seen(self) -> dict[str, bytes]:
        """What an attacker keeps of today's repository."""
        return {key: data for key, data in self.objects.items() if key.startswith((METADATA, f"{PREFIX}targets/"))}

    def play_back(self, seen: Mapping[str, bytes]) -> None:
        """Has the store answer as it did then. The timestamp comes last: it says which of the others are asked for."""
        for key in [it for it in self.objects if it.startswith(METADATA) and it not in seen]:
            del self.objects[key]
        self.objects.update({key: data for key, data in seen.items() if key != TIMESTAMP})
        self.objects[TIMESTAMP] = seen[TIMESTAMP]

    def keys(self, **stolen: Sequence[Signer]) -> Keys:
        """Keys by role: the honest ones, but for those that are given."""
        return {role: stolen.get(role) or self.fleet.keyring.signers(role) for role in (FLEET, "snapshot", "timestamp")}

    def forge(self, version: int, keys: Keys, *, at: int = 0, name: str = FLEET, now: datetime | None = None, **changes: Any) -> int:
        """Puts a content in force with some keys, and returns its number. at: version of the fleet's role. name: the fleet it is for."""
        place, now = self.fleet.place, now or datetime.now(UTC)
        current = read(place, self.fleet.keyring.anchor())
        content, role = self.content(version), current.delegated[FLEET].signed
        full = deltas.make(b"", content)
        path = f"{name}/{digest_of(content)[7:19]}.bundle"
        target = TargetFile.from_data(path, full, ["sha256"])
        self.objects[place.target_key(path, target.hashes["sha256"])] = full
        number = int(role.unrecognized_fields[FIELD]["number"]) + 1
        assignment = Assignment(
            name,
            number,
            "00" * 8,
            (Variant("*", digest_of(content), path, len(full)),),
            (Wave("all", WHOLE_SHARE),),
            1,
            probation=Probation(0),
            opened_seconds=(0,),
        )
        assignment = replace(assignment, **changes)
        at = at or role.version + 1
        data = signed(delegated_of(FLEET, at, now, {**role.targets, path: target}, assignment.to_value()), keys[FLEET])
        self.objects[place.metadata_key(FLEET, at)] = data
        meta = {it.removesuffix(".json"): found for it, found in current.snapshot.signed.meta.items()} | {FLEET: meta_of(at, data)}
        self.forge_snapshot(meta, keys, now=now)
        return assignment.number

    def forge_snapshot(self, meta: Mapping[str, Any], keys: Keys, *, now: datetime | None = None, at: int = 0) -> None:
        """Puts other versions together. at: version of the timestamp."""
        place, now = self.fleet.place, now or datetime.now(UTC)
        current = read(place, self.fleet.keyring.anchor())
        version = current.snapshot.signed.version + 1
        data = signed(snapshot_of(version, now, meta), keys["snapshot"])
        self.objects[place.metadata_key("snapshot", version)] = data
        self.forge_timestamp(at or current.timestamp.signed.version + 1, meta_of(version, data), keys, now=now)

    def forge_timestamp(self, at: int, snapshot: Any, keys: Keys, *, now: datetime, lasts: timedelta | None = None) -> None:
        """Puts a snapshot in force. lasts: how long it says to be good for."""
        metadata = timestamp_of(at, now, snapshot)
        if lasts is not None:
            metadata.signed.expires = (now + lasts).replace(microsecond=0)
        self.objects[TIMESTAMP] = signed(metadata, keys["timestamp"])

    def forged_root(self, signers: Sequence[Signer]) -> bytes:
        """A next root, by which somebody else may sign the list of fleets as well."""
        root = read(self.fleet.place, self.fleet.keyring.anchor()).root.signed
        root.version += 1
        root.add_key(CryptoSigner.generate_ed25519().public_key, "targets")
        return signed(Metadata(root), signers)
