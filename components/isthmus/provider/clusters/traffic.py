"""The split of a service's traffic, as it lies in the cluster: the ConfigMap NAME-traffic.

`rds.json` is what Envoy reads; the annotation `isthmus.dev/traffic` says the same in few words, and who decided it. The file is
always made from the annotation, so that whoever changes the split (the gate, `GatewayTraffic`, `isthmus rollback`) needs to
know nothing else. Each change has a generation, larger than any before it, that an Envoy shows once it has loaded it. Every
write is bound to the version that was read.
"""

import contextlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Final, Literal

from isthmus import gateway
from isthmus.apiserver.connection import Object
from isthmus.apiserver.errors import ConflictError
from isthmus.errors import IsthmusError, PlatformError
from isthmus.names import CANARY, DOMAIN, GATEWAY, SERVICE_LABEL, STABLE, TRACKS, TRAFFIC_ANNOTATION, service_labels, traffic_name
from isthmus.owner import OWNER_KEY, ForeignOwnerError, mark
from isthmus.provider.clusters.client import Cluster
from isthmus.provider.clusters.ownership import owner_of_object

# Which making of the GatewayTraffic wrote it, and which of the CanaryGate decided it.
GATE_ANNOTATION: Final = f"{DOMAIN}/gate-making"
FILE: Final = "rds.json"
_TRIES: Final = 20

# "": nobody asked for a canary. judging: a gate runs, or died. passed: it passed, and was told not to promote. mirroring: the canary
# gets copies alone.
Verdict = Literal["", "judging", "passed", "promoted", "rolled_back", "mirroring"]


class ChangedMeanwhileError(IsthmusError):
    """Somebody else changed the split since it was read."""


@dataclass(frozen=True)
class Track:
    """One release behind the gateway. leaving: the program has dropped it; it goes once it gets no traffic."""

    version: int
    digest: str = ""
    leaving: bool = False


