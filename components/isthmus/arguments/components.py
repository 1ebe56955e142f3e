"""What the components accept.

Each component has two views of its arguments: a TypedDict, which is what a program writes and what other languages get
as a schema, and a checked model (`…Settings`) of the same keys with every limit and default.
TypedDicts keep to what Pulumi's component analyzer can read: no Literal, no unions, no string annotations.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from pulumi import Input

from isthmus.arguments import gateway_options
from isthmus.arguments.rolling import RollingArgs, RollingSettings
from isthmus.arguments.serving import DEFAULT_SERVER_KIND, ServingArgs, ServingSettings
from isthmus.arguments.source import SourceArgs, SourceSettings
from isthmus.compile.recipes import SERVING_ONLY
from isthmus.errors import Problem
from isthmus.platforms import rules as platform_rules


class CloudModelServiceArgs(SourceArgs, ServingArgs, total=False):
    """A model served in the cloud role."""


class EdgeFleetRolloutArgs(SourceArgs, RollingArgs, total=False):
    """A model on a fleet of devices. fallback_url: whom a device asks when it is not sure."""

    fallback_url: Input[str]


class HybridDeploymentArgs(SourceArgs, ServingArgs, RollingArgs, total=False):
    """Both roles of one model. The devices' fallback is the cloud role."""


class CloudSettings(SourceSettings, ServingSettings):
    """CloudModelService, checked."""

    def problems(self, path: str) -> Sequence[Problem]:
        return [
            *(problems := SourceSettings.problems(self, path)),
            *ServingSettings.problems(self, path),
            *platform_rules.problems(self, path),
            *gateway_options.problems(self.gateway, f"{path}.gateway"),
            *([] if problems else self._kind_problems(path)),
        ]

    def kind_of_server(self) -> str:
        """Of all servers that do not say it themselves."""
        return self.server_kind or ("local" if self.platform == "local" else DEFAULT_SERVER_KIND)

    def _kind_problems(self, path: str) -> Iterator[Problem]:
        priced = self.price_table().servers
        given = {"server_kind": self.kind_of_server()}
        given |= {f"docker.hosts.{index}.server_kind": it.server_kind or "" for index, it in enumerate(self.docker.hosts)}
        given |= {f"kubernetes.pools.{index}.server_kind": it.server_kind or "" for index, it in enumerate(self.kubernetes.pools)}
        for where, kind in given.items():
            if kind and kind not in priced:
                yield Problem(f"{path}.{where}", f"{kind!r} has no price", f"one of {', '.join(priced)}", "add it to prices.servers")


class EdgeSettings(SourceSettings, RollingSettings):
    """EdgeFleetRollout, checked. fallback_url may be an Output."""

    fallback_url: Any = None

    def problems(self, path: str) -> Sequence[Problem]:
        found = list(super().problems(path))
        if self.recipe == SERVING_ONLY:
            what, fix = f"{SERVING_ONLY} makes nothing that devices can run", "name another recipe, or use CloudModelService"
            found.append(Problem(f"{path}.recipe", what, "a recipe with an edge variant, such as int8", fix))
        if self.min_confidence is not None and self.fallback_url is None:
            found.append(Problem(f"{path}.min_confidence", "there is nobody to ask", "fallback_url beside it", "add fallback_url"))
        if self.platform != "local":
            found.append(Problem(f"{path}.platform", f"a fleet's agents do not run on {self.platform}", "local", "remove it"))
        return found


class HybridSettings(SourceSettings, ServingSettings, RollingSettings):
    """HybridDeployment, checked."""

    def problems(self, path: str) -> Sequence[Problem]:
        if self.platform == "kubernetes" and self.kubernetes.service_type == "ClusterIP":
            return [
                Problem(
                    f"{path}.kubernetes.service_type",
                    "devices cannot reach a ClusterIP, and ask the cloud role when they are not sure",
                    "NodePort or LoadBalancer",
                    "set service_type",
                )
            ]
        return ()
