"""What a program says of splitting a network, as a compile takes it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from isthmus.limits import PARTITION


@dataclass(frozen=True)
class Wanted:
    """layers: that devices run where the network is split; None: whatever is fastest. speed_factors: of the classes of devices, at least
    one; all else as in `compile.halves.ways.Situation`."""

    layers: int | None = None
    speed_factors: tuple[float, ...] = (PARTITION["speed_factor"].default,)
    cloud_speed_factor: float = PARTITION["cloud_speed_factor"].default
    round_trip_ms: float = PARTITION["round_trip_ms"].default
    max_loss: float = PARTITION["max_loss_percent"].default / 100
    margin: float = PARTITION["margin_percent"].default / 100

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> "Wanted":
        """The inverse of `asdict`, through JSON."""
        return cls(**{**raw, "speed_factors": tuple(raw["speed_factors"])})
