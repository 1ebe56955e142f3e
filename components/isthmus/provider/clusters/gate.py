"""A canary's way through its gate: probes, split, judgement, and then promotion or the way back.

Whatever goes wrong on the way ends with the stable release having all the traffic, before anything is reported: a verdict, an
error, a Ctrl-C, a timeout. Only a plugin that is killed leaves the split as it was; it is marked as `judging`, and the next
update starts with taking it back.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from isthmus.canary import judgement
from isthmus.canary.drift import Drift, Kind
from isthmus.canary.evidence import Counters, Snapshot
from isthmus.errors import IsthmusError
from isthmus.names import CANARY, STABLE
from isthmus.plugin.handler import Context
from isthmus.provider.clusters.capacity import READY_SECONDS
from isthmus.provider.clusters.gateways import Gateways, take_back
from isthmus.provider.clusters.probes import Door, probe
from isthmus.provider.clusters.shifting import Room
from isthmus.provider.clusters.traffic import ChangedMeanwhileError, Traffic, TrafficMap, describe

PROBE_SECONDS: Final = 60.0
"""How long servers that are ready may take to answer a probe."""
TAKE_BACK_SECONDS: Final = 60.0
"""How long the way back may take after a cancel or an error."""


@dataclass(frozen=True)
class Plan:
    """What a gate is asked to do. percents: of the requests. probes: bodies of predict requests; kind: how answers are compared.

    ready_seconds: how long servers may take to get ready that a promotion needs.
    """

    digest: str
    canary_percent: int
    mirror_percent: int
    limits: judgement.Limits
    interval_seconds: float
    deadline_seconds: float
    probes: Sequence[str] = ()
    kind: Kind = "classes"
    door: Door = field(default_factory=Door)
    promotes: bool = True
    ready_seconds: float = READY_SECONDS


@dataclass(frozen=True)
class Result:
    """traffic: as it is now. requests: that the gate has seen, per track. failures: why the canary is not where it should be."""

    traffic: Traffic
    requests: Mapping[str, int]
    failures: tuple[str, ...] = ()


class Gate:
    """One run of it."""

    def __init__(self, traffic_map: TrafficMap, plan: Plan, context: Context) -> None:
        self._map, self._plan, self._context = traffic_map, plan, context
        self._gateways = Gateways(traffic_map, context)
        self._room = Room(traffic_map, context, plan.ready_seconds)
        self._enough = 0
        self._seen: Snapshot = {}
        self._shown = ""

    def run(self) -> Result:
        """Raises ChangedMeanwhileError where somebody else has taken over the split, which is theirs from then on."""
        self._traffic = self._map.read_or_fail()
        try:
            return self._run()
        finally:
            self._room.let_go()

    def _run(self) -> Result:
        try:
            verdict = self._judge()
            if verdict.outcome == "pass" and self._plan.promotes:
                self._room.make(CANARY, self._traffic, self._enough)
        except ChangedMeanwhileError:
            raise
        except IsthmusError as error:
            return self._back((f"the canary was not judged to the end: {error}",))
        except BaseException:
            self._back(("internal error of the gate",))
            raise
        if verdict.outcome != "pass":
            return self._back(_headed(verdict, self._plan), notice=True)
        return self._promote(verdict)

    def _judge(self) -> judgement.Verdict:
        if self._traffic.canary_percent or self._traffic.mirror_percent:  # a gate that was killed, or one with other percents
            self._traffic = self._map.write(lambda old: old.split(0, 0, ""), self._traffic.generation)
        drift = self._probe()
        untouched = judgement.judge(self._plan.limits, judgement.Evidence(Counters(), Counters(), drift))
        if untouched.outcome == "fail":  # no client has seen it, and none will
            return untouched
        plan = self._plan
        # Its servers stay for as long as the canary is judged: the way back is open at once, whatever their autoscaler thinks of them.
        self._room.capacity.hold(STABLE)
        self._enough = self._room.capacity.wanted(STABLE)
        self._gateways.await_servers(CANARY)
        split = self._map.write(
            lambda old: old.split(plan.canary_percent, plan.mirror_percent, "judging", plan.digest), self._traffic.generation
        )
        self._traffic = split
        self._gateways.confirm(split, at_least_one=True)
        self._gateways.observe()
        deadline = time.monotonic() + plan.deadline_seconds
        while True:
            self._context.pause(plan.interval_seconds)
            now = self._map.read_or_fail()
            if now.generation != split.generation:
                raise ChangedMeanwhileError(f"somebody else changed the split: {describe(now)}")
            self._seen = self._gateways.observe().total
            evidence = judgement.Evidence(self._seen[STABLE], self._seen[CANARY], drift)
            verdict = judgement.judge(plan.limits, evidence, deadline_passed=time.monotonic() > deadline)
            self._show(judgement.progress(plan.limits, evidence, plan.canary_percent))
            if verdict.outcome != "undecided":
                return verdict

    def _probe(self) -> Drift:
        found: Drift | None = None

        def done() -> bool:
            nonlocal found
            found = probe(self._map, self._traffic, self._plan.probes, self._plan.door, self._plan.kind)
            return found is not None

        # Servers that answer no probe in time are as good as a canary that refuses it.
        if not self._context.wait_until(done, PROBE_SECONDS, "probing both releases", 0.5) or found is None:
            return Drift(faults=(f"the probes were not answered by a ready server of each track within {PROBE_SECONDS:g} s",))
        return found

    def _promote(self, verdict: judgement.Verdict) -> Result:
        plan, reasons = self._plan, verdict.reasons
        traffic = self._map.write(
            lambda old: (
                old.split(100, 0, "promoted", plan.digest, reasons)
                if plan.promotes
                else old.split(plan.canary_percent, plan.mirror_percent, "passed", plan.digest, reasons)
            ),
            self._traffic.generation,
        )
        self._show(f"the canary passed: {'; '.join(verdict.reasons)}")
        try:
            self._gateways.confirm(traffic, at_least_one=True)
            if plan.promotes:
                self._room.capacity.await_notice(CANARY)
        except ChangedMeanwhileError:
            raise
        except IsthmusError as error:  # both releases are good by now; the rest of the gateways follow by themselves
            return Result(traffic, self._requests(), (f"the canary passed and the split is written, but {error}",))
        return Result(traffic, self._requests())

    def _back(self, reasons: tuple[str, ...], *, notice: bool = False) -> Result:
        """notice: whether the stable release's autoscaler is given the time to see its load."""
        # Under a context of its own: this must happen also after a Ctrl-C, or when the user's time is up.
        context = Context(
            self._context.urn, timeout_seconds=TAKE_BACK_SECONDS, secrets=self._context.secrets, progress=self._context.progress
        )
        self._show("taking all traffic back to the stable release")
        traffic_map = self._map.within(self._map.cluster.within(context))
        try:
            traffic = take_back(traffic_map, context, reasons, self._plan.digest)
            if notice:
                self._room.capacity.await_notice(STABLE)
        except IsthmusError as error:
            warning = f"traffic may still go to the canary, since taking it back failed: {error}. Fix: `isthmus rollback`"
            return Result(self._traffic, self._requests(), (*reasons, warning))
        return Result(traffic, self._requests(), (*reasons, "the stable release has all the traffic again"))

    def _requests(self) -> dict[str, int]:
        return {track: counted.requests for track, counted in self._seen.items()}

    def _show(self, line: str) -> None:
        if line != self._shown:
            self._shown = line
            self._context.progress(line)


def _headed(verdict: judgement.Verdict, plan: Plan) -> tuple[str, ...]:
    reasons = "; ".join(verdict.reasons)
    if verdict.outcome == "inconclusive":
        return (f"the canary is inconclusive after {plan.deadline_seconds:g} s, which counts as a failure: {reasons}",)
    return (f"the canary failed: {reasons}",)
