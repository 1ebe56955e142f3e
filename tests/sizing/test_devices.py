"""Devices in a service's plan: what is shown, what it costs, and what stays as it was without them."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isthmus.errors import GateError, InputError
from isthmus.sizing.admission import tail_beside
from isthmus.sizing.asking.explain import explain_service
from isthmus.sizing.asking.what_if import Scenario, ask
from isthmus.sizing.headroom import DEVICES_ASK, Headroom
from isthmus.sizing.offload import Offload
from isthmus.sizing.queueing import response_time_tail
from isthmus.sizing.service import Autoscale, ServiceInputs, plan_service

PLAIN = ServiceInputs(200, 50, 100, kinds=("cpu-2",))
ASKED = replace(PLAIN, edge_requests_per_second=500, offload=Offload(1000, 0.08))


def test_without_devices_nothing_of_them_is_in_the_plan():
    plan = plan_service(PLAIN)
    assert plan.devices is None
    assert plan.device_requests == 0
    assert "device" not in plan.explain()
    assert not {"devices", "offload"} & {*plan.output(), *plan.output()["inputs"]}


def test_the_plan_is_for_the_quantile_and_shows_what_that_costs():
    plan = plan_service(ASKED)
    found = plan.output()["devices"]
    assert (found["mean_per_second"], found["quantile_per_second"], found["storm_per_second"]) == (40, 192, 400)
    assert plan.equal is not None
    assert plan.equal.bound == DEVICES_ASK
    assert (found["replicas_without"], found["replicas_at_mean"], plan.replicas) == (3, 4, 5)
    assert plan_service(PLAIN).replicas == 3
    each = plan_service(PLAIN).cost.total / 3
    assert found["cost_per_month_more"] == pytest.approx(2 * each, abs=0.01)
    said = plan.explain()
    for part in (
        "devices: 80 of 1,000 ask at a time on average, 384 at the 99 % quantile (beta-binomial, p = 0.08, ρ = 0.1): 40/s and 192/s",
        "replicas: 3 without devices, 4 for their mean, 5 for the quantile, which costs 131.40 USD a month more than none, 65.70 more than",
        "admission: 6 of their requests at a time, whatever they send: others keep their p95; at the quantile about 4.42 % of theirs",
        "after an outage: 400/s of them at first, for which 7 replicas would be needed",
    ):
        assert part in said


def test_what_a_simulation_says_is_shown_beside_the_closed_form():
    plan = plan_service(replace(ASKED, offload=Offload(1000, 0.08, simulated_devices=240.0, simulated_seconds=604_800)))
    found = plan.output()["devices"]
    assert (found["quantile_per_second"], found["closed_form_per_second"]) == (120, 192)
    said = plan.explain()
    assert "240 at the 99 % quantile (7 days of all of them by their policy, simulated; beta-binomial, p = 0.08, ρ = 0.1: 384): " in said
    assert "simulation of the devices' policies, 99 % quantile × " in str(explain_service(plan, {"size_bytes": 1}))
    assert "closed_form_per_second" not in plan_service(ASKED).output()["devices"]


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 5000), st.floats(0, 1), st.floats(0, 1), st.floats(50, 99.99), st.floats(1, 2000))
def test_what_was_planned_keeps_everybodys_promise(devices, share, correlation, quantile, asked):
    inputs = replace(PLAIN, edge_requests_per_second=asked, offload=Offload(devices, share, correlation, quantile))
    plan, load = plan_service(inputs), inputs.offloaded()
    assert load is not None
    assert load.quantile_per_second >= load.mean_per_second
    assert response_time_tail(50, plan.replicas, 200 + load.quantile_per_second, 100) <= 0.05
    assert plan.devices is not None
    assert plan.devices.replicas_without <= plan.devices.replicas_at_mean <= plan.replicas
    if plan.devices.keeps_others:
        assert tail_beside(50, plan.replicas, 200, 100, plan.device_requests) <= 0.05
    else:
        assert plan.device_requests == 1


@pytest.mark.parametrize(
    "offload",
    [
        None,
        Offload(),
        Offload(1000, 0.08),
        Offload(7, None, 0.5, 99.9),
        Offload(10, 0.0),
        Offload(10, 1.0, 1.0),
        Offload(9, 0.5, 0.2, 90, 7.0, 60.0),
    ],
)
def test_inputs_come_back_from_the_stacks_outputs_also_with_whole_numbers_as_floats(offload):
    inputs = replace(ASKED, offload=offload)
    raw = inputs.to_json()
    assert ServiceInputs.from_json(raw) == inputs
    if offload:
        raw["offload"] = {key: float(it) if type(it) is int else it for key, it in raw["offload"].items()}
        assert ServiceInputs.from_json(raw) == inputs


def test_inputs_of_another_version_are_refused():
    raw = ASKED.to_json()
    raw["offload"]["colour"] = 1
    with pytest.raises(InputError, match="another version"):
        ServiceInputs.from_json(raw)


@pytest.mark.parametrize(
    ("offload", "asked", "missing"),
    [
        (Offload(0, 0.1), 500, "how many there are (offload.devices)"),
        (Offload(10), 500, "how many are unsure (offload.unsure_percent)"),
        (Offload(), 0, "how many there are (offload.devices) and how many are unsure (offload.unsure_percent)"),
        (Offload(10, 0.1), 0, "what they are asked (edge_requests_per_second)"),
    ],
)
def test_devices_of_whom_too_little_is_known_get_what_is_left_and_the_plan_says_so(offload, asked, missing):
    plan = plan_service(replace(PLAIN, edge_requests_per_second=asked, offload=offload))
    assert plan.replicas == plan_service(PLAIN).replicas
    assert f"not sized for, since it is not known {missing}; they get what is left" in plan.explain()
    assert plan.device_requests == 1
    assert "others' p95 may suffer by that one" in plan.explain()


def test_with_all_at_once_the_places_are_those_that_are_left_when_a_zone_is_lost():
    alone = replace(ASKED, headroom=Headroom(zones=3, lost_zones=1))
    together = replace(ASKED, headroom=Headroom(zones=3, lost_zones=1, together=True))
    plan = plan_service(together)
    assert plan.devices is not None
    assert plan.devices.keeps_others
    left = plan.replicas - together.headroom.in_lost_zones(plan.replicas)
    assert tail_beside(50, left, 200, 100, plan.device_requests) <= 0.05
    assert plan_service(alone).replicas <= plan.replicas


def test_an_autoscalers_fewest_replicas_set_the_places():
    more = plan_service(replace(ASKED, autoscale=Autoscale(10, 20)))
    usual = plan_service(replace(ASKED, autoscale=Autoscale()))
    assert more.device_requests == usual.device_requests  # more than planned are not counted on
    fewer = plan_service(replace(ASKED, autoscale=Autoscale(3, 20)))
    assert fewer.device_requests <= usual.device_requests


def test_servers_that_are_named_are_held_against_what_devices_send_and_let_in_as_many_as_their_mean_speed_allows():
    named = replace(ASKED, speeds=(1, 2, 4), kinds=("cpu-2",) * 3)
    plan = plan_service(named)
    assert plan.device_requests >= 1
    assert "replicas_without" not in plan.output()["devices"]
    with pytest.raises(GateError, match=DEVICES_ASK):
        plan_service(replace(named, edge_requests_per_second=2000))


def test_too_many_devices_for_the_replicas_that_may_be_are_refused_with_how_many_would_do():
    with pytest.raises(GateError, match=rf"{DEVICES_ASK}.*need 5 replicas"):
        plan_service(replace(ASKED, max_replicas=4))


def test_what_if_knows_of_devices():
    answer = ask(plan_service(ASKED), Scenario(demand_factor=2, asked=("demand=2x",)))
    assert answer.needed is not None
    assert answer.needed.inputs.offload == ASKED.offload
    assert answer.needed.replicas == plan_service(replace(ASKED, requests_per_second=400)).replicas


def test_each_number_is_explained_with_what_goes_in():
    found = {it.number: it for it in explain_service(plan_service(ASKED), {"size_bytes": 1})}
    assert found["devices' requests"].result == "192/s, mean 40/s"
    assert found["devices' requests"].inputs == "N 1000, p 0.08, ρ 0.1, 0.5/s each"
    assert found["devices at a time"].result == "6"
    assert "devices at a time" not in {it.number for it in explain_service(plan_service(PLAIN), {"size_bytes": 1})}
