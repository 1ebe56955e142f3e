from dataclasses import replace

from isthmus.sizing.asking.table import COLUMNS, Row, against, as_text, change, rows_of, total

ROW = Row("digits", "cloud", "sha256:" + "ab" * 32, 0.9911, 402_118, 17.07, 5, 0.333, 328.5, "USD")
PLAN = {
    "replicas": 5,
    "p95_ms": 17.07,
    "utilisation": 0.333,
    "accuracy": 0.9911,
    "size_bytes": 402118,
    "cost_per_month": 328.5,
    "currency": "USD",
}


def test_outputs_of_services_and_fleets_become_rows_and_those_without_a_plan_none():
    fleet = {"plan": {"devices": 3, "p95_ms": 0.03, "size_bytes": 10, "cost_per_month": 0.0, "currency": "USD"}, "digest": "sha256:1"}
    rows = rows_of({"digits": {"digest": ROW.digest, "plan": PLAN}, "old": {"digest": "x", "plan": {"replicas": 2}}}, {"digits": fleet})
    assert rows == [ROW, Row("digits", "edge", "sha256:1", None, 10, 0.03, 3, None, 0.0, "USD")]


def test_the_change_is_against_what_is_deployed():
    more, less = replace(ROW, cost=328.5 + 65.7), replace(ROW, cost=262.8)
    (same,), (grown,), (fallen,) = against([ROW], [ROW]), against([more], [ROW]), against([less], [ROW])
    assert [change(row) for row in (ROW, same, grown, fallen)] == ["–", "none", "+65.70 (+20 %)", "-65.70 (-20 %)"]
    assert change(against([ROW], [])[0]) == "new"
    assert change(against([ROW], [replace(ROW, currency="EUR")])[0]) == "new"
    assert change(against([ROW], [replace(ROW, cost=0.0)])[0]) == "+328.50"
    assert against([ROW], None) == [ROW]


def test_the_total_says_the_change_and_never_adds_two_currencies():
    assert total([ROW, ROW]) == "all: 657.00 USD a month"
    assert total(against([ROW], [replace(ROW, cost=300.0)])) == "all: 328.50 USD a month (+28.50 against what is deployed)"
    assert total(against([ROW], [ROW])) == "all: 328.50 USD a month (as deployed)"
    assert total([ROW, replace(ROW, currency="EUR")]) == "costs are in EUR, USD"
    assert total([]) == ""


def test_the_text_has_every_column_and_numbers_stand_to_the_right():
    lines = as_text(against([ROW, replace(ROW, name="a-longer-name", cost=1.0)], [ROW])).splitlines()
    assert lines[0].split() == [word for column in COLUMNS for word in column.head.split()]
    assert lines[1].startswith("digits (cloud)         abababababab   99.11 %  0.402    17.1        5   33%   328.50")
    assert lines[1].endswith("none")
    assert lines[2].endswith("new")
    assert len({line.index("abababababab") for line in lines[1:3]}) == 1
