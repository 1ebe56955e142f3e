"""GatewayTraffic: the ConfigMap from which the gateways of a service learn who gets which share of the requests."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from isthmus.apiserver.errors import ConflictError
from isthmus.errors import Problem
from isthmus.names import CANARY, MAKING_ANNOTATION, SERVICE_LABEL, STABLE, TRACKS, traffic_name
from isthmus.plugin.diffs import Change, compare
from isthmus.plugin.handler import Context, Created, Found, HandlerBase, Values
from isthmus.plugin.schema import Property, ResourceSpec
from isthmus.plugin.values import UNKNOWN, Properties, is_known
from isthmus.provider.clusters.gateways import Gateways
from isthmus.provider.clusters.traffic import Track, Traffic
from isthmus.provider.handlers.clusters import PLACE, cluster_changes, cluster_of, place_problems, promoted_problems, traffic_map


class GatewayTrafficHandler(HandlerBase):
    spec = ResourceSpec(
        name="GatewayTraffic",
        description="How a service's gateways share the requests out among its releases. The shares themselves are a CanaryGate's.",
        inputs={
            **PLACE,
            "model_name": Property("string", "the model's name in request paths"),
            "tracks": Property(
                "object",
                "stable and, with a canary, canary: the release that each serves",
                items=Property(
                    "object",
                    "version and digest of a release",
                    fields={
                        "version": Property("integer", "the model's version in request paths", minimum=0),
                        "digest": Property("string", "the release's digest", required=False),
                    },
                ),
            ),
            "options": Property(
                "object",
                "of the routes",
                default={},
                fields={
                    "timeout_seconds": Property("number", "for a whole request", required=False, minimum=0),
                    "try_timeout_seconds": Property("number", "for one try", required=False, minimum=0),
                    "devices_apart": Property("boolean", "whether devices' requests have limits of their own", required=False),
                },
            ),
        },
        outputs={
            "config_map": Property("string", "the ConfigMap's name"),
            "intact": Property("boolean", "whether it holds what was written there"),
        },
    )

    def check(self, inputs: Values, old_inputs: Values, context: Context) -> Sequence[Problem]:
        tracks, found = inputs["tracks"], list(place_problems(inputs))
        if tracks is UNKNOWN:
            return found
        found += [Problem(f"tracks.{name}", "is no track", "stable or canary") for name in tracks if name not in TRACKS]
        if STABLE not in tracks:
            found.append(Problem("tracks.stable", "is missing", "the release that serves"))
        digest = tracks.get(CANARY, {}).get("digest") if is_known(tracks) else None
        return found or promoted_problems(inputs, digest, "tracks.canary", context)

    def diff(self, state: Values, old_inputs: Values, inputs: Values) -> Sequence[Change]:
        changes = [*compare(self.spec, old_inputs, inputs), *cluster_changes(old_inputs, inputs)]
        if not changes and state.get("intact") is False:
            changes.append(Change(("intact",), "update", is_input=False))
        return changes

    def preview(self, inputs: Values, state: Values | None) -> Properties:
        service = inputs["service"]
        return {"config_map": UNKNOWN if service is UNKNOWN else traffic_name(service), "intact": True}

    def create(self, inputs: Values, context: Context) -> Created:
        found = traffic_map(inputs, context)
        try:
            found.create(Traffic(inputs["model_name"], _tracks(inputs), dict(inputs["options"])))
        except ConflictError:  # of an update that was killed: its state did not get to know of it
            found.ensure_marked()
            self._update(inputs, context)
        return Created(f"{inputs['namespace']}/{found.name}", {"config_map": found.name, "intact": True})

    def update(self, id: str, state: Values, inputs: Values, context: Context) -> Properties:
        self._update(inputs, context)
        return {"config_map": traffic_name(inputs["service"]), "intact": True}

    def _update(self, inputs: Values, context: Context) -> None:
        found = traffic_map(inputs, context)
        if found.read() is None:
            traffic = found.create(Traffic(inputs["model_name"], _tracks(inputs), dict(inputs["options"])))
        else:
            traffic = found.write(lambda old: _merged(old, inputs))
        Gateways(found, context).poke(traffic, set())

    def read(self, id: str, state: Values, inputs: Values, context: Context) -> Found | None:
        place = dict(inputs) if inputs else _place(id, context)
        found = traffic_map(place, context)
        traffic = found.read()
        if traffic is None:
            return None
        tracks = {name: _plain(track) for name, track in traffic.tracks.items() if not track.leaving}
        content = {"model_name": traffic.model_name, "tracks": tracks, "options": dict(traffic.options)}
        return Found({**place, **content}, {"config_map": found.name, "intact": found.is_intact(traffic)})

    def mark(self, id: str, inputs: Values, context: Context) -> None:
        traffic_map(inputs, context).annotate(MAKING_ANNOTATION, context.making)

    def marked(self, id: str, state: Values, context: Context) -> str:
        return traffic_map(state, context).annotation(MAKING_ANNOTATION)

    def delete(self, id: str, state: Values, context: Context) -> None:
        traffic_map(state, context).delete()


def _tracks(inputs: Values) -> dict[str, Track]:
    return {name: Track(track["version"], track.get("digest") or "") for name, track in inputs["tracks"].items()}


def _merged(old: Traffic, inputs: Values) -> Traffic:
    """What the program wants, with the split that the gate decided. A canary that still gets requests stays until it gets none."""
    if old.verdict == "judging":  # no gate runs while this does: its plugin was killed, and nobody watches that canary
        old = old.split(0, 0, "")
    tracks = _tracks(inputs)
    if CANARY not in tracks and CANARY in old.tracks and (old.canary_percent or old.mirror_percent):
        tracks[CANARY] = replace(old.tracks[CANARY], leaving=True)
    return replace(old, model_name=inputs["model_name"], tracks=tracks, options=dict(inputs["options"]))


def _plain(track: Track) -> Mapping[str, Any]:
    return {name: value for name, value in asdict(track).items() if name == "version" or (name == "digest" and value)}


def _place(id: str, context: Context) -> dict[str, Any]:
    """Of an import: the id says where, kubectl's own settings in which cluster, and the ConfigMap's label for which service."""
    namespace, _, name = id.partition("/")
    found = cluster_of({}, context).config_map(namespace, name) or {}
    service = (found.get("metadata", {}).get("labels") or {}).get(SERVICE_LABEL)
    return {"namespace": namespace, "service": service or name.removesuffix("-traffic")}
