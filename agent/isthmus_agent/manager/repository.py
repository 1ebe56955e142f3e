"""A device's view of its fleet's repository: what it is told, and the files that it is told of.

`poll` costs one conditional request while nothing changes; where something did, its answer is the timestamp that python-tuf begins
with, so that an update is the timestamp, a look for a new root, the snapshot, the fleet's role, and the bundle.
"""

import hashlib
import json
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from tuf.api.metadata import TargetFile

from isthmus_agent.disk import durable
from isthmus_agent.formats.assignment import Assignment, from_value
from isthmus_agent.formats.report import Reason
from isthmus_agent.formats.signed_fields import FIELD, epoch_in, numbers_of, signed_at_in
from isthmus_agent.manager import downloads
from isthmus_agent.manager.failures import DeviceFailure, ExpiredFailure, ReplayFailure, TransportFailure, UntrustedFailure, refused
from isthmus_agent.manager.metadata import CONFIG, MetadataFetcher, TrustedMetadata, looks_signed, told
from isthmus_agent.manager.transport import Patience, Transport

DAY_SECONDS = 86_400
_SEEN = "seen"  # not *.json: it is no metadata


@dataclass(frozen=True)
class Address:
    """Where a fleet's repository lies. url: of the bucket, with the prefix; ends with `/`."""

    url: str
    fleet: str

    @property
    def metadata_url(self) -> str:
        return f"{self.url}metadata/"

    @property
    def targets_url(self) -> str:
        return f"{self.url}targets/"


@dataclass(frozen=True)
class Floor:
    """What this device knows from before, kept apart from the metadata: nothing below it is accepted, whatever became of the cache.

    time_seconds: since 1970; it is not earlier now. number: of the assignment. root: version of the root metadata.
    time_keys: by whose keys the time was learned. It holds for as long as root names them.
    """

    time_seconds: int
    number: int = 0
    root: int = 0
    time_keys: str = ""


@dataclass(frozen=True)
class Found:
    """What the fleet is told now, and the floor that follows from it.

    assignment: None where the fleet was told nothing yet.
    """

    assignment: Assignment | None
    floor: Floor


@dataclass(frozen=True)
class _Seen:
    """The last answer that was followed to its end. cache: a hash of the metadata that is kept of it."""

    tag: str
    cache: str
    expires_seconds: int


