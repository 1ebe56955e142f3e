"""What the halves of a variant were measured to do, as the worker says it and the commands read it."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

from isthmus_agent.features import Affine, WireFormat, WireTensor

MOST_EXAMPLES: Final = 512
"""Held-out examples that every cut is run on, the first of them: so a preview stays short, with an accuracy's standard error below
2.3 points. The whole's accuracy is of the same examples."""


@dataclass(frozen=True)
class Form:
    """A way to send one cut's features. sent_bytes: mean of the examples. encode_ms, decode_ms: medians.

    accuracy: of the answers that come of it; None without evaluation data. largest_difference: to the whole's answers.
    """

    wire: WireFormat
    sent_bytes: float
    accuracy: float | None
    largest_difference: float
    encode_ms: float = 0.0
    decode_ms: float = 0.0

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> "Form":
        tensors = tuple(
            WireTensor(it["name"], it["dtype"], tuple(it["shape"]), Affine(**it["affine"]) if it["affine"] else None)
            for it in raw["wire"]["tensors"]
        )
        return cls(**{**raw, "wire": WireFormat(tensors, raw["wire"]["deflate"])})


@dataclass(frozen=True)
class MeasuredCut:
    """layers: that the device runs; 0: none, the inputs are sent. layer, tensor: the last of them, and what it makes.

    head_ms, tail_ms: medians of one run on the machine that measured; head_bytes, tail_bytes: the files.
    """

    layers: int
    layer: str
    tensor: str
    forms: tuple[Form, ...]
    head_bytes: int
    tail_bytes: int
    head_ms: float = 0.0
    tail_ms: float = 0.0

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> "MeasuredCut":
        return cls(**{**raw, "forms": tuple(Form.from_json(form) for form in raw["forms"])})


@dataclass(frozen=True)
class Measured:
    """cuts: by layers, that of no layers first. whole_ms: all layers in one piece. layers: how many there are. examples: 0 without
    evaluation data. refused: why other places are no cuts → how many."""

    cuts: tuple[MeasuredCut, ...]
    whole_ms: float
    layers: int
    examples: int
    accuracy: float | None
    metric: str
    refused: Mapping[str, int]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> "Measured":
        return cls(**{**raw, "cuts": tuple(MeasuredCut.from_json(cut) for cut in raw["cuts"])})