@dataclass(frozen=True)
class Traffic:
    """What the annotation says.

    tracks, options: as `GatewayTraffic` was given them. canary_percent, mirror_percent: of the requests. verdict: why it is so;
    digest: of the canary that the verdict is about; reasons: of the verdict.
    """

    model_name: str
    tracks: Mapping[str, Track]
    options: Mapping[str, Any] = field(default_factory=dict)
    generation: int = 0
    canary_percent: int = 0
    mirror_percent: int = 0
    verdict: Verdict = ""
    digest: str = ""
    reasons: tuple[str, ...] = ()

    @property
    def promoted(self) -> bool:
        """Whether the release `digest` was promoted and has the traffic."""
        return self.verdict == "promoted" and self.canary_percent == 100

    @property
    def percents(self) -> dict[str, int]:
        percents = {STABLE: 100 - self.canary_percent, CANARY: self.canary_percent}
        return {track: percent for track, percent in percents.items() if track in self.tracks}

    def split(
        self, canary_percent: int, mirror_percent: int, verdict: Verdict, digest: str = "", reasons: tuple[str, ...] = ()
    ) -> "Traffic":
        return replace(self, canary_percent=canary_percent, mirror_percent=mirror_percent, verdict=verdict, digest=digest, reasons=reasons)

    def all_stable(self) -> "Traffic":
        """Without any canary: what a leaving track is waiting for."""
        staying = {name: track for name, track in self.tracks.items() if not track.leaving}
        return replace(self, tracks=staying).split(0, 0, "")

    def to_json(self) -> str:
        return json.dumps({**asdict(self), "percents": self.percents}, sort_keys=True, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> "Traffic":
        """Raises ValueError, KeyError or TypeError."""
        raw = json.loads(text)
        del raw["percents"]
        tracks = {name: Track(**track) for name, track in raw["tracks"].items()}
        return cls(**{**raw, "tracks": tracks, "reasons": tuple(raw["reasons"])})


def render(traffic: Traffic) -> str:
    """The file for Envoy."""
    versions = {track: traffic.tracks[track].version for track in TRACKS if track in traffic.tracks}
    if versions[STABLE] == versions.get(CANARY):
        # A promoted release is becoming the stable one: while the canary's servers have the traffic, they answer for the version.
        versions[STABLE if traffic.canary_percent else CANARY] = 0
    split = gateway.Traffic(traffic.percents, mirror_to=CANARY if traffic.mirror_percent else "", mirror_percent=traffic.mirror_percent)
    files = gateway.route_files(traffic.model_name, versions, split, generation=str(traffic.generation), **traffic.options)
    return files[FILE]


class TrafficMap:
    """The ConfigMap of one service."""

    def __init__(self, cluster: Cluster, namespace: str, service: str, owners: Sequence[str] = ()) -> None:
        """owners: the stack, first the name to write, then others that it had; none: whoever only reads."""
        self.cluster, self.namespace, self.service, self.owners = cluster, namespace, service, tuple(owners)
        self.name = traffic_name(service)

    def within(self, cluster: Cluster) -> "TrafficMap":
        return TrafficMap(cluster, self.namespace, self.service, self.owners)

    def read(self) -> Traffic | None:
        """What the annotation says; None without the ConfigMap. Raises ForeignOwnerError where it is somebody else's."""
        found = self.cluster.config_map(self.namespace, self.name)
        return None if found is None else self._traffic(found)

    def ensure_marked(self) -> None:
        """Raises ForeignOwnerError where it carries no owner: nobody knows whose it is."""
        found = self.cluster.config_map(self.namespace, self.name)
        if found is None:
            return
        self._ensure_own(found["metadata"])
        if not owner_of_object(found["metadata"]):
            raise ForeignOwnerError(f"ConfigMap {self.namespace}/{self.name} carries no owner. Fix: rename the service, or delete it")

    def read_or_fail(self) -> Traffic:
        traffic = self.read()
        if traffic is None:
            raise PlatformError(
                f"there is no ConfigMap {self.namespace}/{self.name}, which holds the split. Fix: `pulumi refresh`, then `pulumi up`"
            )
        return traffic

    def is_intact(self, traffic: Traffic) -> bool:
        """Whether the file is the one that the annotation describes."""
        found = self.cluster.config_map(self.namespace, self.name)
        return found is not None and found.get("data") == {FILE: render(traffic)}

    def create(self, traffic: Traffic) -> Traffic:
        """Raises ConflictError where there is one already."""
        new = _next(traffic, 0)
        self.cluster.create_config_map(self.namespace, self._object(new, {}))
        return new

    def write(self, change: Callable[[Traffic], Traffic], expected_generation: int | None = None) -> Traffic:
        """Applies a change to what lies there, and again where somebody else was faster.

        Raises ChangedMeanwhileError where it is not of `expected_generation` any more, PlatformError where it is gone.
        """
        written: Traffic | None = None
        for _ in range(_TRIES):
            found = self.cluster.config_map(self.namespace, self.name)
            traffic = self.read_or_fail() if found is None else self._traffic(found)
            if written is not None and traffic == written:
                return traffic  # our own write, whose answer was lost
            if expected_generation is not None and traffic.generation != expected_generation:
                raise ChangedMeanwhileError(f"somebody else changed the split of {self.service}: {describe(traffic)}")
            written = _next(change(traffic), traffic.generation)
            try:
                self.cluster.replace_config_map(self.namespace, self._object(written, (found or {})["metadata"]))
            except ConflictError:
                continue
            return written
        raise PlatformError(f"ConfigMap {self.namespace}/{self.name} is changed by others all the time")

    def annotation(self, name: str) -> str:
        """An annotation; empty where there is none, or no ConfigMap."""
        found = self.cluster.config_map(self.namespace, self.name) or {"metadata": {}}
        return str((found["metadata"].get("annotations") or {}).get(name, ""))

    def annotate(self, name: str, value: str) -> None:
        """Sets an annotation, and leaves everything else as it is."""
        for _ in range(_TRIES):
            found = self.cluster.config_map(self.namespace, self.name)
            if found is None or (found["metadata"].get("annotations") or {}).get(name) == value:
                return
            annotations = {**(found["metadata"].get("annotations") or {}), name: value}
            with contextlib.suppress(ConflictError):
                self.cluster.replace_config_map(self.namespace, {**found, "metadata": {**found["metadata"], "annotations": annotations}})
                return
        raise PlatformError(f"ConfigMap {self.namespace}/{self.name} is changed by others all the time")

    def delete(self) -> None:
        """Raises ForeignOwnerError where it is somebody else's."""
        if (found := self.cluster.config_map(self.namespace, self.name)) is not None:
            self._ensure_own(found["metadata"])
        self.cluster.delete_config_map(self.namespace, self.name)

    def _traffic(self, found: Object) -> Traffic:
        metadata = found["metadata"]
        self._ensure_own(metadata)
        try:
            return Traffic.from_json(metadata["annotations"][TRAFFIC_ANNOTATION])
        except (KeyError, TypeError, ValueError):
            raise PlatformError(
                f"ConfigMap {self.namespace}/{self.name} has no readable annotation {TRAFFIC_ANNOTATION}. Fix: delete it, "
                "`pulumi refresh`, `pulumi up`"
            ) from None

    def _ensure_own(self, metadata: Object) -> None:
        if (metadata.get("labels") or {}).get(SERVICE_LABEL) != self.service:
            raise ForeignOwnerError(
                f"ConfigMap {self.namespace}/{self.name} exists and is not of the service {self.service}; rename the service"
            )
        owner = owner_of_object(metadata)
        if owner and self.owners and owner not in self.owners:
            raise ForeignOwnerError(f"ConfigMap {self.namespace}/{self.name} belongs to {owner}. Fix: rename the service")

    def _object(self, traffic: Traffic, metadata: Mapping[str, Any]) -> Object:
        labelled = {OWNER_KEY: mark(self.owners[0])} if self.owners else {}
        annotated = {OWNER_KEY: self.owners[0]} if self.owners else {}
        return {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {
                **metadata,
                "name": self.name,
                "namespace": self.namespace,
                "labels": {**(metadata.get("labels") or {}), **service_labels(self.service, GATEWAY), **labelled},
                "annotations": {**(metadata.get("annotations") or {}), TRAFFIC_ANNOTATION: traffic.to_json(), **annotated},
            },
            "data": {FILE: render(traffic)},
        }


def describe(traffic: Traffic) -> str:
    """Such as `canary 100 % (promoted)`."""
    return f"canary {traffic.canary_percent} %" + (f" ({traffic.verdict.replace('_', ' ')})" if traffic.verdict else "")


def _next(traffic: Traffic, generation: int) -> Traffic:
    # The clock, since a ConfigMap that was deleted and made again must not repeat the number of an older split.
    return replace(traffic, generation=max(generation + 1, int(time.time())))
