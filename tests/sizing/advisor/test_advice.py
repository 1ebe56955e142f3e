import dataclasses
import json
from decimal import Decimal

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from isthmus.errors import GateError
from isthmus.sizing.advisor.advice import advise, choose
from isthmus.sizing.advisor.inputs import INPUTS, Situation, situation_of
from isthmus.sizing.advisor.presets import PRESETS
from isthmus.sizing.advisor.requirements import MODES, REQUIREMENTS, SURCHARGE, cloud_p95_ms, cost_per_month, edge_p95_ms
from isthmus.sizing.advisor.sensitivity import DIGITS, Flip, flips

ARTICLE = {
    "online-recommendation": "cloud",
    "speech-recognition": "cloud",
    "image-processing": "cloud",
    "autonomous-driving": "edge",
    "smart-security": "edge",
    "offline-voice-assistant": "edge",
}
NUMBERS = [name for name in INPUTS if name != "data_must_stay"]
PRICES = ["price_per_server_hour", "price_per_gb_sent", "price_per_gb_shipped", "device_cost_per_month"]


def preset(name: str, **changes) -> Situation:
    return situation_of({**PRESETS[name].values, **changes})


@st.composite
def situations(draw) -> Situation:
    """A preset with every number up to 8 times smaller or greater, so that all modes and all reasons come up."""
    base = preset(draw(st.sampled_from(sorted(PRESETS))), cloud_service_p95_ms=draw(st.none() | st.floats(1, 2000)))
    changes = {"data_must_stay": draw(st.booleans()) and draw(st.booleans())}
    for name in NUMBERS:
        value, about = getattr(base, name), INPUTS[name].metadata
        if value is not None and draw(st.booleans()):
            factor = 2.0 ** draw(st.floats(-3, 3))
            changed = min(max(value * factor, about["least"]), about["most"])
            changes[name] = round(changed) if about["whole"] else changed
    return dataclasses.replace(base, **changes)


# Presets


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_comes_out_as_the_mode_it_stands_for(name):
    assert advise(preset(name)).mode == PRESETS[name].expected


def test_the_articles_six_scenarios_are_presets_and_three_more_are_mixed():
    assert {name: PRESETS[name].expected for name in ARTICLE} == ARTICLE
    assert [each.expected for name, each in PRESETS.items() if name not in ARTICLE] == ["hybrid"] * 3


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_says_where_its_numbers_come_from(name):
    assert len(PRESETS[name].because) > 100


# Reasons


def test_the_reasons_cite_round_trip_measured_latency_and_model_bytes():
    reasons = "\n".join(advise(preset("autonomous-driving")).reasons)
    for part in ("round trip 60 + upload 200", "objective 50 ms", "answers in 25 ms at p95", "the model has 60 MB", "offline 5 %"):
        assert part in reasons


def test_the_class_of_the_device_stands_in_the_arithmetic():
    advice = advise(preset("smart-security", device_slowdown=4))
    assert advice.mode is None
    assert any("60 ms × 4 = 240 ms at p95, objective 200 ms" in reason for reason in advice.reasons)


@given(situations())
def test_an_infeasible_mode_says_why_and_a_feasible_one_what_it_costs(situation):
    advice = advise(situation)
    for mode, verdict in advice.verdicts.items():
        about = [reason for reason in advice.reasons if reason.startswith(f"not {mode} ")]
        if mode == advice.mode:
            assert not about
        elif verdict.feasible:
            assert [f"not {mode} (cost)" in reason for reason in about] == [True]
        else:
            assert len(about) == len(verdict.missed) > 0


@given(situations())
def test_the_cheapest_feasible_mode_wins_each_with_its_surcharge(situation):
    advice = advise(situation)
    costs = {mode: cost_per_month(situation, mode) * SURCHARGE[mode] for mode in MODES if advice.verdicts[mode].feasible}
    assert (advice.mode is None) == (not costs)
    if costs:
        assert costs[advice.mode] == min(costs.values())


@given(st.floats(0.2, 2))
def test_a_fleet_is_worth_it_where_it_is_ten_percent_cheaper_than_the_cloud(ratio):
    assume(abs(ratio * 1.1 - 1) > 1e-6)
    both_fit = preset("traffic-counting", unsure_percent=0, price_per_gb_shipped=0)
    of_one_device = cost_per_month(both_fit, "cloud") / both_fit.devices
    situation = dataclasses.replace(both_fit, device_cost_per_month=ratio * of_one_device)
    assert choose(situation) == ("edge" if ratio * 1.1 < 1 else "cloud")


