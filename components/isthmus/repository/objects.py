"""Names of a repository's objects in a store, and what is asked of the store. Any `isthmus.release.store.Store` can do it."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from isthmus.errors import StoreError
from isthmus.release.store import Keys, Page

ROOT: Final = "root"
TARGETS: Final = "targets"
SNAPSHOT: Final = "snapshot"
TIMESTAMP: Final = "timestamp"
ROSTER: Final = "roster"
TOP_ROLES: Final = (ROOT, TARGETS, SNAPSHOT, TIMESTAMP)
FLEET_NAME: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_VERSIONED = re.compile(r"([1-9][0-9]{0,18})\.([a-z0-9-]+)\.json")


def is_fleet_name(name: str) -> bool:
    """Whether a fleet may have that name: its role has it too."""
    return FLEET_NAME.fullmatch(name) is not None and name not in {*TOP_ROLES, ROSTER}


FLEET_NAMES: Final = "small letters, digits and -; not the name of another role"


class Objects(Protocol):
    """What is asked of a store."""

    def put(self, key: str, data: bytes | Path, *, only_new: bool = False, over: str = "") -> bool: ...
    def get(self, key: str, *, max_bytes: int) -> bytes: ...
    def tag(self, key: str) -> str: ...
    def delete(self, keys: Iterable[str]) -> None: ...
    def list(self, prefix: str) -> Keys: ...
    def page(self, prefix: str, *, after: str = "") -> Page: ...
    def signed_url(self, method: str, key: str, *, valid_seconds: int, only_new: bool = False) -> str: ...


def folders(prefix: str) -> tuple[str, ...]:
    """What all keys of a repository below a prefix begin with, one of them each."""
    return tuple(f"{prefix}{folder}/" for folder in ("metadata", "targets", "health", "enrol", "samples"))


def making_key(prefix: str) -> str:
    """Of the object by which the resource that made a repository knows it again."""
    return f"{prefix}metadata/making"


class RacedError(StoreError):
    """Somebody else published in the same moment. Nothing of this one's is in force."""

    def __init__(self) -> None:
        super().__init__("somebody else published in the same moment, so nothing of this was: look at what they did, and try again")


@dataclass(frozen=True)
class Place:
    """Where a repository lies. prefix: of all its keys; empty, or ends with `/`."""

    objects: Objects
    prefix: str

    def metadata_key(self, role: str, version: int | None = None) -> str:
        """Of a role's metadata. version: None for the timestamp, which has one name for ever."""
        return f"{self.prefix}metadata/{role}.json" if version is None else f"{self.prefix}metadata/{version}.{role}.json"

    @property
    def timestamp_key(self) -> str:
        """Of the timestamp: what is in force is what it leads to."""
        return self.metadata_key(TIMESTAMP)

    def target_key(self, path: str, sha256: str) -> str:
        """Of a target file, its hash before its name as TUF's consistent snapshots have it."""
        folder, slash, name = path.rpartition("/")
        return f"{self.prefix}targets/{folder}{slash}{sha256}.{name}"

    def role_and_version(self, key: str) -> tuple[str, int] | None:
        """Of which role and version a key of metadata is; None where it is no such name."""
        match = _VERSIONED.fullmatch(key.removeprefix(f"{self.prefix}metadata/"))
        return (match[2], int(match[1])) if match else None
