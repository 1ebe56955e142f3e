from dataclasses import replace
from pathlib import Path

import pytest

from isthmus.arguments import components
from isthmus.arguments.checking import check
from isthmus.arguments.fleet_file import FleetSettings
from isthmus.errors import GateError, InputError
from isthmus.limits import SCV
from isthmus.planning import (
    choose_variants,
    downloads_of,
    fleet_plan_of,
    foreseen_rollout,
    plan_of,
    planned_rollout,
    shown,
    variant_problems,
)
from isthmus.platforms.rules import with_platforms
from isthmus.release.manifest import EDGE, SERVING, Candidate, FileEntry, Manifest, Record, Release, Timing, Variant
from isthmus.sizing.asking.explain import explain_fleet
from isthmus.sizing.rollout import Download
from isthmus_agent.formats.roster import Device

CloudSettings = with_platforms(components.CloudSettings)
EdgeSettings = with_platforms(components.EdgeSettings)

ARGS = {"model": "models/digits", "requests_per_second": 200, "p95_ms": 60, "profile": {"service_ms": 10}}
STORE = {"endpoint": "http://store", "access_key": "a", "secret_key": "b"}
HOSTS = [{"name": f"vm{speed}", "address": "unix:///run/docker.sock", "speed": speed} for speed in (4, 2, 1)]


PRICES = {"as_of": "2027-01-02", "servers": {"local": 0.1, "big": 1.0, "small": 0.25}, "per_gigabyte_shipped": 0.5}


def planned(release=None, **changes):
    return plan_of(check(CloudSettings, {**ARGS, "store": STORE, **changes}, "services.a"), release, "services.a")


@pytest.fixture
def release(tmp_path: Path) -> Release:
    """Serving takes 10 ms on average, with the variance of four exponential phases."""
    file = FileEntry("edge/model.tflite", 1_000_000, "0" * 64)
    manifest = Manifest(
        model="digits",
        version=1,
        recipe="int8",
        signature="serving_default",
        inputs=(),
        outputs=(),
        variants=(Variant(SERVING, "float32", (replace(file, path="serving/1/a"),), 0.99, 0.0), Variant(EDGE, "int8", (file,), 0.98, 0.0)),
        golden=replace(file, path="golden.json"),
        golden_tolerance=0.1,
        source_accuracy=0.99,
        evaluation_examples=450,
        tools=(),
    )
    record = Record(
        "x86_64 2 cores",
        "2026-01-01",
        Timing(10, 9, 15, 200, scv=0.25),
        Timing(1, 1, 1.5, 200),
        candidates=(Candidate("int8", 1_000_000, shipped_bytes=400_000),),
    )
    return Release(tmp_path, manifest, record)


def timed(release: Release, timing: Timing) -> Release:
    return replace(release, record=replace(release.record, serving=timing))


def test_the_local_platform_gets_equal_replicas_and_no_autoscaler():
    plan = planned()
    assert plan.replicas == 3
    assert plan.autoscaling is None
    assert plan.weights == (1, 1, 1)


def test_hosts_of_unequal_speed_get_formula_3s_weights():
    plan = planned(platform="docker", docker={"hosts": HOSTS}, balancing="weighted", requests_per_second=500)
    assert plan.replicas == 3
    fast, middle, slow = plan.weights
    assert fast > 2 * middle > 4 * slow > 0
    assert plan.output()["weights"] == list(plan.weights)


def test_pools_count_each_of_their_replicas():
    pools = [{"name": "big", "speed": 2, "replicas": 2}, {"name": "small", "replicas": 1}]
    plan = planned(platform="kubernetes", kubernetes={"pools": pools}, balancing="weighted")
    assert len(plan.weights) == 3
    assert plan.weights[0] == plan.weights[1] > plan.weights[2]


def test_the_autoscaler_starts_at_the_planned_replicas_and_goes_to_twice_as_many():
    plan = planned(platform="kubernetes")
    assert plan.autoscaling is not None
    assert (plan.autoscaling.min_replicas, plan.autoscaling.max_replicas) == (plan.replicas, 2 * plan.replicas)
    assert "autoscaler: 3 to 6 replicas" in plan.explain()


