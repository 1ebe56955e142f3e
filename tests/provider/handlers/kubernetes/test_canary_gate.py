"""CanaryGate against a real API server and real Envoys, under load."""

import os
import signal
import threading
from collections.abc import Callable
from typing import Any

import pytest
from google.protobuf import empty_pb2

from isthmus.apiserver.kubeconfig import Access
from isthmus.errors import PlatformError
from isthmus.plugin.handler import Context
from isthmus.provider.clusters.shifting import rollback
from isthmus.provider.handlers import cloud_side
from isthmus.rollouts.standing import Standing
from isthmus.rollouts.stopping import RolloutAbortedError

ONLY_STABLE = {"gateway-0": {"stable"}, "gateway-1": {"stable"}}
ONLY_CANARY = {"gateway-0": {"canary"}, "gateway-1": {"canary"}}


@pytest.fixture
def serving(plugin: Any, stage: Any) -> Any:
    """A service with two gateways, both releases' servers, and clients that ask all the time."""
    plugin.create("GatewayTraffic", stage.traffic_inputs())
    return stage.start()


@pytest.fixture
def failure(plugin: Any) -> Callable[..., Any]:
    """What creating a gate fails with."""

    def create(inputs: dict[str, Any]) -> Any:
        with pytest.raises(Exception) as error:  # noqa: PT011 - the type lives in a conftest
            plugin.create("CanaryGate", inputs)
        return error.value

    return create


def lines(plugin: Any) -> list[str]:
    return [text for text in plugin.engine.texts(ephemeral=True) if text.startswith("canary ")]


def test_a_good_canary_is_promoted_without_a_lost_request_and_never_judged_twice(plugin: Any, serving: Any) -> None:
    inputs = serving.gate_inputs()
    assert plugin.preview("CanaryGate", inputs)["verdict"] == "promoted"
    gate = plugin.create("CanaryGate", inputs)
    assert (gate.outputs["verdict"], gate.outputs["percent"]) == ("promoted", 100)
    assert min(gate.outputs["requests"].values()) >= 40
    assert "with 95 % confidence fewer than" in gate.outputs["reasons"][0]
    assert "0 of 4 probe inputs answered differently" in gate.outputs["reasons"][0]
    assert serving.shares() == ONLY_CANARY
    assert "canary 30 %: " in lines(plugin)[-1]
    assert "drift 0.0 %" in lines(plugin)[-1]
    assert set(serving.answers) == {200}

    again = plugin.read(gate)
    assert again.outputs == gate.outputs
    assert not plugin.diff(again, inputs).diffs
    seen = len(lines(plugin))
    changed = serving.gate_inputs(canary_percent=20)
    assert plugin.update(gate, changed).outputs["verdict"] == "promoted"
    assert len(lines(plugin)) == seen

    plugin.delete(gate)
    assert serving.shares() == ONLY_STABLE
    assert set(serving.answers) == {200}
    plugin.delete(gate)


def test_one_that_is_replaced_in_place_survives_the_old_one(plugin: Any, serving: Any) -> None:
    old, new = (plugin.create("CanaryGate", serving.gate_inputs()) for _ in range(2))
    assert new.outputs["verdict"] == "promoted"
    plugin.delete(old)
    assert serving.shares() == ONLY_CANARY
    plugin.delete(new)
    assert serving.shares() == ONLY_STABLE


def test_a_canary_that_answers_errors_is_sent_back_before_the_failure_is_reported(plugin: Any, serving: Any, failure: Any) -> None:
    serving.canary.error_every = 2
    error = failure(serving.gate_inputs())
    assert serving.shares() == ONLY_STABLE
    assert "the canary failed: " in error.message
    assert "allowed 5 %" in error.message
    assert "the stable release has all the traffic again" in error.message
    assert (error.outputs["verdict"], error.outputs["percent"]) == ("rolled_back", 0)
    assert serving.annotation()["reasons"] == error.outputs["reasons"]
    assert set(serving.answers) == {200, 500}  # the clients that others are counted by do notice


def test_a_canary_with_other_answers_is_refused_before_any_client_sees_it(serving: Any, failure: Any) -> None:
    serving.canary.answers = [[float("nan"), 0.1], [0.8, 0.2], [0.7, 0.3], [0.4, 0.6]]
    assert "answers a probe with NaN" in failure(serving.gate_inputs()).message
    assert serving.canary.requests == 1
    assert serving.shares() == ONLY_STABLE


