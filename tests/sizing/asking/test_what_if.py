"""What would be if: the answers are the plan's own arithmetic, and follow its laws."""

import itertools
import json
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isthmus.errors import InputError
from isthmus.sizing.asking.what_if import Scenario, ask, carried_per_second, curve, scenario_of
from isthmus.sizing.headroom import Headroom
from isthmus.sizing.service import Autoscale, ServiceInputs, plan_service

INPUTS = ServiceInputs(200, 50, 120, scv=0.3, kinds=("cpu-2",), edge_requests_per_second=100)
ZONES = replace(INPUTS, headroom=Headroom(zones=3))
NAMED = replace(INPUTS, speeds=(4, 2, 1), kinds=("cpu-8", "cpu-4", "cpu-2"), balancing="weighted")

plans = st.builds(
    ServiceInputs,
    requests_per_second=st.floats(0.1, 5000),
    p95_ms=st.floats(40, 500),
    service_rate_per_second=st.floats(100, 2000),
    scv=st.sampled_from([0.0, 0.1, 1.0, 2.0]),
    headroom=st.builds(Headroom, lost_servers=st.integers(0, 2), zones=st.just(3), lost_zones=st.integers(0, 1)),
    kinds=st.just(("cpu-2",)),
)


def answer(inputs, *asked):
    return ask(plan_service(inputs), scenario_of(asked))


@given(plans)
@settings(max_examples=30, deadline=None)
def test_what_if_nothing_or_once_the_demand_is_the_plan(inputs):
    plan = plan_service(inputs)
    for asked in ((), ("demand=1x",)):
        found = ask(plan, scenario_of(asked))
        assert found.needed is not None
        assert (found.needed.replicas, found.needed.cost) == (plan.replicas, plan.cost)
        assert (found.p95_ms, found.utilisation) == (plan.part.p95_ms, plan.part.utilisation)
        assert found.kept
        assert found.change == 0


@given(plans)
@settings(max_examples=15, deadline=None)
def test_along_the_curve_cost_and_p95_never_fall(inputs):
    points = curve(plan_service(inputs), Scenario(), points=15)
    costs = [point.cost for point in points if point.cost is not None]
    assert costs == sorted(costs)
    p95 = [point.p95_ms for point in points if point.p95_ms is not None]
    assert all(later >= earlier * (1 - 1e-3) for earlier, later in itertools.pairwise(p95))
    # Once they cannot keep up, they never can again.
    reach = [point.p95_ms is not None for point in points]
    assert reach == sorted(reach, reverse=True)


@given(plans, st.floats(1, 3))
@settings(max_examples=20, deadline=None)
def test_more_demand_never_needs_less(inputs, factor):
    plan = plan_service(inputs)
    found = ask(plan, Scenario(demand_factor=factor, asked=("x",)))
    assert found.needed is not None
    assert found.needed.replicas >= plan.replicas
    assert found.change >= 0


@given(plans)
@settings(max_examples=20, deadline=None)
def test_what_is_deployed_keeps_the_objective_up_to_what_it_is_said_to_carry(inputs):
    plan = plan_service(inputs)
    carried = carried_per_second(plan, plan.replicas)
    assert carried >= inputs.requests_per_second * (1 - 1e-9)
    assert ask(plan, Scenario(demand_factor=0.999 * carried / inputs.requests_per_second)).kept
    assert not ask(plan, Scenario(demand_factor=1.001 * carried / inputs.requests_per_second)).kept


def test_the_curve_is_the_plan_at_its_own_demand():
    for inputs in (INPUTS, ZONES, NAMED):
        plan = plan_service(inputs)
        (point,) = [it for it in curve(plan, Scenario()) if it.requests_per_second == inputs.requests_per_second]
        assert point.p95_ms == pytest.approx(plan.part.p95_ms, rel=1e-3)
        assert point.cost == pytest.approx(plan.cost.total)


def test_losing_a_zone_leaves_the_others():
    found = answer(ZONES, "lose=zone")
    assert (found.serving, found.of) == (2, 3)
    assert not found.kept
    assert found.needed.replicas == 5
    nowhere = answer(INPUTS, "lose=zone")
    assert nowhere.serving == 0
    assert "nothing is left when 1 of 1 zones are lost" in nowhere.problem