def test_bounds_that_the_program_gives_are_the_autoscalers():
    plan = planned(platform="kubernetes", min_replicas=1, max_replicas=9)
    assert plan.autoscaling is not None
    assert (plan.autoscaling.min_replicas, plan.autoscaling.max_replicas) == (1, 9)
    assert plan.output()["autoscaling"]["max_replicas"] == 9


def test_without_autoscaling_there_is_none():
    assert planned(platform="kubernetes", kubernetes={"autoscale": False}).autoscaling is None


def test_hosts_that_cannot_keep_the_objective_fail_the_preview():
    with pytest.raises(GateError, match=r"services\.a"):
        planned(platform="docker", docker={"hosts": HOSTS[2:]})


def test_the_measured_variance_goes_into_the_formula_and_the_explanation_says_so(release):
    plan = planned(release, profile={}, p95_ms=25)
    assert plan.inputs.scv == 0.25
    assert plan.output()["formula"] == "M/G/c"
    assert "M/G/c, scv 0.25: λ = 200/s" in plan.explain()
    assert "μ and scv 0.25: measured on x86_64 2 cores" in plan.explain()
    exponential = planned(timed(release, Timing(10, 9, 15, 200)), profile={}, p95_ms=40)
    assert exponential.output()["formula"] == "M/M/c"
    assert exponential.part.p95_ms > planned(release, profile={}, p95_ms=40).part.p95_ms


def test_a_variance_of_a_few_times_or_beyond_all_sense_does_not_spoil_a_plan(release):
    assert planned(timed(release, Timing(10, 9, 15, 5, scv=0.0)), profile={}).inputs.scv == 1
    assert planned(timed(release, Timing(10, 9, 15, 200, scv=180.0)), profile={}, p95_ms=5000).inputs.scv == SCV.most


def test_a_profiles_own_variance_replaces_the_measured_one(release):
    assert planned(release, profile={"scv": 0.5}).inputs.scv == 0.5
    assert planned(release, profile={"service_ms": 10, "scv": 0.5}).inputs.measured_on == ""
    assert planned(release, profile={"service_ms": 10}).inputs.scv == 1


def test_head_room_adds_replicas_only_where_it_is_asked_for(release):
    without = planned(release, profile={})
    assert planned(release, profile={}, headroom={}).replicas == without.replicas
    plan = planned(release, profile={}, headroom={"zones": 3, "lost_zones": 1, "lost_servers": 1, "max_unavailable": "25%"})
    assert plan.replicas > without.replicas
    assert "1 of 3 zones lost" in plan.explain()


def test_devices_that_are_offline_come_to_the_cloud(release):
    plan = planned(release, profile={}, edge_requests_per_second=1000, headroom={"offline_percent": 30})
    assert plan.inputs.headroom.fallback_requests_per_second == 300
    assert plan.replicas > planned(release, profile={}, edge_requests_per_second=1000).replicas
    with pytest.raises(InputError, match=r"services\.a\.edge_requests_per_second: is not known"):
        planned(release, headroom={"offline_percent": 30})


def test_head_room_is_held_against_servers_that_are_named():
    several = [{**host, "name": f"{host['name']}-{copy}"} for host in HOSTS for copy in range(2)]
    fits = {"platform": "docker", "docker": {"hosts": several}, "balancing": "weighted", "requests_per_second": 600, "p95_ms": 60}
    assert planned(**fits, headroom={"lost_servers": 1}).replicas == 6
    with pytest.raises(GateError, match=r"services\.a\.headroom: 3 servers lost: 3 of 6 servers cannot keep up at 600 requests/s"):
        planned(**fits, headroom={"lost_servers": 3})
    with pytest.raises(GateError, match="burst of 3 times"):
        planned(**fits, headroom={"burst_factor": 3})
    with pytest.raises(GateError, match="they have no zones"):
        planned(**fits, headroom={"zones": 2, "lost_zones": 1})