def test_a_slow_canary_is_sent_back(serving: Any, failure: Any) -> None:
    serving.canary.delay_seconds = 0.4
    error = failure(serving.gate_inputs(gate={"max_p95_ms": 300}))
    assert "took longer than 300 ms" in error.message
    assert serving.shares() == ONLY_STABLE


def test_without_requests_there_is_no_success(plugin: Any, stage: Any, failure: Any) -> None:
    plugin.create("GatewayTraffic", stage.traffic_inputs())
    stage.start(load=False)
    error = failure(stage.gate_inputs(gate={"deadline_seconds": 1}))
    assert "inconclusive after 1 s, which counts as a failure" in error.message
    assert "the canary answered 0 of the 40 requests" in error.message
    assert stage.shares() == ONLY_STABLE


def test_a_cancel_takes_the_traffic_back(new_plugin: Any, serving: Any, in_background: Any, eventually: Any) -> None:
    with new_plugin() as plugin:
        gate = in_background(lambda: plugin.create("CanaryGate", serving.gate_inputs(gate={"min_requests": 10**6})))
        eventually(lambda: lines(plugin))
        assert serving.annotation()["verdict"] == "judging"
        plugin.stub.Cancel(empty_pb2.Empty())
        with pytest.raises(Exception, match="interrupted") as error:
            gate.result(60)
        assert error.value.outputs["verdict"] == "rolled_back"
    assert serving.shares() == ONLY_STABLE
    assert set(serving.answers) == {200}


def test_a_killed_gate_is_seen_and_the_next_one_starts_anew(
    plugin: Any, new_plugin: Any, serving: Any, in_background: Any, eventually: Any
) -> None:
    with new_plugin() as doomed:
        gate = in_background(lambda: doomed.create("CanaryGate", serving.gate_inputs(gate={"min_requests": 10**6})))
        eventually(lambda: lines(doomed))
        os.kill(doomed.process.pid, signal.SIGKILL)
        with pytest.raises(Exception):  # noqa: B017, PT011
            gate.result(20)
    before = serving.annotation()
    assert (before["verdict"], before["percents"]["canary"]) == ("judging", 30)
    assert plugin.create("CanaryGate", serving.gate_inputs()).outputs["verdict"] == "promoted"
    assert set(serving.answers) == {200}


def test_a_state_that_says_judging_makes_the_next_update_judge(plugin: Any, serving: Any) -> None:
    inputs = serving.gate_inputs()
    gate = plugin.create("CanaryGate", {**inputs, "canary_percent": 0})
    assert gate.outputs["verdict"] == "rolled_back"
    assert not plugin.diff(gate, {**inputs, "canary_percent": 0}).diffs
    gate.state.fields["verdict"].string_value = "judging"
    assert list(plugin.diff(gate, {**inputs, "canary_percent": 0}).diffs) == ["verdict"]


def test_zero_percent_takes_a_promoted_canary_back_at_once(plugin: Any, serving: Any) -> None:
    gate = plugin.create("CanaryGate", serving.gate_inputs())
    assert serving.shares() == ONLY_CANARY
    back = plugin.update(gate, serving.gate_inputs(canary_percent=0))
    assert (back.outputs["verdict"], back.outputs["percent"]) == ("rolled_back", 0)
    assert serving.shares() == ONLY_STABLE
    assert set(serving.answers) == {200}


def test_a_rollback_by_hand_ends_a_gate_that_runs_and_stays(plugin: Any, serving: Any, in_background: Any, eventually: Any) -> None:
    inputs = serving.gate_inputs(gate={"min_requests": 10**6})
    gate = in_background(lambda: plugin.create("CanaryGate", inputs))
    eventually(lambda: lines(plugin))
    rollback(Access(serving.api.kubeconfig), serving.namespace, "digits")
    assert serving.shares() == ONLY_STABLE
    with pytest.raises(Exception, match="somebody else changed the split") as error:
        gate.result(60)
    assert error.value.outputs["verdict"] == "rolled_back"
    assert serving.annotation()["reasons"] == ["rolled back by hand"]


def test_gateways_and_the_api_server_may_come_and_go_while_it_judges(
    plugin: Any, serving: Any, in_background: Any, eventually: Any
) -> None:
    gate = in_background(lambda: plugin.create("CanaryGate", serving.gate_inputs(gate={"min_requests": 400})))
    eventually(lambda: lines(plugin))
    serving.remove_gateway("gateway-1")
    serving.add_gateway("gateway-2")
    serving.api.away.set()
    eventually(lambda: any("waiting for the API server" in text for text in plugin.engine.texts(ephemeral=True)))
    serving.api.away.clear()
    found = gate.result(120).outputs
    assert found["verdict"] == "promoted"
    assert min(found["requests"].values()) >= 400
    assert serving.shares() == {"gateway-0": {"canary"}, "gateway-2": {"canary"}}