class Repository:
    """root: the root metadata of the enrolment. folder: for the cache, this one's alone. One thread uses it at a time.

    All methods raise RepositoryFailure by its kinds.
    """

    def __init__(self, address: Address, folder: Path, root: bytes, transport: Transport) -> None:
        self._address = address
        self._folder = folder
        self._root = root
        self._transport = transport
        self._trusted: TrustedMetadata | None = None

    def poll(self, floor: Floor) -> Found | None:
        """What the fleet is told, if the repository changed since this was asked last with success; else None."""
        seen = self._seen()
        headers = {"If-None-Match": seen.tag} if seen and seen.tag else {}
        url = f"{self._address.metadata_url}timestamp.json"
        with self._transport.get(url, headers) as answer:
            if answer.status not in ({200, 304} if headers else {200}):
                raise refused(answer.status)
            timestamp, tag = (None if answer.status == 304 else _whole(answer.chunks)), answer.tag
        if seen and timestamp in {None, self._cached("timestamp")}:
            if seen.expires_seconds <= floor.time_seconds:
                raise ExpiredFailure("timestamp.json is expired, and there is no newer one")
            if tag and tag != seen.tag:
                self._remember(replace(seen, tag=tag))
            return None
        if timestamp is None or not looks_signed(timestamp):
            raise TransportFailure("the store's answer is no metadata: a portal, or something else on the way", Reason.NOT_THE_STORE)
        return self._refreshed(floor, {url: timestamp}, tag)

    def refresh(self, floor: Floor) -> Found:
        """What the fleet is told, asked for anew."""
        return self._refreshed(floor, {}, "")

    def target(self, path: str) -> TargetFile:
        """Length and hashes of a file of the fleet, as signed in what was refreshed to last."""
        if self._trusted is None:
            raise UntrustedFailure("nothing was refreshed yet")
        with told():
            found = self._trusted.get_targetinfo(path)
        if found is None or not path.startswith(f"{self._address.fleet}/"):
            raise UntrustedFailure(f"the fleet's role has no {path!r}")
        return found

    def download(self, path: str, part: Path, patience: Patience | None = None) -> None:
        """A file of the fleet, whole and verified, as `part`; goes on with what is there of it."""
        target = self.target(path)
        downloads.download(target, downloads.url_of(target, self._address.targets_url), part, self._transport, patience)

    def _refreshed(self, floor: Floor, primed: dict[str, bytes], tag: str) -> Found:
        fetcher = MetadataFetcher(self._transport)
        fetcher.primed.update(primed)
        now = datetime.fromtimestamp(floor.time_seconds, timezone.utc)
        trusted = TrustedMetadata(self._folder, self._address.metadata_url, self._root, fetcher, now, time_keys=floor.time_keys)
        trusted.refresh()
        role = trusted.role(self._address.fleet)
        with told():
            field = role.unrecognized_fields.get(FIELD) if role else None
            assignment = None if field is None else from_value(field)
            numbers = numbers_of(epoch_in(trusted.targets.unrecognized_fields.get(FIELD), self._address.fleet))
            signed_at_seconds = signed_at_in(trusted.timestamp.unrecognized_fields.get(FIELD))
        number = assignment.number if assignment else 0
        if assignment and (assignment.fleet != self._address.fleet or number not in numbers):
            raise UntrustedFailure(f"assignment {number} of {assignment.fleet} is none that this fleet's key may give")
        if number < floor.number or trusted.root.version < floor.root:
            raise ReplayFailure(f"assignment {number} (root {trusted.root.version}) is older than what was accepted before")
        self._trusted = trusted
        # Never above what the offline keys vouch for: who steals the timestamp's key must not move devices into a far future, in
        # which all metadata is expired.
        latest = min(signed_at_seconds, int(trusted.root.expires.timestamp()) - DAY_SECONDS)
        before = 0 if trusted.is_time_forgotten else floor.time_seconds
        raised = Floor(max(before, latest), number, trusted.root.version, trusted.time_keys)
        self._remember(_Seen(tag, self._cache_hash(), int(trusted.timestamp.expires.timestamp())))
        return Found(assignment, raised)

    def _seen(self) -> _Seen | None:
        """None where it is not known, or where the cache is not what it was then."""
        try:
            raw = json.loads((self._folder / _SEEN).read_bytes())
            seen = _Seen(str(raw["tag"]), str(raw["cache"]), int(raw["expires_seconds"]))
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return None
        return seen if seen.cache == self._cache_hash() else None

    def _remember(self, seen: _Seen) -> None:
        try:
            durable.write(self._folder / _SEEN, json.dumps(asdict(seen)).encode())
        except OSError as error:
            raise DeviceFailure(f"cannot keep the metadata: {error.strerror or error}") from error

    def _cache_hash(self) -> str:
        found = hashlib.sha256()
        for role in ("root", "timestamp", "snapshot", "targets", self._address.fleet):
            data = self._cached(role)
            found.update(len(data).to_bytes(8, "big") + data)
        return found.hexdigest()

    def _cached(self, role: str) -> bytes:
        try:
            return (self._folder / f"{role}.json").read_bytes()
        except OSError:
            return b""


def _whole(chunks: Any) -> bytes:
    found = b""
    for chunk in chunks:
        found += chunk
        if len(found) > CONFIG.timestamp_max_length:
            raise TransportFailure("the store's answer is larger than any timestamp")
    return bytes(found)
