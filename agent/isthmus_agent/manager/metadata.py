"""Signed metadata of a repository, refreshed by python-tuf, in a folder that survives power cuts.

python-tuf's own cache is written without fsync: after a cut, a timestamp and a snapshot of zeros accept a replay of version 1.
Here each file is on the disk before it takes its name, and the name before anything else is done. Whatever lies in the folder
otherwise (torn, of a wrong kind, restored without its links) is removed or fetched anew: it never needs a visit.

Expiry is judged at the time that the caller trusts, never by this machine's clock.

As a program (`python -m isthmus_agent.manager.metadata PARENT`) it answers one question of `refreshing`.
"""

import hashlib
import json
import os
import resource
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, cast

from tuf.api.exceptions import DownloadError, DownloadHTTPError, ExpiredMetadataError, RepositoryError
from tuf.api.metadata import Root, Targets, Timestamp
from tuf.api.serialization import DeserializationError
from tuf.ngclient import FetcherInterface, Updater, UpdaterConfig

from isthmus_agent import channel
from isthmus_agent.disk import durable
from isthmus_agent.formats.assignment import from_value
from isthmus_agent.formats.numbers import DAY_SECONDS
from isthmus_agent.formats.report import Reason
from isthmus_agent.formats.signed_fields import FIELD, epoch_in, numbers_of, root_in, signed_at_in
from isthmus_agent.formats.sizes import most_bytes
from isthmus_agent.manager import verifying
from isthmus_agent.manager.failures import (
    DeviceFailure,
    ExpiredFailure,
    ReplayFailure,
    RepositoryFailure,
    TransportFailure,
    UntrustedFailure,
    refused,
)
from isthmus_agent.manager.refreshing import (
    Floor,
    Question,
    Refreshed,
    Target,
    failure_value,
    looks_signed,
    question_from,
)
from isthmus_agent.manager.transport import Answer, Transport

# Nothing larger is read from the network, whatever it claims to be.
CONFIG = UpdaterConfig(
    root_max_length=most_bytes("root"),
    timestamp_max_length=most_bytes("timestamp"),
    snapshot_max_length=most_bytes("snapshot"),
    targets_max_length=most_bytes("targets"),
)
_MOST_MEMORY_BYTES = 1 << 30
_MOST_PROCESSOR_SECONDS = 120
_HISTORY = "root_history"
_LINK = "root.json"
verifying.use()


class MetadataFetcher(FetcherInterface):
    """The transport, as python-tuf asks for it. What is no JSON at all is a fault of the way, not of the repository.

    primed: answers that were fetched already, by address; each is given once.
    """

    def __init__(self, transport: "Transport | Asking") -> None:
        self._transport = transport
        self.primed: dict[str, bytes] = {}

    def _fetch(self, url: str) -> Iterator[bytes]:
        if (found := self.primed.pop(url, None)) is not None:
            yield found
            return
        with self._transport.get(url) as answer:
            if answer.status != 200:
                raise DownloadHTTPError(f"the store answers {answer.status}", answer.status)
            first = next(answer.chunks, b"")
            if not looks_signed(first):
                raise TransportFailure("the store's answer is no metadata: a portal, or something else on the way", Reason.NOT_THE_STORE)
            yield first
            yield from answer.chunks


class TrustedMetadata(Updater):
    """python-tuf's updater with a durable cache and a time of the caller's.

    root: the root metadata that the device was enrolled with. It stays the anchor: what the cache calls root is believed only
    where a chain of signatures leads to it from there. now, time_keys: what time it is at least, and by whose keys that was learned (as
    the property says it; empty: by nobody's). is_time_forgotten: root has changed those keys, so that nothing of that time is believed.
    asks_for_root: whether the store is asked for a newer root.
    """

    def __init__(
        self,
        folder: Path,
        url: str,
        root: bytes,
        fetcher: FetcherInterface,
        now: datetime,
        *,
        time_keys: str = "",
        asks_for_root: bool = True,
    ) -> None:
        self._time_keys, self._asks_for_root, self.is_time_forgotten = time_keys, asks_for_root, False
        with told():
            mend(folder)
            super().__init__(str(folder), url, fetcher=fetcher, config=CONFIG, bootstrap=root)
            self._trusted_set.reference_time = now

    def refresh(self) -> None:
        """Loads all top-level metadata, from the cache where that is current. Raises RepositoryFailure."""
        with told():
            super().refresh()

    def role(self, name: str) -> Targets | None:
        """A role that the top-level targets delegate to, with paths `NAME/*`; None where nothing was published for it yet.

        Raises RepositoryFailure.
        """
        with told():
            if f"{name}.json" not in self._trusted_set.snapshot.meta:
                return None
            self.get_targetinfo(f"{name}/-")  # no target is called so: what matters is that the role is loaded on the way
            if not self._trusted_set.contains(name, Targets.type):
                raise UntrustedFailure(f"the repository has no fleet {name!r}")
        return cast("Targets", self._trusted_set[name])

    @property
    def timestamp(self) -> Timestamp:
        """The one that was refreshed to."""
        return self._trusted_set.timestamp

    @property
    def targets(self) -> Targets:
        """The top-level targets."""
        return self._trusted_set.targets

    @property
    def root(self) -> Root:
        """The last of the chain."""
        return self._trusted_set.root

    @property
    def time_keys(self) -> str:
        """A name of the timestamp's keys, by the root that is in force."""
        role = self.root.roles[Timestamp.type]
        keys = [role.threshold, *(self.root.keys[it].to_dict() for it in sorted(role.keyids))]
        return hashlib.sha256(json.dumps(keys, sort_keys=True).encode()).hexdigest()

    def _download_metadata(self, rolename: str, length: int, version: int | None = None) -> bytes:
        if rolename == Root.type and not self._asks_for_root:
            raise DownloadHTTPError("it is not asked for", 404)
        # Of the snapshot and of targets the length is what the role above says, whose key may be stolen.
        return super()._download_metadata(rolename, min(length, most_bytes(rolename)), version)

    def _load_timestamp(self) -> None:
        if self._time_keys not in ("", self.time_keys):
            # Who stole the old ones may have said any time up to root's own end, at which all that the new ones sign is expired.
            self.is_time_forgotten = True
            self._trusted_set.reference_time = datetime.fromtimestamp(0, timezone.utc)
        super()._load_timestamp()
        if not self._asks_for_root and root_in(self.timestamp.unrecognized_fields.get(FIELD)) > self.root.version:
            raise UntrustedFailure("the timestamp names a newer root")

    def _persist_file(self, filename: str, data: bytes) -> None:
        path = Path(filename)
        if not path.is_symlink() and path.is_file() and path.read_bytes() == data:
            return  # as the first root, at every start
        durable.write(path, data)


