"""CanaryGate: a canary that gets a share of the requests, is judged by them, and then gets all of them or none."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final, Literal

from isthmus.canary.drift import KINDS
from isthmus.canary.judgement import Limits
from isthmus.errors import GateError, IsthmusError, PlatformError, Problem
from isthmus.limits import CANARY_GATE, CANARY_PERCENT, CLUSTER, MIRROR_PERCENT
from isthmus.names import CANARY, STABLE
from isthmus.plugin.diffs import Change, compare
from isthmus.plugin.handler import Context, Created, Found, HandlerBase, PartlyMadeError, Values, not_importable
from isthmus.plugin.schema import Property, ResourceSpec
from isthmus.plugin.values import UNKNOWN, Properties
from isthmus.provider.clusters.capacity import READY_SECONDS
from isthmus.provider.clusters.gate import Gate, Plan, Result
from isthmus.provider.clusters.gateways import Gateways
from isthmus.provider.clusters.probes import Door
from isthmus.provider.clusters.shifting import shift
from isthmus.provider.clusters.traffic import GATE_ANNOTATION, Traffic, TrafficMap
from isthmus.provider.handlers.clusters import PLACE, cluster_changes, place_problems, promoted_problems, refused_canary, traffic_map
from isthmus.provider.handlers.owners import OWNER_UNCOMPARED

_SETTLED: Final = frozenset({"passed", "promoted", "rolled_back", "mirroring"})


class CanaryGateHandler(HandlerBase):
    spec = ResourceSpec(
        name="CanaryGate",
        description="A canary that gets a share of the requests, is judged by them, and is then promoted or rolled back.",
        inputs={
            **PLACE,
            "owner": OWNER_UNCOMPARED,
            "canary_digest": Property("string", "the canary's release"),
            "canary_percent": Property.of(CANARY_PERCENT, given=True),
            "mirror_percent": Property.of(MIRROR_PERCENT),
            "gate": Property(
                "object",
                "what the canary has to keep",
                default={},
                fields={
                    **{name: replace(Property.of(limit), required=False, default=None) for name, limit in CANARY_GATE.items()},
                    "answers": Property("string", "classes, or values: how answers to probes are compared", required=False),
                },
            ),
            "probes": Property("array", "bodies of predict requests (JSON)", default=[], items=Property("string", "a body")),
            "api_key": Property("string", "with which the gateway lets a probe in", required=False, secret=True, compared=False),
            "gateway_tls": Property("boolean", "whether the gateway speaks TLS", default=False, compared=False),
            "auto_promote": Property("boolean", "whether a canary that passes gets all requests", default=True),
            "ready_seconds": replace(
                Property.of(CLUSTER["deadline_seconds"]),
                description="how long servers may take to get ready that a track needs before it gets all requests",
            ),
        },
        outputs={
            "verdict": Property("string", "promoted, passed, rolled_back or mirroring; judging: a gate was killed"),
            "percent": Property("integer", "of the requests that the canary gets now"),
            "reasons": Property("array", "why, with numbers", items=Property("string", "a reason")),
            "requests": Property("object", "how many requests of each track the gate saw", items=Property("integer", "requests")),
        },
    )

    def check(self, inputs: Values, old_inputs: Values, context: Context) -> Sequence[Problem]:
        gate = inputs["gate"]
        answers = gate.get("answers", KINDS[0]) if gate is not UNKNOWN else UNKNOWN
        found = list(place_problems(inputs))
        if answers not in (*KINDS, UNKNOWN):
            found.append(Problem("gate.answers", f"is {answers!r}", " or ".join(KINDS)))
        return found or promoted_problems(inputs, inputs["canary_digest"], "canary_digest", context)

    def diff(self, state: Values, old_inputs: Values, inputs: Values) -> Sequence[Change]:
        changes = [*compare(self.spec, old_inputs, inputs), *cluster_changes(old_inputs, inputs)]
        if not changes and state.get("verdict") not in _SETTLED:
            changes.append(Change(("verdict",), "update", is_input=False))
        return changes

    def preview(self, inputs: Values, state: Values | None) -> Properties:
        # An update that succeeds ends with the canary in place; one that does not, ends with an error.
        if UNKNOWN in (inputs["canary_percent"], inputs["auto_promote"], inputs["mirror_percent"]):
            return dict.fromkeys(self.spec.outputs, UNKNOWN)
        percent = inputs["canary_percent"]
        verdict: str = _without_share(inputs) if percent == 0 else "promoted" if inputs["auto_promote"] else "passed"
        percent = 100 if verdict == "promoted" else percent
        return {"verdict": verdict, "percent": percent, "reasons": UNKNOWN, "requests": UNKNOWN}

    def create(self, inputs: Values, context: Context) -> Created:
        id = f"{inputs['namespace']}/{inputs['service']}"
        return Created(id, self._apply(inputs, context, id))

    def update(self, id: str, state: Values, inputs: Values, context: Context) -> Properties:
        return self._apply(inputs, context, id)

    def _apply(self, inputs: Values, context: Context, id: str) -> Properties:
        found = traffic_map(inputs, context)
        traffic = found.read_or_fail()
        if CANARY not in traffic.tracks:
            raise PlatformError(f"the gateways of {inputs['service']} know no canary. Fix: give its GatewayTraffic a track of that name")
        if inputs["canary_percent"] == 0:
            return self._take_back(found, traffic, inputs, context)
        if problems := refused_canary(traffic, inputs["canary_digest"], "canary_digest"):
            raise GateError(problems)
        if traffic.digest == inputs["canary_digest"] and (traffic.promoted or traffic.verdict == "passed"):
            return self._stay(found, traffic, inputs, context)
        try:
            result = Gate(found, _plan(inputs), context).run()
        except IsthmusError as error:  # the split is somebody else's now
            current = found.read_or_fail()
            raise PartlyMadeError([f"the canary was not judged to the end: {error}"], _outputs(Result(current, {})), id) from None
        if result.failures:
            raise PartlyMadeError([". ".join(result.failures)], _outputs(result), id)
        return _outputs(result)

    def _take_back(self, found: TrafficMap, traffic: Traffic, inputs: Values, context: Context) -> Properties:
        verdict, mirror = _without_share(inputs), inputs["mirror_percent"]
        if (traffic.canary_percent, traffic.mirror_percent, traffic.verdict) != (0, mirror, verdict):
            reasons = ("canary_percent is 0",)

            def change(old: Traffic) -> Traffic:
                return old.split(0, mirror, verdict, inputs["canary_digest"], reasons)

            if traffic.canary_percent:
                return _outputs(Result(shift(found, context, STABLE, change, inputs["ready_seconds"]), {}))
            traffic = found.write(change)
        Gateways(found, context).confirm(traffic, at_least_one=False)
        return _outputs(Result(traffic, {}))

    def _stay(self, found: TrafficMap, traffic: Traffic, inputs: Values, context: Context) -> Properties:
        """The same canary has passed already: no new gate."""
        if inputs["auto_promote"] and not traffic.promoted:

            def change(old: Traffic) -> Traffic:
                return old.split(100, 0, "promoted", old.digest, old.reasons)

            return _outputs(Result(shift(found, context, CANARY, change, inputs["ready_seconds"]), {}))
        Gateways(found, context).confirm(traffic, at_least_one=True)
        return _outputs(Result(traffic, {}))

    def read(self, id: str, state: Values, inputs: Values, context: Context) -> Found | None:
        if not inputs:
            raise not_importable("CanaryGate", "a gate is an act, not a thing")
        traffic = traffic_map(inputs, context).read()
        if traffic is None:
            return None
        about = traffic.verdict if traffic.digest == inputs["canary_digest"] else ""
        requests = state.get("requests") or {}
        return Found(dict(inputs), {**_outputs(Result(traffic, requests)), "verdict": about})

    def mark(self, id: str, inputs: Values, context: Context) -> None:
        traffic_map(inputs, context).annotate(GATE_ANNOTATION, context.making)

    def marked(self, id: str, state: Values, context: Context) -> str:
        return traffic_map(state, context).annotation(GATE_ANNOTATION)

    def delete(self, id: str, state: Values, context: Context) -> None:
        found = traffic_map(state, context)
        traffic = found.read()
        if traffic is None:
            return
        if traffic.canary_percent:
            shift(found, context, STABLE, Traffic.all_stable, state.get("ready_seconds") or READY_SECONDS)
        else:
            Gateways(found, context).confirm(found.write(Traffic.all_stable), at_least_one=False)


def _without_share(inputs: Values) -> Literal["mirroring", "rolled_back"]:
    return "mirroring" if inputs["mirror_percent"] else "rolled_back"


def _plan(inputs: Values) -> Plan:
    gate: dict[str, Any] = {**{name: limit.default for name, limit in CANARY_GATE.items()}, **inputs["gate"]}
    interval, deadline = float(gate.pop("interval_seconds")), float(gate.pop("deadline_seconds"))
    kind = gate.pop("answers", KINDS[0])
    return Plan(
        digest=inputs["canary_digest"],
        canary_percent=inputs["canary_percent"],
        mirror_percent=inputs["mirror_percent"],
        limits=Limits(**gate),
        interval_seconds=interval,
        deadline_seconds=deadline,
        probes=inputs["probes"],
        kind=kind,
        door=Door(inputs["gateway_tls"], inputs.get("api_key") or ""),
        promotes=inputs["auto_promote"],
        ready_seconds=inputs["ready_seconds"],
    )


def _outputs(result: Result) -> Properties:
    traffic = result.traffic
    return {
        "verdict": traffic.verdict,
        "percent": traffic.canary_percent,
        "reasons": list(traffic.reasons),
        "requests": dict(result.requests),
    }
