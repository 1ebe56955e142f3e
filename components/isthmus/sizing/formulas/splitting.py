"""One job of many rows split over servers by formula 2, while it runs.

Each server gets one run of rows in proportion to its capacity; the rows of a server that is lost are split again over the others by the
same formula, beside what these still have (`divide_units` with `already`). Who has which rows is `isthmus_agent.core.splitting`'s to know.

Units: capacities in rows per second, times in seconds. Not safe for threads: the caller holds a lock.
"""

from collections.abc import Mapping

from isthmus.sizing.formulas.allocation import DivisionPlan, divide_units
from isthmus_agent.core import splitting


class Split(splitting.Split):
    """The state of one job. servers: names of those that work, in the order of the plans' parts."""

    def share(self, capacities_per_second: Mapping[str, float]) -> DivisionPlan:
        """Gives all free rows out by formula 2: parts and times are for the servers in their order, beside what they have.

        Raises InputError where there is no server, or a capacity makes no sense.
        """
        names = self.servers
        already = [self.rest(name) for name in names]
        plan = divide_units(self.free, [capacities_per_second[name] for name in names], already=already, path="servers")
        self.give_out(int(part) for part in plan.parts)
        return plan
