"""What a server reads of a release's manifest."""

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from isthmus_agent.formats import digests
from isthmus_agent.formats.numbers import FormatError
from isthmus_agent.protocol import Signature, TensorInfo
from isthmus_agent.server.confidence import Calibration


@dataclass(frozen=True)
class Manifest:
    """A release, as far as it is served. digest: the release's, which names the manifest's content. signature: what the call is named.
    calibration: None: how sure it is, nobody has measured."""

    digest: str
    model: str
    version: int
    signature: str
    tensors: Signature
    golden_tolerance: float
    calibration: Calibration | None = None

    @classmethod
    def from_bytes(cls, content: bytes) -> "Manifest":
        """Raises FormatError where it is none."""
        try:
            raw = json.loads(content)
            found = cls(
                digests.of(content),
                raw["model"],
                raw["version"],
                raw["signature"],
                Signature(_tensors(raw["inputs"]), _tensors(raw["outputs"])),
                float(raw["golden_tolerance"]),
                None if raw.get("calibration") is None else Calibration.from_value(raw["calibration"]),
            )
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise FormatError("manifest", f"it cannot be read ({type(error).__name__} {str(error)[:100]})") from None
        is_sound = isinstance(found.model, str) and isinstance(found.signature, str) and type(found.version) is int
        if not is_sound or not math.isfinite(found.golden_tolerance):
            raise FormatError("manifest", "expected names, a whole version and a finite tolerance")
        return found


def _tensors(specs: Iterable[Mapping[str, Any]]) -> dict[str, TensorInfo]:
    """By name. Raises KeyError, TypeError, ValueError."""
    return {str(spec["name"]): TensorInfo(str(spec["dtype"]), _shape(spec["shape"]), str(spec["name"])) for spec in specs}


def _shape(sizes: Iterable[Any] | None) -> tuple[int, ...] | None:
    return None if sizes is None else tuple(int(size) for size in sizes)
