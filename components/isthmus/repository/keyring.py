"""The key ring: which keys have which role. A folder of the operator's, without secrets but for `file:` keys that lie in it.

`keyring.json` has thresholds, public halves and URIs, and the epoch of each fleet; `root.json` is the root metadata that devices are
enrolled with, `N.root.json` all that there were; `FLEET-roster.json` is the list of devices that was signed last from here. They are made
to be committed; the private files are not.
"""

import json
import os
import threading
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from securesystemslib.signer import Key, Signer, SSlibKey

from isthmus.errors import InputError, IsthmusError, Problem
from isthmus.repository.keys import KeyNotAtHandError, signer_of
from isthmus.repository.objects import ROSTER, TOP_ROLES

FILE_NAME = "keyring.json"
FORMAT = 1
_ROSTER = "{}-roster.json"


class NotEnoughKeysError(IsthmusError):
    """A role cannot be signed for here: fewer of its keys are at hand than its threshold."""


@dataclass(frozen=True)
class RoleKey:
    """One key of a role. uri: of its private half."""

    uri: str
    public: SSlibKey


@dataclass(frozen=True)
class RoleKeys:
    """threshold: how many of the keys have to sign."""

    threshold: int
    keys: tuple[RoleKey, ...]

    def without(self, keyid: str) -> "RoleKeys":
        return replace(self, keys=tuple(key for key in self.keys if key.public.keyid != keyid))

    def with_key(self, key: RoleKey) -> "RoleKeys":
        return replace(self, keys=(*self.keys, key))


@dataclass(frozen=True)
class Keyring:
    """epochs: of the fleets; see isthmus_agent.formats.signed_fields.

    retired: keys that no role has any more. They may still be asked to sign what takes their place, so that devices follow.
    """

    folder: Path
    roles: Mapping[str, RoleKeys]
    epochs: Mapping[str, int] = field(default_factory=dict)
    retired: tuple[RoleKey, ...] = ()

    @property
    def delegated(self) -> tuple[str, ...]:
        """The roles that the top-level targets delegate to: the fleets, then the roster."""
        return tuple(sorted((name for name in self.roles if name not in TOP_ROLES), key=lambda name: (name == ROSTER, name)))

    @property
    def fleets(self) -> tuple[str, ...]:
        return tuple(name for name in self.delegated if name != ROSTER)

    def with_role(self, name: str, keys: RoleKeys) -> "Keyring":
        """Another key ring, in which a role has these keys; those that it had are retired. Raises InputError where they are too few."""
        if not 1 <= keys.threshold <= len(keys.keys):
            what = f"{keys.threshold} of {len(keys.keys)} keys would have to sign"
            raise InputError([Problem(f"role {name}", what, "a threshold from 1 to the number of its keys", "give it another key as well")])
        kept = {key.public.keyid for key in keys.keys}
        before = self.roles[name].keys if name in self.roles else ()
        gone = tuple(key for key in before if key.public.keyid not in kept)
        return replace(self, roles={**self.roles, name: keys}, retired=(*self.retired, *gone))

    def with_epoch(self, fleet: str, epoch: int) -> "Keyring":
        return replace(self, epochs={**self.epochs, fleet: epoch})

    def signers(self, role: str) -> list[Signer]:
        """All of a role's keys that are at hand. Raises NotEnoughKeysError where that is fewer than its threshold."""
        found, missing = [], []
        for key in self.roles[role].keys:
            try:
                found.append(signer_of(key.uri, key.public, self.folder))
            except KeyNotAtHandError as error:
                missing.append(str(error))
        if len(found) < self.roles[role].threshold:
            told = "; ".join(missing) or "the key ring has no more"
            raise NotEnoughKeysError(f"role {role} needs {self.roles[role].threshold} keys, and {len(found)} are at hand: {told}")
        return found

    def signers_at_hand(self, keyids: Iterable[str]) -> list[Signer]:
        """Those of some keys, retired ones too, that can sign here."""
        wanted = set(keyids)
        every = {key.public.keyid: key for it in self.roles.values() for key in it.keys}
        found = []
        for keyid, key in ({key.public.keyid: key for key in self.retired} | every).items():
            if keyid in wanted:
                with suppress(KeyNotAtHandError):
                    found.append(signer_of(key.uri, key.public, self.folder))
        return found

    def can_sign(self, role: str) -> bool:
        """Whether enough of a role's keys are at hand."""
        try:
            return bool(self.signers(role))
        except NotEnoughKeysError:
            return False

    def anchor(self) -> bytes:
        """The newest root metadata that the operator knows. Raises InputError where there is none."""
        return _read(self.folder / "root.json")

    def root_at(self, version: int) -> bytes | None:
        """An earlier root; None where it was not kept."""
        path = self.folder / f"{version}.root.json"
        return path.read_bytes() if path.is_file() else None

    def keep_root(self, version: int, data: bytes) -> None:
        """Keeps a new root, and trusts it from now on."""
        _write(self.folder / f"{version}.root.json", data)
        _write(self.folder / "root.json", data)

    def keep_roster(self, fleet: str, data: bytes) -> None:
        """Keeps a copy of a fleet's roster, for the day on which the store has lost it; not where nothing can be written."""
        with suppress(OSError):
            _write(self.folder / _ROSTER.format(fleet), data)

    def kept_roster(self, fleet: str) -> bytes | None:
        """The copy; None where there is none."""
        path = self.folder / _ROSTER.format(fleet)
        return path.read_bytes() if path.is_file() else None

    def save(self) -> None:
        """Writes the key ring's file."""
        raw = {
            "format": FORMAT,
            "epochs": dict(self.epochs),
            "roles": {name: {"threshold": it.threshold, "keys": [_raw(key) for key in it.keys]} for name, it in self.roles.items()},
            "retired": [_raw(key) for key in self.retired],
        }
        _write(self.folder / FILE_NAME, f"{json.dumps(raw, indent=2)}\n".encode())

    @classmethod
    def load(cls, folder: Path) -> "Keyring":
        """The key ring of a folder. Raises InputError where there is none, or it is damaged."""
        path = folder / FILE_NAME
        try:
            raw = json.loads(_read(path))
            if raw["format"] != FORMAT:
                raise InputError([Problem(str(path), f"format {raw['format']!r}", f"format {FORMAT}", "use the Isthmus that wrote it")])
            roles = {name: RoleKeys(int(it["threshold"]), tuple(_key(key) for key in it["keys"])) for name, it in raw["roles"].items()}
            epochs = {str(name): int(epoch) for name, epoch in raw["epochs"].items()}
            retired = tuple(_key(key) for key in raw["retired"])
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(
                [Problem(str(path), f"damaged: {type(error).__name__}: {error}", "a key ring", "take it from a copy")]
            ) from error
        return cls(folder, roles, epochs, retired)


def _raw(key: RoleKey) -> dict[str, Any]:
    return {"uri": key.uri, "keyid": key.public.keyid, **key.public.to_dict()}


def _key(raw: dict[str, Any]) -> RoleKey:
    uri, keyid = raw.pop("uri"), raw.pop("keyid")
    key = Key.from_dict(keyid, raw)
    if not isinstance(key, SSlibKey):
        raise TypeError(f"{keyid} is no key that metadata can be signed with")
    return RoleKey(uri, key)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        problem = Problem(str(path), error.strerror or "cannot be read", "a key ring's file", "make one: isthmus keys init")
        raise InputError([problem]) from error


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.{os.getpid()}.{threading.get_ident()}.new")  # several may write at once
    with part.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)