def test_an_envoy_that_restarts_begins_at_zero_and_what_it_had_counted_stays(
    plugin: Any, serving: Any, in_background: Any, eventually: Any
) -> None:
    gate = in_background(lambda: plugin.create("CanaryGate", serving.gate_inputs(gate={"min_requests": 400})))
    eventually(lambda: len(lines(plugin)) > 2)
    serving.restart_gateway("gateway-0")
    assert gate.result(120).outputs["verdict"] == "promoted"


def test_copies_reach_the_canary_and_change_nothing_for_clients(plugin: Any, serving: Any, eventually: Any) -> None:
    gate = plugin.create("CanaryGate", serving.gate_inputs(canary_percent=0, mirror_percent=50, probes=[]))
    assert (gate.outputs["verdict"], gate.outputs["percent"]) == ("mirroring", 0)
    assert serving.shares() == ONLY_STABLE
    eventually(lambda: serving.canary.requests > 20)
    assert set(serving.answers) == {200}


def test_a_canary_that_passed_may_stay_at_its_share_and_be_promoted_later(plugin: Any, serving: Any) -> None:
    gate = plugin.create("CanaryGate", serving.gate_inputs(auto_promote=False))
    assert (gate.outputs["verdict"], gate.outputs["percent"]) == ("passed", 30)
    assert serving.shares() == {"gateway-0": {"stable", "canary"}, "gateway-1": {"stable", "canary"}}
    seen = len(lines(plugin))
    assert plugin.update(gate, serving.gate_inputs()).outputs["verdict"] == "promoted"
    assert len(lines(plugin)) == seen


@pytest.mark.parametrize("first_is_made_anew", [False, True])
def test_of_two_gates_on_one_split_one_judges_and_the_other_promotes(plugin: Any, serving: Any, first_is_made_anew: bool) -> None:
    waits = serving.gate_inputs(auto_promote=False)
    first = plugin.create("CanaryGate", waits)
    seen = len(lines(plugin))
    second = plugin.create("CanaryGate", serving.gate_inputs(), name="promotion")
    assert (second.outputs["verdict"], len(lines(plugin)), serving.shares()) == ("promoted", seen, ONLY_CANARY)
    assert not plugin.diff(plugin.read(first), waits).diffs
    if first_is_made_anew:
        first = plugin.create("CanaryGate", waits)
    assert (len(lines(plugin)), serving.shares()) == (seen, ONLY_CANARY)
    plugin.delete(second)
    plugin.delete(first)
    assert serving.shares() == ONLY_STABLE
    assert set(serving.answers) == {200}


def test_an_abort_of_the_fleet_that_a_canary_leads_takes_it_back_without_a_lost_request(plugin: Any, serving: Any) -> None:
    plugin.create("CanaryGate", serving.gate_inputs(auto_promote=False))
    standing = Standing("cameras", 3, 0.0, (), (), paused=False, passed_seconds=None, devices=3, waves=())
    split = {"cloud_split": {**serving.place, "digest": serving.gate_inputs()["canary_digest"]}}
    context = Context(plugin.urn("FleetWave", "wave"))
    cloud_side.ensure_stands(split, context)
    (said,) = cloud_side.after_stop(RolloutAbortedError("bad", standing, 4), split, context)
    assert said == "the cloud role has taken its canary back too, and answers with the version before"
    assert serving.shares() == ONLY_STABLE
    assert set(serving.answers) == {200}
    with pytest.raises(PlatformError, match="the canary was rolled back"):
        cloud_side.ensure_stands(split, context)


def test_servers_that_nobody_may_reach_are_probed_through_the_gateway(plugin: Any, serving: Any, failure: Any) -> None:
    for track in ("stable", "canary"):
        del serving.api.pods[f"digits-{track}-0", 8501]
    serving.canary.answers = [[0.1, 0.9]] * 4
    assert "2 of 4 probe inputs are answered differently" in failure(serving.gate_inputs()).message


def test_a_gate_without_its_split_says_what_to_do(stage: Any, failure: Any) -> None:
    assert "pulumi refresh" in failure(stage.gate_inputs()).message


def test_what_is_wrong_is_said_at_preview(plugin: Any, stage: Any) -> None:
    wrong = {**stage.gate_inputs(gate={"answers": "colours"}), "kubeconfig": "no such file"}
    problems = plugin.problems("CanaryGate", wrong)
    assert [problem.partition(":")[0] for problem in problems] == ["kubeconfig", "gate.answers"]
    assert "0 to 99" in plugin.problems("CanaryGate", stage.gate_inputs(canary_percent=100))[0]