@given(st.floats(0.001, 0.999), st.floats(0, 20))
def test_both_roles_are_worth_it_where_they_are_a_fifth_cheaper_than_the_cloud(unsure_share, device_cost):
    situation = preset(
        "traffic-counting",
        unsure_percent=100 * unsure_share,
        max_unsure_percent=10 * unsure_share,
        device_cost_per_month=device_cost,
    )
    cloud, hybrid = cost_per_month(situation, "cloud"), cost_per_month(situation, "hybrid")
    assume(abs(hybrid * 1.2 / cloud - 1) > 1e-6)
    assert choose(situation) == ("hybrid" if hybrid * 1.2 < cloud else "cloud")


def test_where_nothing_costs_anything_the_simplest_mode_wins():
    free = dict.fromkeys(PRICES, 0)
    assert advise(preset("traffic-counting", **free)).mode == "cloud"
    assert "a tie" in "\n".join(advise(preset("traffic-counting", **free)).reasons)


def test_where_nothing_fits_the_error_names_what_every_mode_misses():
    advice = advise(preset("in-car-assistant", data_must_stay=True))
    with pytest.raises(GateError) as caught:
        advice.require_mode("hybrids.car.mode")
    assert [problem.path for problem in caught.value.problems] == ["hybrids.car.mode"] * 3
    assert "unsure of 25 % of the requests, allowed 5 %" in str(caught.value)


def test_a_mode_that_fits_is_given_without_an_error():
    assert advise(preset("smart-security")).require_mode() == "edge"


@given(situations())
def test_the_advice_as_plain_values_is_json(situation):
    plain = json.loads(json.dumps(advise(situation).as_dict(), allow_nan=False))
    assert set(plain["modes"]) == set(MODES)
    assert plain["mode"] == choose(situation)


# Laws


@given(situations(), st.floats(1, 30), st.floats(0.001, 1))
def test_a_stricter_latency_never_turns_edge_into_cloud_where_the_network_dominates(situation, slack, tighter):
    edge_ms = edge_p95_ms(situation)
    situation = dataclasses.replace(
        situation, data_must_stay=False, unsure_percent=0.0, p95_ms=edge_ms * slack, round_trip_p95_ms=edge_ms,
        model_bytes=min(situation.model_bytes, situation.device_memory_bytes),
    )  # fmt: skip
    assert cloud_p95_ms(situation) > edge_ms
    assume(choose(situation) == "edge")
    assert choose(dataclasses.replace(situation, p95_ms=situation.p95_ms * tighter)) != "cloud"


def test_where_the_device_is_the_slower_one_a_stricter_latency_may_turn_edge_into_cloud():
    slow = preset("traffic-counting", unsure_percent=0)  # the law's condition is needed
    slow = dataclasses.replace(slow, device_p95_ms=79, device_slowdown=1, request_bytes=0, round_trip_p95_ms=1, cloud_service_ms=10)
    assert choose(slow) == "edge"
    assert choose(dataclasses.replace(slow, p95_ms=60)) == "cloud"


@given(situations())
def test_data_that_must_stay_is_never_sent_to_the_cloud(situation):
    assert choose(dataclasses.replace(situation, data_must_stay=True)) in ("edge", None)


@given(situations())
def test_a_network_that_cannot_be_reached_never_gives_cloud(situation):
    assert choose(dataclasses.replace(situation, offline_percent=100.0)) != "cloud"


@given(situations(), st.floats(0, 1))
def test_relaxing_every_promise_keeps_what_was_feasible(situation, share):
    relaxed = dataclasses.replace(
        situation,
        p95_ms=situation.p95_ms * (1 + share),
        availability_percent=situation.availability_percent * (1 - share / 2),
        max_unsure_percent=situation.max_unsure_percent + (100 - situation.max_unsure_percent) * share,
        data_must_stay=False,
    )
    for mode in MODES:
        assert all(row.met(relaxed, mode) for row in REQUIREMENTS if row.met(situation, mode))


@given(situations(), st.sampled_from([0.125, 0.5, 2.0, 64.0]))
def test_the_currency_does_not_matter(situation, rate):
    # powers of two, so that no rounding decides a tie
    exchanged = dataclasses.replace(situation, **{name: getattr(situation, name) * rate for name in PRICES})
    assert choose(exchanged) == choose(situation)


