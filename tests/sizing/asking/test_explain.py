"""When devices ask the cloud role, explained from a component's outputs."""

from typing import Any

from tests.offload.test_plan import planned

from isthmus.sizing.asking.explain import explain_fleet

PLAN: dict[str, Any] = {
    "measured_on": "x86_64 2 cores",
    "p95_ms": 1.0,
    "bundle_bytes": 1000,
    "devices": 3,
    "releases_per_month": 1,
    "price_per_gigabyte_shipped": 0.09,
    "prices_as_of": "2027-01-02",
    "cost_per_month": 0.0,
    "currency": "USD",
    "size_bytes": 2000,
}


def test_a_threshold_is_explained_by_its_reason_and_what_it_gains() -> None:
    found = {it.number: it for it in explain_fleet({**PLAN, "offload": planned().output()})}
    assert found["temperature T"].result == "1.5"
    assert found["temperature T"].inputs == "500 held-out examples; expected calibration error 5.00% as it is, 1.00% calibrated"
    assert (found["min_confidence"].result, found["passed on"].result) == ("0.7", "15.00%")
    assert found["min_confidence"].inputs.startswith("the most accurate of 4 thresholds")
    assert found["passed on"].inputs.startswith("accuracy 98.00%, against the device alone +6.80% (+4.4")


def test_devices_that_ask_nobody_have_none() -> None:
    assert not {"temperature T", "min_confidence"} & {it.number for it in explain_fleet(PLAN)}
