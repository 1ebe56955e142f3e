"""A device's view of its fleet's repository: what it is told, and the files that it is told of.

`poll` costs one conditional request while nothing changes; where something did, its answer is the timestamp that python-tuf begins
with, so that an update is the timestamp, the snapshot, the fleet's role, and the bundle.

A newer root is asked for where the timestamp names one, where what was signed does not verify by the one that is known, and in any case
after ROOT_SECONDS, by a look that finds nothing new: an update costs no more for it. News put that off MOST_PUT_OFF times, and each time
for QUIET_SECONDS and a look at most. So long may who has stolen the timestamp's key, and writes it into the store, keep a device from a
root that takes the key away.
"""

import hashlib
import json
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Final

from isthmus_agent.disk import durable
from isthmus_agent.formats.assignment import Assignment, from_value
from isthmus_agent.formats.numbers import FormatError
from isthmus_agent.formats.report import Reason
from isthmus_agent.formats.sizes import most_bytes
from isthmus_agent.manager import downloads
from isthmus_agent.manager.failures import DeviceFailure, ExpiredFailure, TransportFailure, UntrustedFailure, refused
from isthmus_agent.manager.refreshing import Floor, Question, Refresh, Refreshed, Target, looks_signed
from isthmus_agent.manager.transport import Patience, Transport, whole

ROOT_SECONDS: Final = 3600.0
"""After which the store is asked for a newer root, also where nothing points to one."""
QUIET_SECONDS: Final = 300.0
"""After news: what is asked then belongs to an update, which is to cost as little as it can."""
MOST_PUT_OFF: Final = 3
"""Looks with news, one after another, that leave out a question for a newer root which is due."""
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
class Found:
    """What the fleet is told now, and the floor that follows from it.

    assignment: None where the fleet was told nothing yet.
    """

    assignment: Assignment | None
    floor: Floor


@dataclass(frozen=True)
class _Seen:
    """The last answer that was followed to its end. cache: a hash of the metadata that is kept of it. root: the version in force."""

    tag: str
    cache: str
    expires_seconds: int
    root: int


class Repository:
    """root: the root metadata of the enrolment. folder: for the cache, this one's alone. refresh: how, in this process unless it says
    otherwise. One thread uses it at a time.

    All methods raise RepositoryFailure by its kinds.
    """

    def __init__(
        self,
        address: Address,
        folder: Path,
        root: bytes,
        transport: Transport,
        *,
        refresh: Refresh | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._address = address
        self._folder = folder
        self._root = root
        self._transport = transport
        self._refresh = refresh or _here
        self._monotonic = monotonic
        self._root_asked_at = self._refreshed_at = float("-inf")
        self._put_off = MOST_PUT_OFF  # the first look of this process asks in any case
        self._targets: Mapping[str, Target] | None = None

    def poll(self, floor: Floor) -> Found | None:
        """What the fleet is told, if the repository changed since this was asked last with success; else None."""
        seen = self._seen()
        headers = {"If-None-Match": seen.tag} if seen and seen.tag else {}
        with self._transport.get(f"{self._address.metadata_url}timestamp.json", headers) as answer:
            if answer.status not in ({200, 304} if headers else {200}):
                raise refused(answer.status)
            timestamp, tag = (None if answer.status == 304 else whole(answer.chunks, most_bytes("timestamp"))), answer.tag
        now = self._monotonic()
        is_root_due = now - self._root_asked_at > ROOT_SECONDS
        if seen and timestamp in {None, self._cached("timestamp")}:
            if is_root_due and now - self._refreshed_at > QUIET_SECONDS and self._has_newer_root(seen.root):
                return self._refreshed(floor, self._cached("timestamp"), tag or seen.tag)
            if seen.expires_seconds <= floor.time_seconds:
                raise ExpiredFailure("timestamp.json is expired, and there is no newer one")
            if tag and tag != seen.tag:
                self._remember(replace(seen, tag=tag))
            return None
        if timestamp is None or not looks_signed(timestamp):
            raise TransportFailure("the store's answer is no metadata: a portal, or something else on the way", Reason.NOT_THE_STORE)
        if not is_root_due or self._put_off < MOST_PUT_OFF:
            self._put_off += is_root_due
            with suppress(UntrustedFailure):
                return self._refreshed(floor, timestamp, tag, asks_for_root=False)
        return self._refreshed(floor, timestamp, tag)

    def refresh(self, floor: Floor) -> Found:
        """What the fleet is told, asked for anew."""
        return self._refreshed(floor, None, "")

    def target(self, path: str) -> Target:
        """Length and hashes of a file of the fleet, as signed in what was refreshed to last."""
        if self._targets is None:
            raise UntrustedFailure("nothing was refreshed yet")
        found = self._targets.get(path)
        if found is None:
            raise UntrustedFailure(f"the fleet's role has no {path!r}")
        return found

    def download(self, path: str, part: Path, patience: Patience | None = None) -> None:
        """A file of the fleet, whole and verified, as `part`; goes on with what is there of it."""
        target = self.target(path)
        downloads.download(target, downloads.url_of(target, self._address.targets_url), part, self._transport, patience)

    def _has_newer_root(self, version: int) -> bool:
        """A question of its own, now and then: nothing else says that there is one, where the roles' keys stay."""
        with self._transport.get(f"{self._address.metadata_url}{version + 1}.root.json") as answer:
            if answer.status in (403, 404):
                self._root_is_known()
            elif answer.status != 200:
                raise refused(answer.status)
            return answer.status == 200

    def _root_is_known(self) -> None:
        self._root_asked_at, self._put_off = self._monotonic(), 0

    def _refreshed(self, floor: Floor, timestamp: bytes | None, tag: str, *, asks_for_root: bool = True) -> Found:
        address = self._address
        question = Question(self._folder, address.metadata_url, address.fleet, self._root, floor, timestamp, asks_for_root)
        found = self._refresh(question, self._transport)
        self._refreshed_at = self._monotonic()
        if asks_for_root:
            self._root_is_known()
        try:
            assignment = None if found.assignment is None else from_value(found.assignment)
        except FormatError as error:
            raise UntrustedFailure(str(error)) from error
        self._targets = found.targets
        self._remember(_Seen(tag, self._cache_hash(), found.expires_seconds, found.floor.root))
        return Found(assignment, found.floor)

    def _seen(self) -> _Seen | None:
        """None where it is not known, or where the cache is not what it was then."""
        try:
            raw = json.loads((self._folder / _SEEN).read_bytes())
            seen = _Seen(str(raw["tag"]), str(raw["cache"]), int(raw["expires_seconds"]), int(raw["root"]))
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


def _here(question: Question, transport: Transport) -> Refreshed:
    """In this process."""
    from isthmus_agent.manager import metadata  # more memory than all the rest of a manager, which has it done elsewhere

    return metadata.refreshed(question, transport)