@given(situations(), st.integers(2, 100))
def test_a_fleet_of_the_same_devices_k_times_as_large_has_the_same_latency_and_load(situation, k):
    larger = dataclasses.replace(situation, devices=situation.devices * k, requests_per_second=situation.requests_per_second * k)
    for row in REQUIREMENTS:
        if row.name != "servers":
            for mode in MODES:
                assert row.value(larger, mode) == pytest.approx(row.value(situation, mode))


# What would change the answer


def is_smallest(situation: Situation, flip: Flip) -> bool:
    """Whether the change flips the mode as it says, and one unit of the last digit less does not."""
    now, value = choose(situation), flip.becomes
    if choose(dataclasses.replace(situation, **{flip.name: value})) != flip.mode or flip.mode == now:
        return False
    if isinstance(value, bool) or value == 0:
        return True
    shown = Decimal(repr(value))  # in decimal: 0.5055 + 0.0001 is not 0.5056 in binary
    unit = Decimal(10) ** (shown.adjusted() - DIGITS + 1)
    if INPUTS[flip.name].metadata["whole"]:
        unit = max(unit, Decimal(1))
    nearer = float(shown - unit if value > flip.now else shown + unit)
    beyond_now = (nearer - flip.now) * (value - flip.now) <= 0
    nearer = round(nearer) if INPUTS[flip.name].metadata["whole"] else nearer
    return beyond_now or choose(dataclasses.replace(situation, **{flip.name: nearer})) == now


@settings(max_examples=25)
@given(situations())
def test_a_stated_change_flips_the_mode_and_a_slightly_smaller_one_does_not(situation):
    for flip in flips(situation):
        assert is_smallest(situation, flip), flip


def test_a_change_that_is_too_great_or_too_small_would_be_found_out():
    situation = preset("offline-voice-assistant")
    (flip,) = (each for each in flips(situation) if each.name == "offline_percent")
    assert is_smallest(situation, flip)
    assert not is_smallest(situation, dataclasses.replace(flip, becomes=flip.becomes - 0.01))
    assert not is_smallest(situation, dataclasses.replace(flip, becomes=flip.becomes + 0.01))
    assert not is_smallest(situation, dataclasses.replace(flip, mode="hybrid"))


@settings(max_examples=25)
@given(situations(), st.sampled_from(NUMBERS), st.booleans(), st.floats(0, 1))
def test_nothing_between_the_present_value_and_the_stated_one_flips_the_mode(situation, name, up, share):
    now, about = getattr(situation, name), INPUTS[name].metadata
    assume(now is not None)
    limit = about["most"] if up else about["least"]
    stated = [flip.becomes for flip in flips(situation) if flip.name == name and (flip.becomes > now) == up]
    # the stated value is rounded outwards, by up to a unit of its fourth digit
    end = stated[0] - (stated[0] - now) * 1e-9 - (1 if up else -1) * 2e-3 * abs(stated[0]) if stated else limit
    assume(end >= now if up else end <= now)
    between = now + (end - now) * share**8  # most of them near the present value
    between = round(between) if about["whole"] else between
    assert choose(dataclasses.replace(situation, **{name: between})) == choose(situation)


def test_the_flips_are_where_the_arithmetic_says():
    found = {(flip.name, flip.becomes > flip.now): flip for flip in flips(preset("autonomous-driving"))}
    assert found["p95_ms", False].becomes == 24.99  # the device takes 25
    assert found["model_bytes", True].becomes == pytest.approx(4_001_000_000)  # it has 4 GB
    assert found["unsure_percent", True].becomes == 1.001  # 1 % allowed
    assert found["devices", False].becomes == 624  # 20,000/s × 25 ms / 80 % = 625 devices


def test_a_limit_that_may_be_reached_is_itself_the_change():
    found = {(flip.name, flip.mode): flip.becomes for flip in flips(preset("in-car-assistant"))}
    assert found["unsure_percent", "edge"] == 5
    assert found["max_unsure_percent", "edge"] == 25


def test_a_yes_or_no_that_decides_is_named():
    texts = [str(flip) for flip in flips(preset("in-car-assistant"))]
    assert "data_must_stay no → yes: no mode fits" in texts
    assert "unsure_percent 25 → 5: edge" in texts


def test_the_smallest_relative_change_comes_first():
    relative = [flip.relative for flip in flips(preset("traffic-counting")) if flip.relative is not None]
    assert relative == sorted(relative)
