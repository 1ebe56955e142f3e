"""From arguments and releases to when devices ask the cloud role."""

from dataclasses import replace
from pathlib import Path

import pytest
from tests import declaring
from tests.offload.test_plan import MEASURED

from isthmus.arguments import components
from isthmus.arguments.checking import check
from isthmus.errors import GateError
from isthmus.offloading import offload_plans
from isthmus.platforms.rules import with_platforms
from isthmus.release.manifest import EDGE, Release, TensorSpec

Settings = with_platforms(components.EdgeSettings)
ARGS = {"model": "models/digits", "fleet": "fleets/cameras.yaml", "fallback_url": "https://cloud"}


def settings(**more: object) -> components.EdgeSettings:
    return check(Settings, {**ARGS, **more}, "fleets.x")


@pytest.fixture
def measured(tmp_path: Path) -> Release:
    return declaring.release(tmp_path, confidences=MEASURED)


def test_auto_takes_what_the_release_s_table_says(measured: Release) -> None:
    found = offload_plans(settings(min_confidence="auto"), {"*": measured}, "fleets.x")
    assert {name: it.min_confidence for name, it in found.items()} == {"*": 0.7}


def test_a_number_stands_and_is_shown_in_the_same_table(measured: Release) -> None:
    (found,) = offload_plans(settings(min_confidence=0.8), {"*": measured}, "fleets.x").values()
    assert found.min_confidence == 0.8


@pytest.mark.parametrize("more", [{}, {"data": "may_leave_device"}])
def test_without_a_threshold_there_is_no_table(measured: Release, more: dict[str, str]) -> None:
    assert offload_plans(settings(**more), {"*": measured}, "fleets.x") == {}


def test_a_server_s_time_has_the_price_of_its_kind(measured: Release) -> None:
    prices = {"as_of": "2027-01-02", "servers": {"big": 3.6}, "per_gigabyte_shipped": 0, "per_million_requests": 2}
    args = settings(min_confidence="auto", prices=prices)
    costs = offload_plans(args, {"*": measured}, "fleets.x", "big")["*"].costs
    assert costs.server_price == pytest.approx(3.6 / 3600 * 0.001 + 2e-6)  # one millisecond of an hour's price, and what a request costs
    assert offload_plans(args, {"*": measured}, "fleets.x", "")["*"].costs.server_price == pytest.approx(2e-6)


def test_auto_on_a_release_that_does_not_say_is_one_error_that_tells_how_to_mend_it(tmp_path: Path, measured: Release) -> None:
    old = declaring.release(tmp_path)
    digest = old.digest[:19]
    with pytest.raises(GateError) as raised:
        offload_plans(settings(min_confidence="auto"), {"small": old, "*": old, "large": measured}, "fleets.x")
    assert str(raised.value) == (
        f"fleets.x.min_confidence: auto cannot choose for {digest}…: an earlier version made it, or it answers no scores of two classes or "
        "more, or fewer than 20 examples were held out; expected a release that says how sure its answers are, beside its serving variant. "
        "Fix: name the model's source instead of a digest, so that it is compiled anew; or give a number"
    )
    assert offload_plans(settings(min_confidence=0.8), {"*": old}, "fleets.x") == {}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"evaluation_examples": 0}, "its source has no evaluation data"),
        ({"outputs": (TensorSpec("a", "float32", (1, 2)), TensorSpec("b", "float32", (1, 2)))}, "it has 2 outputs"),
    ],
)
def test_why_it_does_not_say_is_told(tmp_path: Path, changes: dict[str, object], said: str) -> None:
    old = declaring.release(tmp_path)
    with pytest.raises(GateError, match=said):
        offload_plans(settings(min_confidence="auto"), {"*": replace(old, manifest=replace(old.manifest, **changes))}, "fleets.x")


def test_a_release_without_a_serving_variant_has_nobody_to_ask(measured: Release) -> None:
    manifest = replace(measured.manifest, variants=(measured.manifest.variant(EDGE),))
    alone = replace(measured, manifest=manifest, record=replace(measured.record, confidences=None, serving=None))
    with pytest.raises(GateError, match="no serving variant that could be asked"):
        offload_plans(settings(min_confidence="auto"), {"*": alone}, "fleets.x")


def test_a_bound_on_errors_takes_the_least_threshold_that_keeps_it(measured: Release) -> None:
    (found,) = offload_plans(settings(min_confidence="auto", max_device_error=0.05), {"*": measured}, "fleets.x").values()
    assert found.min_confidence == 0.42
    assert found.reason.startswith("the least threshold at which devices answer at most 5 % of all requests wrong by themselves: 19 of 500")


def test_a_bound_on_errors_that_no_threshold_keeps_is_one_error_that_says_what_can_be_kept(measured: Release) -> None:
    with pytest.raises(GateError) as raised:
        offload_plans(settings(min_confidence="auto", max_device_error=0.001), {"*": measured}, "fleets.x")
    assert str(raised.value) == (
        f"fleets.x.max_device_error: at no threshold devices are known to keep 0.1 % with {measured.digest[:19]}…: at the highest they "
        "answer 0 of 500 held-out examples wrong by themselves; expected 0.002 or more. Fix: raise it, or hold out more examples"
    )
