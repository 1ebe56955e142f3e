"""Signed metadata of a repository, refreshed by python-tuf, in a folder that survives power cuts.

python-tuf's own cache is written without fsync: after a cut, a timestamp and a snapshot of zeros accept a replay of version 1.
Here each file is on the disk before it takes its name, and the name before anything else is done. Whatever lies in the folder
otherwise (torn, of a wrong kind, restored without its links) is removed or fetched anew: it never needs a visit.

Expiry is judged at the time that the caller trusts, never by this machine's clock.
"""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import cast

from tuf.api.exceptions import DownloadError, DownloadHTTPError, ExpiredMetadataError, RepositoryError
from tuf.api.metadata import Root, Targets, Timestamp
from tuf.api.serialization import DeserializationError
from tuf.ngclient import FetcherInterface, Updater, UpdaterConfig

from isthmus_agent.disk import durable
from isthmus_agent.formats.report import Reason
from isthmus_agent.formats.sizes import most_bytes
from isthmus_agent.manager.failures import DeviceFailure, ExpiredFailure, TransportFailure, UntrustedFailure, refused
from isthmus_agent.manager.transport import Transport

# Nothing larger is read from the network, whatever it claims to be.
CONFIG = UpdaterConfig(
    root_max_length=most_bytes("root"),
    timestamp_max_length=most_bytes("timestamp"),
    snapshot_max_length=most_bytes("snapshot"),
    targets_max_length=most_bytes("targets"),
)
_HISTORY = "root_history"
_LINK = "root.json"


class MetadataFetcher(FetcherInterface):
    """The transport, as python-tuf asks for it. What is no JSON at all is a fault of the way, not of the repository.

    primed: answers that were fetched already, by address; each is given once.
    """

    def __init__(self, transport: Transport) -> None:
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


def looks_signed(data: bytes) -> bool:
    """Whether it could be metadata: a portal's page is none."""
    return data.lstrip()[:1] == b"{"


class TrustedMetadata(Updater):
    """python-tuf's updater with a durable cache and a time of the caller's.

    root: the root metadata that the device was enrolled with. It stays the anchor: what the cache calls root is believed only
    where a chain of signatures leads to it from there. now, time_keys: what time it is at least, and by whose keys that was learned (as
    the property says it; empty: by nobody's). is_time_forgotten: root has changed those keys, so that nothing of that time is believed.
    """

    def __init__(self, folder: Path, url: str, root: bytes, fetcher: FetcherInterface, now: datetime, *, time_keys: str = "") -> None:
        self._time_keys, self.is_time_forgotten = time_keys, False
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

    def _load_timestamp(self) -> None:
        if self._time_keys not in ("", self.time_keys):
            # Who stole the old ones may have said any time up to root's own end, at which all that the new ones sign is expired.
            self.is_time_forgotten = True
            self._trusted_set.reference_time = datetime.fromtimestamp(0, timezone.utc)
        super()._load_timestamp()

    def _download_metadata(self, rolename: str, length: int, version: int | None = None) -> bytes:
        """length: of the snapshot and of targets it is what the role above says, whose key may be stolen."""
        return super()._download_metadata(rolename, min(length, most_bytes(rolename)), version)

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