def test_offline_devices_are_demand():
    found = answer(INPUTS, "offline=30%")
    assert found.requests_per_second == 230
    assert found.needed.inputs.requests_per_second == 230


def test_what_is_asked_together_holds_together():
    found = answer(ZONES, "demand=2x", "lose=server", "offline=50%")
    assert found.requests_per_second == 450
    assert found.serving == plan_service(ZONES).replicas - 1
    assert found.needed.inputs.headroom.lost_servers == 1


def test_servers_that_are_named_answer_with_the_weights_they_have():
    found = answer(NAMED, "demand=1.5x")
    assert found.serving == found.of == 3
    assert found.cost_now == pytest.approx(730 * (0.36 + 0.18 + 0.09))
    lost = answer(NAMED, "lose=server")
    assert lost.serving == 2
    assert lost.p95_ms > answer(NAMED).p95_ms
    gone = curve(plan_service(NAMED), Scenario())[-1]
    assert gone.p95_ms is None or gone.p95_ms > NAMED.p95_ms
    assert gone.cost is None


def test_bounds_of_the_program_do_not_hold_an_answer_back():
    bound = replace(INPUTS, max_replicas=3, autoscale=Autoscale(max_replicas=6))
    found = answer(bound, "demand=10x")
    assert found.problem == ""
    assert found.needed.replicas > 10


@pytest.mark.parametrize("inputs", [INPUTS, replace(INPUTS, headroom=Headroom(lost_servers=1, zones=3, lost_zones=1, burst_factor=1.5))])
def test_a_million_servers_are_refused_and_a_curve_still_comes(inputs):
    found = answer(inputs, "demand=1000000x")
    assert found.needed is None
    assert "need more than 10000 replicas (1666667 of them busy all the time)" in found.problem
    curve(plan_service(inputs), scenario_of(["demand=1000000x"]))
    curve(plan_service(inputs), scenario_of(["demand=2x"]))


def test_inputs_come_back_from_a_state_that_knows_one_kind_of_number_and_no_null():
    for inputs in (ZONES, NAMED, replace(INPUTS, autoscale=Autoscale(2, None, 60), headroom=Headroom(max_surge="25%"))):
        raw = json.loads(json.dumps(inputs.to_json()), parse_int=float)
        assert ServiceInputs.from_json(raw) == inputs
        assert None not in raw.values()


def test_inputs_of_another_version_are_one_clear_message():
    with pytest.raises(InputError, match="digits: its plan was deployed by another version"):
        ServiceInputs.from_json({"requests_per_second": 3}, "digits")


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("speed=2x", "'speed=2x' is unknown; expected demand=2x, lose=zone"),
        ("demands=2x", "did you mean 'demand'?"),
        ("", "'' is unknown"),
        ("demand=2", "a positive number of times"),
        ("demand=nanx", "a positive number of times"),
        ("demand=infx", "a positive number of times"),
        ("demand=0x", "a positive number of times"),
        ("demand=-2x", "a positive number of times"),
        ("lose=region", "lose=zone, lose=server, or a number of servers"),
        ("lose=0", "a number of servers from 1"),
        ("lose=1000000", "a number of servers from 1"),
        ("offline=130%", "from 0 to 100 %"),
        ("offline=0.3", "from 0 to 100 %"),
        ("offline=nan%", "from 0 to 100 %"),
    ],
)
def test_what_cannot_be_asked_says_what_can(asked, said):
    with pytest.raises(InputError) as caught:
        scenario_of([asked])
    assert said in str(caught.value)


def test_two_answers_to_one_question_contradict_and_all_mistakes_are_said_at_once():
    with pytest.raises(InputError) as caught:
        scenario_of(["demand=2x", "demand=3x", "speed=1"])
    assert "'demand=3x' contradicts another demand" in str(caught.value)
    assert "'speed=1' is unknown" in str(caught.value)
    assert scenario_of(["demand=2x", "demand=2x"]).demand_factor == 2