def test_each_kind_of_server_costs_its_own_price():
    pools = [{"name": "big", "speed": 2, "replicas": 2, "server_kind": "big"}, {"name": "small", "server_kind": "small"}]
    plan = planned(platform="kubernetes", kubernetes={"pools": pools}, balancing="weighted", prices=PRICES)
    assert plan.cost.total == pytest.approx(730 * (2 * 1.0 + 0.25))
    assert planned(prices=PRICES).cost.total == pytest.approx(730 * 3 * 0.1)
    assert planned().output()["cost_per_month"] == 0  # this machine's own servers are free


def test_an_autoscaled_service_is_paid_for_where_its_autoscaler_comes_to_rest():
    plan = planned(platform="kubernetes", prices=PRICES, server_kind="small")
    assert plan.autoscaling.planned_replicas >= plan.replicas
    assert plan.cost.total == pytest.approx(730 * 0.25 * plan.autoscaling.planned_replicas)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"headroom": {"burst_factor": float("nan")}}, "services.a.headroom.burst_factor: found nan; expected a finite number"),
        ({"headroom": {"lost_servers": -1}}, "services.a.headroom.lost_servers: found -1"),
        ({"headroom": {"zones": 2, "lost_zones": 2}}, "nothing is left when 2 of 2 zones are lost"),
        ({"headroom": {"max_unavailable": 0, "max_surge": 0}}, "cannot move"),
        ({"headroom": {"max_surge": "many"}}, "services.a.headroom.max_surge: 'many' is neither a number of replicas nor a share"),
        ({"headroom": {"lost_server": 1}}, "did you mean 'lost_servers'?"),
        ({"profile": {"service_ms": 10, "scv": -1}}, "services.a.profile.scv: found -1"),
        ({"profile": {"service_ms": 0}}, "services.a.profile.service_ms: found 0"),
        ({"p95_ms": 31_000}, "the gateway gives a request up after 30 s"),
        ({"server_kind": "cpu-3"}, "services.a.server_kind: 'cpu-3' has no price; expected one of"),
        ({"prices": {"servers": {"local": -1}}}, "services.a.prices.servers.local: -1 is not a number from 0 on"),
        ({"prices": {"servers": {}}}, "services.a.prices.as_of: None is not a day"),
        ({"platform": "docker", "docker": {"hosts": [{**HOSTS[0], "speed": 0}]}}, "docker.hosts[0].speed: found 0"),
        ({"platform": "docker", "docker": {"hosts": [{**HOSTS[0], "server_kind": "x"}]}}, "docker.hosts[0].server_kind: 'x' has no price"),
    ],
)
def test_what_makes_no_sense_is_refused_by_name(changes, said):
    with pytest.raises(InputError) as caught:
        planned(**changes)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"requests_per_second": 1e8}, "need more than 10000 replicas (1000000 of them busy all the time)"),
        ({"requests_per_second": 1000, "max_replicas": 5}, "need 11 replicas; expected at most 5 (max_replicas)"),
        ({"p95_ms": 20}, "more than 29.96 ms"),
        ({"headroom": {"lost_servers": 100}}, "(100 servers lost) need 103 replicas"),
    ],
)
def test_what_cannot_be_kept_says_the_least_that_would_do(changes, said):
    with pytest.raises(GateError) as caught:
        planned(**changes)
    assert said in str(caught.value)


def test_shipping_costs_what_leaves_this_machine(release):
    args = {"model": "models/digits", "fleet": "f", "releases_per_month": 5, "prices": PRICES}
    own = fleet_plan_of(check(EdgeSettings, args, "fleets.a"), 1000, release, "fleets.a")
    assert own.cost.total == 0
    bought = fleet_plan_of(check(EdgeSettings, {**args, "store": STORE}, "fleets.a"), 1000, release, "fleets.a")
    assert bought.cost.total == pytest.approx(400_000 * 1000 * 5 / 1e9 * 0.5)
    output = shown(bought, release, EDGE)
    assert (output["size_bytes"], output["bundle_bytes"], output["accuracy"]) == (1_000_000, 400_000, 0.98)


def fleet(devices, device_class="*", **labels):
    return [Device(f"camera-{number}", device_class, labels) for number in range(devices)]


def rolling(**said):
    return check(EdgeSettings, {"model": "m", "fleet": "f", **said}, "fleets.a")


