"""What a server reads of a release's manifest."""

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from isthmus_agent.formats.numbers import FormatError


@dataclass(frozen=True)
class TensorSpec:
    """dtype: numpy's name, or "string". shape: -1 where any size is accepted; None where the rank is unknown."""

    name: str
    dtype: str
    shape: tuple[int, ...] | None


@dataclass(frozen=True)
class Manifest:
    """A release, as far as it is served. digest: the release's, which names the manifest's content."""

    digest: str
    model: str
    version: int
    signature: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    golden_tolerance: float

    @classmethod
    def from_bytes(cls, content: bytes) -> "Manifest":
        """Raises FormatError where it is none."""
        try:
            raw = json.loads(content)
            found = cls(
                f"sha256:{hashlib.sha256(content).hexdigest()}",
                raw["model"],
                raw["version"],
                raw["signature"],
                tuple(_spec(it) for it in raw["inputs"]),
                tuple(_spec(it) for it in raw["outputs"]),
                float(raw["golden_tolerance"]),
            )
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise FormatError("manifest", f"it cannot be read ({type(error).__name__} {str(error)[:100]})") from None
        is_sound = isinstance(found.model, str) and isinstance(found.signature, str) and type(found.version) is int
        if not is_sound or not math.isfinite(found.golden_tolerance):
            raise FormatError("manifest", "expected names, a whole version and a finite tolerance")
        return found


def _spec(raw: Mapping[str, Any]) -> TensorSpec:
    shape = raw["shape"]
    return TensorSpec(str(raw["name"]), str(raw["dtype"]), None if shape is None else tuple(int(size) for size in shape))
