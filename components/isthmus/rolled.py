"""What a rollout will bring to each class of devices, as it is planned at preview."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from isthmus.grouping import GroupPlan
from isthmus.offload.plan import OffloadPlan
from isthmus.parting import shown_ways
from isthmus.planning import shown
from isthmus.release.manifest import EDGE, Release
from isthmus.routing import RoutePlan
from isthmus.sizing.fleet import FleetPlan


@dataclass(frozen=True)
class Planned:
    """What a rollout brings.

    releases: digest by class of devices. main: the release for devices of no named class; without one, for the last class. By class too:
    offload: when devices ask the cloud role; empty where they ask nobody, or nothing was measured. routes: migration policies. groups: what
    devices answer together. halves: the ways to split the release's network, as they are signed.
    """

    plan: FleetPlan
    releases: Mapping[str, str]
    main: Release
    offload: Mapping[str, OffloadPlan]
    routes: Mapping[str, RoutePlan]
    groups: Mapping[str, GroupPlan]
    halves: Mapping[str, str]

    @property
    def min_confidence(self) -> dict[str, float]:
        """By class."""
        return {name: it.min_confidence for name, it in self.offload.items()}

    @property
    def policies(self) -> dict[str, str]:
        """By class, as they are signed."""
        return {name: it.text for name, it in self.routes.items()}

    def output(self) -> dict[str, Any]:
        """The component's output `plan`; with when devices of the main release ask the cloud role, where that was measured, and with what
        a migration policy and a group bring, by class."""
        found = [it.output() for name, it in self.offload.items() if self.releases[name] == self.main.digest]
        routes = {name: it.output() for name, it in self.routes.items()}
        groups = {name: it.output() for name, it in self.groups.items()}
        ways = self.main.record.halves
        halves = shown_ways(ways) if ways is not None and self.halves else None
        said = {"offload": found[0] if found else None, "policy": routes, "group": groups, "halves": halves}
        more = {name: it for name, it in said.items() if it}
        return {**shown(self.plan, self.main, EDGE), **more}