def test_a_rollout_has_the_devices_of_the_roster_in_its_waves(release):
    planned = planned_rollout(rolling(), fleet(3), "fleets.a")
    assert [(it.signed.name, len(it.devices)) for it in planned.waves] == [("canary", 1), ("rest", 2)]
    assert [(it.wave, it.devices) for it in planned.gates] == [("canary", 1), ("rest", 2)]


@pytest.mark.parametrize(
    ("said", "devices", "problem"),
    [
        ({}, 0, "fleets.a.fleet: the fleet has no devices"),
        ({"waves": [{"count": 5}, {"percent": 100}]}, 3, "fleets.a.waves[0].count: found 5; expected 1 to 3"),
        ({"waves": [{"group": "lab"}, {"percent": 100}]}, 3, "fleets.a.waves[0].group: no device has the label 'group'"),
        ({"waves": [{"percent": 10}]}, 9, "fleets.a.waves[0]: after the last wave 8 devices of 9 would not have the release"),
        (
            {"gate": {"max_failure_percent": 50}, "waves": [{"percent": 100}]},
            3,
            "fleets.a.gate.max_failure_percent: the gate can never abort",
        ),
        ({"waves": [{"percent": 100}], "most_per_minute": 1}, 1500, "fleets.a.waves[0].most_per_minute: 1,500 devices take 1,500 minutes"),
        ({"waves": [{"percent": 100, "gate": {"min_reports": 9}}]}, 3, "fleets.a.waves[0].gate.min_reports: the wave can never pass"),
        (
            {"waves": [{"percent": 100}], "gate": {"confidence_percent": 95}},
            20,
            "fleets.a.gate.confidence_percent: the wave can never pass",
        ),
    ],
)
def test_a_rollout_that_cannot_be_is_refused_at_its_place(said, devices, problem):
    with pytest.raises(InputError) as caught:
        planned_rollout(rolling(**said), fleet(devices), "fleets.a")
    assert str(caught.value.problems[0]).startswith(problem)


def test_a_preview_shows_bytes_time_cost_and_the_devices_that_may_be_hurt(release):
    said = {"store": STORE, "prices": PRICES, "device_megabits_per_second": 8, "gate": {"deadline_seconds": 86_400}}
    args = rolling(**said, window={"from": "01:00", "to": "05:00", "jitter_seconds": 1200})
    roster = [*fleet(900), Device("small-1", "small", {}), *(Device(f"small-{number}", "small", {}) for number in range(2, 101))]
    planned = planned_rollout(args, roster, "fleets.a")
    downloads = {"small": Download(1_000_000, 100_000)}
    plan = fleet_plan_of(args, 1000, release, "fleets.a", rollout=planned, downloads=downloads)
    canary, rest = plan.waves
    assert (canary.devices, rest.devices) == (1, 999)
    assert canary.full_bytes + rest.full_bytes == 900 * 400_000 + 100 * 1_000_000
    assert rest.delta_bytes is not None
    assert canary.full_bytes + rest.delta_bytes in (900 * 400_000 + 100 * 100_000, 899 * 400_000 + 1_000_000 + 100 * 100_000)
    assert rest.seconds == 1 + 60 + 300  # the slowest download, at a megabyte a second
    assert rest.window_seconds == 20 * 3600 + 1200
    assert rest.cost == pytest.approx(0.5 * rest.delta_bytes / 1e9)
    assert canary.most_hurt == 1
    assert 100 <= rest.most_hurt < 200  # a tenth of it begins while the first ones are on probation, and some fail before it is stopped
    assert plan.output()["waves"] == [canary.output(), rest.output()]
    said_lines = plan.explain().splitlines()
    assert [line.split()[0] for line in said_lines[-5:]] == ["wave", "canary", "rest", "canary:", "rest:"]


def test_without_a_window_that_spreads_it_all_devices_of_a_wave_may_be_hurt(release):
    args = rolling()
    plan = fleet_plan_of(args, 1000, release, "fleets.a", rollout=planned_rollout(args, fleet(1000), "fleets.a"))
    assert [wave.most_hurt for wave in plan.waves] == [1, 999]