def mend(folder: Path) -> None:
    """Removes from the cache what cannot be one of its files, so that it can be written again. Raises OSError."""
    durable.make_folder(folder)
    history = folder / _HISTORY
    if history.is_symlink() or not history.is_dir():
        durable.remove(history)
    for path in [*durable.entries(folder), *durable.entries(history)]:
        is_file = path.is_file() and not path.is_symlink() and path.suffix != ".new"
        if not is_file and path != history and not (path.name == _LINK and path.is_symlink()):
            durable.remove(path)


@contextmanager
def told() -> Iterator[None]:
    """python-tuf's errors as ours."""
    try:
        yield
    except DownloadHTTPError as error:
        raise refused(error.status_code) from error
    except (DownloadError, DeserializationError) as error:
        raise TransportFailure(f"the metadata did not arrive whole: {error}", Reason.ODD_ANSWER) from error
    except ExpiredMetadataError as error:
        raise ExpiredFailure(str(error)) from error
    except (RepositoryError, ValueError, OverflowError) as error:
        raise UntrustedFailure(f"{type(error).__name__}: {error}"[:500]) from error
    except OSError as error:
        raise DeviceFailure(f"cannot keep the metadata: {error.strerror or error}") from error


def refreshed(question: Question, transport: "Transport | Asking") -> Refreshed:
    """The answer to a question, in this process. Raises RepositoryFailure by its kinds."""
    fetcher, floor = MetadataFetcher(transport), question.floor
    if question.timestamp is not None:
        fetcher.primed[f"{question.url}timestamp.json"] = question.timestamp
    now = datetime.fromtimestamp(floor.time_seconds, timezone.utc)
    trusted = TrustedMetadata(
        question.folder, question.url, question.root, fetcher, now, time_keys=floor.time_keys, asks_for_root=question.asks_for_root
    )
    trusted.refresh()
    role = trusted.role(question.fleet)
    with told():
        value = role.unrecognized_fields.get(FIELD) if role else None
        assignment = None if value is None else from_value(value)
        numbers = numbers_of(epoch_in(trusted.targets.unrecognized_fields.get(FIELD), question.fleet))
        signed_at_seconds = signed_at_in(trusted.timestamp.unrecognized_fields.get(FIELD))
    number = assignment.number if assignment else 0
    if assignment and (assignment.fleet != question.fleet or number not in numbers):
        raise UntrustedFailure(f"assignment {number} of {assignment.fleet} is none that this fleet's key may give")
    if number < floor.number or trusted.root.version < floor.root:
        raise ReplayFailure(f"assignment {number} (root {trusted.root.version}) is older than what was accepted before")
    # Never above what the offline keys vouch for: who steals the timestamp's key must not move devices into a far future, in
    # which all metadata is expired.
    latest = min(signed_at_seconds, int(trusted.root.expires.timestamp()) - DAY_SECONDS)
    before = 0 if trusted.is_time_forgotten else floor.time_seconds
    raised = Floor(max(before, latest), number, trusted.root.version, trusted.time_keys)
    targets = _targets(trusted, role, question.fleet) if role else {}
    return Refreshed(value, raised, int(trusted.timestamp.expires.timestamp()), targets)


def _targets(trusted: TrustedMetadata, role: Targets, fleet: str) -> dict[str, Target]:
    with told():
        found = [trusted.get_targetinfo(path) for path in role.targets if path.startswith(f"{fleet}/")]
    return {it.path: Target(it.path, it.length, dict(it.hashes)) for it in found if it is not None}


class Asking:
    """The way to the store of a process that has none: it asks the one that started it."""

    @contextmanager
    def get(self, url: str) -> Iterator[Answer]:
        """As `Transport.get`."""
        _say({"get": url})
        head = json.loads(sys.stdin.buffer.readline())
        content = sys.stdin.buffer.read(head["bytes"])
        yield Answer(head["status"], "", iter([content] if content else []))


def _say(message: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


def _main() -> None:
    channel.end_with(int(sys.argv[1]))
    resource.setrlimit(resource.RLIMIT_AS, (_MOST_MEMORY_BYTES, _MOST_MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CPU, (_MOST_PROCESSOR_SECONDS, _MOST_PROCESSOR_SECONDS))
    try:
        _say({"found": asdict(refreshed(question_from(sys.stdin.buffer.readline()), Asking()))})
    except RepositoryFailure as failure:
        _say(failure_value(failure))
    except Exception as error:  # whatever a store's answer makes of this process, it is asked again
        _say(failure_value(TransportFailure(f"{type(error).__name__}: {error}"[:500], Reason.ODD_ANSWER)))
    os._exit(0)


if __name__ == "__main__":
    _main()
