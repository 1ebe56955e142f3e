"""The table as it is shown."""

import json

import pytest

from isthmus.offload.plan import Costs, OffloadPlan, plan_offload
from isthmus.release.confidences import Calibration, Confidences, Estimate, Group
from isthmus_agent.formats.scores import PROBABILITIES

GROUPS = (Group(0.3, 0.39, 0, 0, 20, 5), Group(0.45, 0.5, 30, 1, 15, 4), Group(0.9, 0.95, 200, 0, 0, 0), Group(0.96, 1.0, 225, 0, 0, 0))
MEASURED = Confidences(455, 0.25, Estimate(0.05, 0.03, 0.08), Estimate(0.01, 0.005, 0.03), GROUPS, 900, 100)


def planned(number: float | None = None) -> OffloadPlan:
    costs = Costs(cloud_ms=2.0, server_price=1e-6, per_gigabyte=0.1)
    found = plan_offload(Calibration(PROBABILITIES, 1.5, 1e-9), MEASURED, costs, number)
    assert found is not None
    return found


def test_the_table_says_what_each_threshold_passes_on_gains_and_costs() -> None:
    found = planned()
    assert found.min_confidence == 0.7
    assert found.explain().splitlines() == [
        "edge and serving variant agree on 455 of 500 held-out examples; their outputs differ by 0.25 at most",
        "temperature 1.5 (of probabilities): expected calibration error 5 % (3 to 8) as it is, 1 % (0.5 to 3) calibrated",
        "   min_confidence  passed on  accuracy   gain in points (95 %)   ms  bytes  a million",
        "                0     0.00 %    91.2 %                       –    0      0          0",
        "             0.42     5.00 %    95.2 %  +4.00 (+2.23 to +5.74)  0.1     50      0.055",
        "→             0.7    15.00 %      98 %  +6.80 (+4.47 to +9.07)  0.3    150      0.165",
        "            0.955    55.00 %      98 %  +6.80 (+4.47 to +9.07)  1.1    550      0.605",
        "ms, bytes and USD a million requests: what passing on adds on average, the network's time not counted",
        "min_confidence 0.7: the most accurate of 4 thresholds; what passes on less is not within one standard error of it",
    ]


def test_a_number_that_is_given_stands_beside_what_auto_would_take() -> None:
    found = planned(0.5)
    assert found.min_confidence == 0.5
    assert found.rows[found.chosen].threshold == 0.42
    assert found.reason.startswith("as the program says; auto would take 0.7: the most accurate")
    assert "→            0.42" in found.explain()


def test_the_output_is_of_json_s_types_and_marks_one_row() -> None:
    found = json.loads(json.dumps(planned().output()))
    (chosen,) = [row for row in found["rows"] if row["is_chosen"]]
    assert (found["min_confidence"], chosen["min_confidence"], chosen["share"], chosen["added_bytes"]) == (0.7, 0.7, 0.15, 150.0)
    assert chosen["cost_per_million"] == pytest.approx(0.15 * (1e6 * 1e-6 + 1000 * 0.1 / 1000))


def test_one_group_makes_one_row() -> None:
    alone = Confidences(9, 0.0, MEASURED.raw_error, MEASURED.calibrated_error, (Group(1.0, 1.0, 9, 0, 0, 1),), 1, 1)
    found = plan_offload(Calibration(PROBABILITIES, 1.0, 1e-9), alone, Costs(1.0))
    assert found is not None
    assert (len(found.rows), found.min_confidence) == (1, 0.0)
    assert "→               0     0.00 %      90 %" in found.explain()