def test_a_pace_takes_its_time_and_fewer_may_be_hurt(release):
    args = rolling(waves=[{"count": 100}, {"percent": 100, "most_per_minute": 20}], most_per_minute=10)
    plan = fleet_plan_of(args, 1000, release, "fleets.a", rollout=planned_rollout(args, fleet(1000), "fleets.a"))
    free = rolling(waves=[{"count": 100}, {"percent": 100}])
    all_at_once = fleet_plan_of(free, 1000, release, "fleets.a", rollout=planned_rollout(free, fleet(1000), "fleets.a"))
    assert [wave.seconds - other.seconds for wave, other in zip(plan.waves, all_at_once.waves, strict=True)] == [9 * 60, 44 * 60]
    assert plan.waves[1].gate.endswith("; 20 begin in a minute at most, the last after 44 min")
    assert plan.waves[1].most_hurt < 150 < all_at_once.waves[1].most_hurt


def test_a_budget_takes_its_turns_and_fewer_may_be_hurt(release):
    sites = [replace(it, labels={"site": f"{number % 4}"}) for number, it in enumerate(fleet(1000))]
    args = rolling(waves=[{"count": 100}, {"percent": 100}], budget={"label": "site", "most_unavailable_percent": 2})
    plan = fleet_plan_of(args, 1000, release, "fleets.a", rollout=planned_rollout(args, sites, "fleets.a"))
    assert plan.waves[1].gate.endswith("; 2 % with the same site at once, 20 in all: 46 turns at the least")
    assert plan.waves[1].seconds == pytest.approx(46 * (0.32 + 60) + 300)
    assert plan.waves[1].most_hurt < 100
    named = rolling(budget={"label": "site", "most_unavailable": 1}, waves=[{"percent": 100}])
    with pytest.raises(InputError, match=r"fleets\.a\.budget: a wave \(waves\[0\]\) takes 1,500 turns for 1,500 devices of one site"):
        planned_rollout(named, [replace(it, labels={"site": "a"}) for it in fleet(1500)], "fleets.a")
    wrong = rolling(budget={"label": "sit", "most_unavailable": 1}, gate={"max_failure_percent": 50}, waves=[{"percent": 100}])
    with pytest.raises(InputError) as caught:  # all that is wrong at once
        planned_rollout(wrong, sites[:3], "fleets.a")
    assert {it.path for it in caught.value.problems} == {"fleets.a.gate.max_failure_percent", "fleets.a.budget.label"}


def test_what_the_stacks_own_store_ships_is_free(release):
    args = rolling()
    plan = fleet_plan_of(args, 3, release, "fleets.a", rollout=planned_rollout(args, fleet(3), "fleets.a"))
    assert [wave.cost for wave in plan.waves] == [0, 0]


FLEET = {"name": "cams", "classes": {"small": {"memory_megabytes": 60, "speed_factor": 8}, "large": {}}}
VARIANTS = [{"class": "*", "recipe": "float16"}, {"class": "*", "recipe": "int8"}]


def of_recipe(release, recipe, accuracy, peak_memory_bytes, shipped_bytes=400_000):
    file = replace(release.manifest.variant(EDGE).files[0], sha256=recipe.ljust(64, "0"))
    manifest = replace(release.manifest, variants=(Variant(EDGE, recipe, (file,), accuracy, 0.0),))
    candidate = Candidate(recipe, 1_000_000, shipped_bytes, peak_memory_bytes=peak_memory_bytes, operators=("SOFTMAX",))
    return replace(release, manifest=manifest, record=replace(release.record, candidates=(candidate,)))


@pytest.fixture
def releases(release):
    return {"float16": of_recipe(release, "float16", 0.99, 30_000_000), "int8": of_recipe(release, "int8", 0.98, 1_000_000)}


def test_each_class_gets_the_best_release_that_its_devices_can_hold(releases):
    choices = choose_variants(rolling(variants=VARIANTS), check(FleetSettings, FLEET, "f"), releases, "fleets.a")
    assert [(it.device_class, it.offer.digest) for it in choices] == [
        ("small", releases["int8"].digest),
        ("large", releases["float16"].digest),
        ("*", releases["float16"].digest),
    ]
    assert choices[0].reasons[1] == "  float16 does not fit: 74 MB of memory, of 60 MB"
    assert downloads_of(choices)["small"] == Download(400_000)