class Watch:
    """Looks at the split and the servers all the time: at each of the servers first, so that what it saw was so before the split."""

    def __init__(self, stage: Any, servers: Any) -> None:
        self.seen: list[tuple[int, dict[str, int]]] = []
        self._stage, self._servers, self._stop = stage, servers, threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._stop.wait(0.01):
            found = self._stage.api.call("GET", self._servers.deployments)["items"]
            ready = {it["metadata"]["name"]: it.get("status", {}).get("readyReplicas", 0) for it in found}
            self.seen.append((self._stage.annotation()["canary_percent"], ready))

    def stop(self) -> list[tuple[int, dict[str, int]]]:
        self._stop.set()
        self._thread.join(20)
        return self.seen


@pytest.fixture
def autoscaled(servers_in: Any, roomy_stage: Any, plugin: Any) -> tuple[Any, Any]:
    """A service whose stable release has four servers by its autoscaler, and its canary one."""
    servers = servers_in(roomy_stage.namespace)
    servers.make("stable", 4, least=1, most=6)
    servers.make("canary", 1, least=1, most=6)
    plugin.create("GatewayTraffic", roomy_stage.traffic_inputs())
    for track in ("stable", "canary"):
        servers.autoscaler_says(track, limited=False)
    return roomy_stage.start(), servers


def test_whoever_gets_all_requests_has_the_servers_for_them_before_and_both_ways(plugin: Any, autoscaled: Any) -> None:
    serving, servers = autoscaled
    watch = Watch(serving, servers)
    gate = plugin.create("CanaryGate", serving.gate_inputs())
    assert gate.outputs["verdict"] == "promoted"
    assert {ready["digits-stable"] for percent, ready in watch.seen if percent < 100} == {4}
    servers.scale("stable", 1)  # the autoscaler of a release that nobody asks
    plugin.delete(gate)
    seen = watch.stop()
    assert {percent for percent, _ in seen} == {0, 30, 100}
    assert min(ready["digits-canary"] for percent, ready in seen if percent == 100) == 4
    back = [ready for percent, ready in seen[[percent for percent, _ in seen].index(100) :] if percent == 0]
    assert min(ready["digits-stable"] for ready in back) == 4
    assert [(servers.least(it), servers.before(it)) for it in ("stable", "canary")] == [(1, ""), (1, "")]
    assert set(serving.answers) == {200}


def test_a_stable_release_keeps_its_servers_while_a_canary_is_judged_and_the_way_back_is_open_at_once(
    plugin: Any, autoscaled: Any, failure: Any
) -> None:
    serving, servers = autoscaled
    serving.canary.error_every = 2
    watch = Watch(serving, servers)
    assert "the canary failed: " in failure(serving.gate_inputs()).message
    assert {ready["digits-stable"] for _, ready in watch.stop()} == {4}
    assert [(servers.least(it), servers.before(it)) for it in ("stable", "canary")] == [(1, ""), (1, "")]


def test_a_canary_for_whose_servers_there_is_no_room_goes_back_instead_of_being_promoted(
    plugin: Any, autoscaled: Any, failure: Any
) -> None:
    serving, servers = autoscaled
    servers.full = True
    error = failure(serving.gate_inputs(ready_seconds=2))
    assert "digits-canary has 1 of 4 servers ready after 2 s" in error.message
    assert (error.outputs["verdict"], error.outputs["percent"]) == ("rolled_back", 0)
    assert serving.shares() == ONLY_STABLE
    assert servers.least("canary") == 1


def test_a_rollback_by_hand_waits_for_servers_unless_it_is_told_not_to(plugin: Any, autoscaled: Any, api: Any) -> None:
    serving, servers = autoscaled
    plugin.create("CanaryGate", serving.gate_inputs())
    servers.scale("stable", 1)
    watch = Watch(serving, servers)
    rollback(Access(api.kubeconfig), serving.namespace, "digits")
    assert min(ready["digits-stable"] for percent, ready in watch.stop() if percent == 0) == 4
    servers.scale("stable", 1)
    plugin.update(plugin.create("CanaryGate", serving.gate_inputs(canary_percent=0)), serving.gate_inputs(canary_percent=31))
    servers.scale("stable", 1)
    rollback(Access(api.kubeconfig), serving.namespace, "digits", at_once=True)
    assert servers.told("stable") == 1
