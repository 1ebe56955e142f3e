"""What is known of a fleet's devices that may ask a service."""

from typing import Annotated, TypedDict

from pulumi import Input

from isthmus.arguments.checking import Checked, Limited
from isthmus.limits import OFFLOAD
from isthmus.sizing.offload import Offload


class OffloadArgs(TypedDict, total=False):
    """Devices that may ask the cloud role where they are unsure. Their requests are the first to be turned away when it is full.

    devices: how many; of a hybrid, left out: the fleet's. unsure_percent: of them, that are unsure at a time; left out: the service is not
    sized for them. correlation: between devices of being unsure, 0 to 1. quantile_percent: of what they send, for which the service is
    sized.
    """

    devices: Input[int]
    unsure_percent: Input[float]
    correlation: Input[float]
    quantile_percent: Input[float]


class OffloadSettings(Checked):
    devices: Annotated[int, Limited(OFFLOAD["devices"])] | None = None
    unsure_percent: Annotated[float, Limited(OFFLOAD["unsure_percent"])] | None = None
    correlation: Annotated[float, Limited(OFFLOAD["correlation"])] = OFFLOAD["correlation"].default
    quantile_percent: Annotated[float, Limited(OFFLOAD["quantile_percent"])] = OFFLOAD["quantile_percent"].default

    def pure(self) -> Offload:
        """As the planner takes it."""
        share = None if self.unsure_percent is None else self.unsure_percent / 100
        return Offload(self.devices or 0, share, self.correlation, self.quantile_percent)
