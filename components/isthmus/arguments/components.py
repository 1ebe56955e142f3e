"""What the components accept, checked, but for the platforms' own arguments: `platforms.rules.with_platforms` adds these.

Each component has two views of its arguments: a TypedDict, which is what a program writes and what other languages get
as a schema (beside the component), and a checked model (`…Settings`) of the same keys with every limit and default.
TypedDicts keep to what Pulumi's component analyzer can read: no Literal, no unions, no string annotations.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from isthmus.arguments import gateway_options
from isthmus.arguments.mode import CLOUD, EDGE, ModeSettings
from isthmus.arguments.partition import PartitionSettings
from isthmus.arguments.rolling import RollingSettings
from isthmus.arguments.serving import ServingSettings
from isthmus.arguments.source import SourceSettings
from isthmus.compile.recipes import SERVING_ONLY
from isthmus.errors import Problem, property_path
from isthmus.names import STAYS_IN_GROUP, STAYS_ON_DEVICE
from isthmus_agent.formats.contents import ANY_CLASS


class CloudSettings(SourceSettings, ServingSettings):
    """CloudModelService, checked."""

    def problems(self, path: str) -> Sequence[Problem]:
        return [
            *SourceSettings.problems(self, path),
            *ServingSettings.problems(self, path),
            *gateway_options.problems(self.gateway, f"{path}.gateway"),
            *self._canary_problems(path),
        ]

    def _canary_problems(self, path: str) -> Iterator[Problem]:
        if self.canary is None:
            for argument in ("canary_percent", "mirror_percent", "canary_gate"):
                if argument in self.model_fields_set:
                    yield Problem(f"{path}.{argument}", "there is no canary", fix="add `canary`, or remove this")
        elif self.canary.version == self.version:
            what, fix = f"{self.version} is the stable release's version too", "give the canary its own"
            yield Problem(f"{path}.canary.version", what, "another version", fix)


class EdgeSettings(SourceSettings, RollingSettings):
    """EdgeFleetRollout, checked. fallback_url may be an Output."""

    fallback_url: Any = None

    def offered(self) -> Sequence[tuple[str, str, str]]:
        """(class of devices, recipe, place below the arguments) of each variant that the planner may choose from."""
        if not self.variants:
            return [(ANY_CLASS, self.recipe, ".recipe")]
        return [(it.device_class, it.recipe, f".variants[{index}]") for index, it in enumerate(self.variants)]

    def problems(self, path: str) -> Sequence[Problem]:
        found = [*SourceSettings.problems(self, path), *RollingSettings.problems(self, path)]
        if self.recipe == SERVING_ONLY:
            what, fix = f"{SERVING_ONLY} makes nothing that devices can run", "name another recipe, or use CloudModelService"
            found.append(Problem(f"{path}.recipe", what, "a recipe with an edge variant, such as int8", fix))
        if self.min_confidence is not None and self.fallback_url is None and self.data not in (STAYS_ON_DEVICE, STAYS_IN_GROUP):
            found.append(Problem(f"{path}.min_confidence", "there is nobody to ask", "fallback_url beside it", "add fallback_url"))
        if self.max_device_error is not None and not self.seeks_confidence:
            what, fix = "nothing is chosen by it", "say `min_confidence: auto`, or remove it"
            found.append(Problem(f"{path}.max_device_error", what, "`min_confidence: auto` beside it", fix))
        if self.policy is not None and self.fallback_url is None and self.data not in (STAYS_ON_DEVICE, STAYS_IN_GROUP):
            what, fix = "it is about when the cloud role is asked, and devices ask nobody", "say `data: may_leave_device`, or remove it"
            found.append(Problem(f"{path}.policy", what, "devices that may ask (of a fleet alone: fallback_url)", fix))
        if self.deadline_ms is not None and self.fallback_url is None and not self.asks_peers():
            what, fix = "devices ask nobody, and answer as soon as they can", "remove it, or let them ask the cloud role"
            found.append(Problem(f"{path}.deadline_ms", what, "fallback_url beside it", fix))
        if self.device_access is not None and self.store is None:
            what, fix = "the stack's own store gives each device its own access", "remove it, or name a `store`"
            found.append(Problem(f"{path}.device_access", what, "`store` beside it", fix))
        for index, variant in enumerate(self.variants):
            if variant.recipe == SERVING_ONLY:
                what, fix = f"{SERVING_ONLY} makes nothing that devices can run", "name another recipe"
                where = property_path(["variants", index, "recipe"], path)
                found.append(Problem(where, what, "a recipe with an edge variant, such as int8", fix))
        return found


class HybridSettings(SourceSettings, ServingSettings, RollingSettings, ModeSettings, PartitionSettings):
    """HybridDeployment, checked. What is wrong with one half is found when that half is checked."""

    @property
    def leading_percent(self) -> int:
        """Of the requests, what a canary gets before it is judged, which leads the fleet then; 0: there is none, or it gets nothing."""
        return self.canary_percent if self.canary else 0

    def leading(self) -> dict[str, Any]:
        """What a canary says of its release, which the fleet goes over to with it; empty where it leads nobody."""
        if self.canary is None or not self.leading_percent:
            return {}
        return {key: value for key, value in self.canary.model_dump().items() if value is not None}

    def problems(self, path: str) -> Sequence[Problem]:
        found = [*self.mode_problems(path), *(self.partition_problems(self, path) if self.mode not in {CLOUD, EDGE} else ())]
        if self.leading_percent and not self.wait and self.mode not in {CLOUD, EDGE}:
            what, fix = "the canary would get all requests before the waves have passed", "leave `wait` out, or set canary_percent to 0"
            found.append(Problem(f"{path}.wait", what, "an update that waits for the gates", fix))
        return found
