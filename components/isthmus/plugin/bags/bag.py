"""A property bag: plain values, and beside them which of them are secret."""

from collections.abc import Mapping, Set
from dataclasses import dataclass, field
from typing import Any

from google.protobuf import struct_pb2

from isthmus.plugin.values import Path, Properties, decode, encode, is_known, secret_strings


@dataclass(frozen=True)
class Bag:
    """Plain values (dicts, lists, strings, numbers, booleans, None, and UNKNOWN at preview) and the paths of the secret ones."""

    values: Properties = field(default_factory=dict)
    secrets: Set[Path] = frozenset()

    @staticmethod
    def of(struct: struct_pb2.Struct) -> "Bag":
        """From the wire."""
        return Bag(*decode(struct))

    def to_struct(self) -> struct_pb2.Struct:
        """To the wire."""
        return encode(self.values, self.secrets)

    @property
    def known(self) -> bool:
        """Whether nothing in it is UNKNOWN."""
        return is_known(self.values)

    @property
    def secret_strings(self) -> frozenset[str]:
        """Every secret string in it: what must not show in a message."""
        return secret_strings(self.values, self.secrets)

    def nested(self, key: str) -> "Bag":
        """The bag that lies under that key, such as `__inputs` in a state; empty where there is none."""
        value = self.values.get(key)
        below: frozenset[Path] = frozenset(path[1:] for path in self.secrets if len(path) > 1 and path[0] == key)
        return Bag(value, below) if isinstance(value, dict) else Bag()

    def containing(self, key: str, bag: "Bag") -> "Bag":
        """This bag with another one put under that key."""
        kept = {path for path in self.secrets if path[0] != key}
        return Bag({**self.values, key: bag.values}, kept | {(key, *path) for path in bag.secrets})

    def replaced(self, values: Mapping[str, Any]) -> "Bag":
        """Other values with the same secret paths; paths that lead nowhere do no harm."""
        return Bag(dict(values), self.secrets)