def test_a_plan_says_what_each_class_gets_and_counts_what_each_fetches(releases):
    args = rolling(variants=VARIANTS)
    choices = choose_variants(
        args,
        check(FleetSettings, FLEET, "f"),
        {**releases, "float16": of_recipe(releases["int8"], "float16", 0.99, 30_000_000, 800_000)},
        "a",
    )
    rollout = planned_rollout(args, [*fleet(10, "large"), Device("s", "small")], "a")
    plan = fleet_plan_of(args, 11, releases["int8"], "a", rollout=rollout, choices=choices)
    assert sum(wave.full_bytes for wave in plan.waves) == 10 * 800_000 + 400_000
    assert plan.bundle_bytes == round(8_400_000 / 11)
    assert "small: int8 (45 MB of memory, of 60 MB" in plan.explain()
    (explained,) = (it for it in explain_fleet(shown(plan, releases["int8"], EDGE)) if it.number == "variant for small")
    assert "float16 does not fit: 74 MB of memory, of 60 MB" in explained.inputs


def test_a_fleet_without_classes_has_one_variant(releases):
    (choice,) = choose_variants(rolling(recipe="int8"), check(FleetSettings, {"name": "cams"}, "f"), releases, "fleets.a")
    assert (choice.device_class, choice.offer.digest) == ("*", releases["int8"].digest)


def test_devices_of_no_named_class_need_a_variant_where_there_are_such_devices(releases):
    args, settings = (
        rolling(variants=[{"class": "small", "recipe": "int8"}, {"class": "large", "recipe": "int8"}]),
        check(FleetSettings, FLEET, "f"),
    )
    assert [it.device_class for it in choose_variants(args, settings, releases, "fleets.a", used={"small"})] == ["small", "large"]
    with pytest.raises(GateError, match=r"fleets\.a\.variants: no variant is for devices of class \*"):
        choose_variants(args, settings, releases, "fleets.a", used={"small", "*"})


def test_the_objective_of_devices_is_their_probations(releases):
    args = rolling(recipe="int8", probation={"max_p95_ms": 10})
    with pytest.raises(GateError, match=r"fleets\.a\.recipe: devices of class small: int8 needs p95 12 ms \(1\.5 ms × 8\), of 10 ms"):
        choose_variants(args, check(FleetSettings, FLEET, "f"), releases, "fleets.a")


def test_a_variant_for_a_class_that_the_fleet_does_not_have_is_refused():
    args = rolling(variants=[{"class": "smal", "recipe": "int8"}, {"class": "*", "recipe": "int8"}])
    (problem,) = variant_problems(args, check(FleetSettings, FLEET, "f"), "fleets.a")
    assert str(problem).startswith("fleets.a.variants[0].class: the fleet file has no class 'smal'; expected \"*\" or small or large")


def test_a_preview_plans_for_the_signed_roster_else_for_the_stacks_own_devices_else_for_none():
    args, known = rolling(), check(FleetSettings, {**FLEET, "devices": [{"name": "a"}, {"name": "b"}]}, "f")

    def sizes(*given):
        planned, problems = foreseen_rollout(args, *given)
        assert problems == []
        return planned and [len(wave.devices) for wave in planned.waves]

    assert sizes(known, "fleets.a", fleet(9)) == [1, 8]
    assert sizes(known, "fleets.a") == [1, 1]
    assert sizes(check(FleetSettings, FLEET, "f"), "fleets.a") is None


def test_what_is_wrong_with_variants_and_with_waves_is_said_together():
    args = rolling(variants=[{"class": "tiny", "recipe": "int8"}], waves=[{"group": "lab"}, {"percent": 100}])
    planned, problems = foreseen_rollout(args, check(FleetSettings, FLEET, "f"), "fleets.a", fleet(9))
    assert planned is None
    assert [problem.path for problem in problems] == ["fleets.a.variants[0].class", "fleets.a.waves[0].group"]
