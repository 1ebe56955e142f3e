"""What a program may say of a budget: how many devices of one value of a label may be in the middle of an update at once."""

from typing import Annotated, TypedDict

from pulumi import Input

from isthmus.arguments.checking import Checked, Limited
from isthmus.arguments.formats import SignedName
from isthmus.errors import Problem
from isthmus.limits import FLEET_BUDGET
from isthmus_agent.formats.numbers import MILLION
from isthmus_agent.formats.turns import Budget

_PERCENT = 100


class BudgetArgs(TypedDict, total=False):
    """Of the devices with one value of a label (of one site, say) no more are in the middle of an update, or silent, at once.

    label: its name; devices without it count as one value. Either most_unavailable: devices; or most_unavailable_percent: of those that the
    value has, rounded down, and one at the least.
    """

    label: Input[str]
    most_unavailable: Input[int]
    most_unavailable_percent: Input[float]


class BudgetSettings(Checked):
    """Bounds are `isthmus.limits.FLEET_BUDGET`."""

    label: SignedName
    most_unavailable: Annotated[int, Limited(FLEET_BUDGET["most_unavailable"])] | None = None
    most_unavailable_percent: Annotated[float, Limited(FLEET_BUDGET["most_unavailable_percent"])] | None = None

    def problems(self, path: str) -> list[Problem]:
        figures = "`most_unavailable` or `most_unavailable_percent`"
        if self.most_unavailable is None and self.most_unavailable_percent is None:
            return [Problem(path, "says no number", figures, "add one of them")]
        if self.most_unavailable is not None and self.most_unavailable_percent is not None:
            return [Problem(path, "has both `most_unavailable` and `most_unavailable_percent`", "one of them", "remove one")]
        return []

    def signed(self) -> Budget:
        """As it is signed: in whole numbers."""
        percent = self.most_unavailable_percent
        return Budget(self.label, self.most_unavailable, None if percent is None else round(percent * MILLION / _PERCENT))
