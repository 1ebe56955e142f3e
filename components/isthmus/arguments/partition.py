"""Whether, and where, a HybridDeployment's network is split between device and cloud role."""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, TypedDict

from pulumi import Input
from pydantic import BeforeValidator

from isthmus.arguments.checking import Checked
from isthmus.arguments.fleet_file import FleetSettings
from isthmus.arguments.rolling import RollingSettings
from isthmus.errors import Problem
from isthmus.limits import PARTITION, PARTITION_LAYERS
from isthmus.partition.wanted import Wanted

AUTO = "auto"
_EXPECTED = f"{AUTO}, false, or how many layers devices run: {PARTITION_LAYERS.range}"


class PartitionArgs(TypedDict, total=False):
    """partition: `auto`: the network is split where that is fastest for the bandwidth that a device measures; a number: where devices run
    so many of its layers, as `isthmus partition` counts them; false, or left out: it is not."""

    partition: Input[Any]


def _split(value: object) -> object:
    if value is None or value is False:
        return None
    if value == AUTO and isinstance(value, str):
        return value
    # A Pulumi program's whole numbers come as floats.
    if isinstance(value, int | float) and not isinstance(value, bool) and PARTITION_LAYERS.allows(value) and int(value) == value:
        return int(value)
    shown = repr(value) if isinstance(value, str | bool | int | float) else type(value).__name__
    raise ValueError(f"found {shown}; expected {_EXPECTED}")


class PartitionSettings(Checked):
    partition: Annotated[int | str | None, BeforeValidator(_split)] = None

    def wanted(self, fleet: FleetSettings) -> Wanted | None:
        """As a compile takes it, for the fleet's classes of devices; None: the network stays whole."""
        if self.partition is None:
            return None
        known: Mapping[str, Any] = fleet.classes
        factors = {it.speed_factor or PARTITION["speed_factor"].default for it in known.values()}
        return Wanted(
            None if self.partition == AUTO else int(self.partition), tuple(sorted(factors or {PARTITION["speed_factor"].default}))
        )

    def partition_problems(self, rolling: RollingSettings, path: str) -> Iterator[Problem]:
        """What does not go with it. rolling: of the same component."""
        if self.partition is None:
            return
        where = f"{path}.partition"
        if not rolling.asks_cloud():
            what = "what a network's first layers make of what devices are asked would leave them, and nothing says that it may"
            yield Problem(where, what, "`data: may_leave_device`", "say so, or remove partition")
        if rolling.policy is not None:
            what, fix = "where requests are answered is chosen by what each way takes, and `policy` chooses it too", "remove one of the two"
            yield Problem(where, what, "no `policy` beside it", fix)
        if rolling.variants:
            what, fix = "servers have the halves of one recipe, and `variants` has devices of several", "remove one of the two"
            yield Problem(where, what, "one `recipe` for all devices", fix)
