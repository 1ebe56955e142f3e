import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isthmus.errors import GateError, InputError
from isthmus.sizing.cost import (
    DEFAULT_PRICES,
    PriceTable,
    Usage,
    monthly_cost,
    price_data,
    price_table,
    shipped_gigabytes,
)

DAY = datetime.date(2026, 11, 23)
PRICES = PriceTable(DAY, {"cpu": 0.1, "gpu": 1.0}, per_gigabyte_shipped=0.05, per_million_requests=0.4)
amounts = st.floats(0, 1e6)
usages = st.builds(Usage, st.dictionaries(st.sampled_from(["cpu", "gpu"]), st.floats(0, 1000)), amounts, amounts)


def test_a_month_has_its_lines_and_their_sum():
    cost = monthly_cost(Usage({"cpu": 3}, requests_per_second=100, gigabytes_shipped_per_month=20), PRICES)
    assert [(line.name, round(line.cost, 2)) for line in cost.lines] == [("servers cpu", 219.0), ("shipped", 1.0), ("requests", 105.12)]
    assert cost.total == pytest.approx(325.12)
    assert cost.explain().splitlines() == [
        "325.12 USD a month (prices of 2026-11-23)",
        "  servers cpu: 2,190 hours × 0.1 = 219.00",
        "  shipped: 20 GB × 0.05 = 1.00",
        "  requests: 262.8 million × 0.4 = 105.12",
    ]


@given(usages)
def test_the_total_is_the_sum_of_quantity_times_price(usage):
    cost = monthly_cost(usage, PRICES)
    assert cost.total == pytest.approx(sum(line.quantity * line.price for line in cost.lines))
    assert cost.total >= 0


def test_everything_that_is_wrong_with_a_usage_is_said_at_once():
    with pytest.raises(GateError) as caught:
        monthly_cost(Usage({"cpu": -1, "tpu": 1}, float("nan"), float("inf")), PRICES, path="services.digits")
    assert [problem.path for problem in caught.value.problems] == [
        "services.digits.requests_per_second", "services.digits.gigabytes_shipped_per_month", "services.digits.servers.cpu",
        "services.digits.servers.tpu",
    ]  # fmt: skip
    assert "one of: cpu, gpu" in str(caught.value)


def test_a_fleet_fetches_each_release_whole():
    assert shipped_gigabytes(3_000_000, 1000, 2) == 6.0
    with pytest.raises(GateError, match="devices"):
        shipped_gigabytes(3_000_000, -1, 2)


def test_a_stack_overrides_what_it_names_and_keeps_the_rest():
    table = price_table({"as_of": "2027-01-02", "servers": {"cpu-2": 0.07, "own": 0}, "per_million_requests": 1})
    assert table.as_of == datetime.date(2027, 1, 2)
    assert table.servers["cpu-2"] == 0.07
    assert table.servers["own"] == 0
    assert table.servers["cpu-4"] == DEFAULT_PRICES.servers["cpu-4"]
    assert (table.per_million_requests, table.per_gigabyte_shipped) == (1.0, DEFAULT_PRICES.per_gigabyte_shipped)


def test_another_currency_inherits_no_prices():
    with pytest.raises(InputError, match=r"per_gigabyte_shipped: missing; the default is in USD"):
        price_table({"as_of": "2027-01-02", "currency": "EUR", "servers": {"cpu": 0.1}})
    table = price_table({"as_of": DAY, "currency": "EUR", "servers": {"cpu": 0.1}, "per_gigabyte_shipped": 0.08})
    assert dict(table.servers) == {"cpu": 0.1}


def test_everything_that_is_wrong_with_a_table_is_said_at_once():
    bad = {"as_of": "soon", "servers": {"a": "cheap", "b": float("nan"), "c": -1, "d": True}, "per_gigabyte_shipped": None, "vat": 1}
    with pytest.raises(InputError) as caught:
        price_table({**bad, "currency": 5})
    assert {problem.path for problem in caught.value.problems} == {
        "prices.vat", "prices.as_of", "prices.servers.a", "prices.servers.b", "prices.servers.c", "prices.servers.d",
        "prices.per_gigabyte_shipped", "prices.currency",
    }  # fmt: skip


@pytest.mark.parametrize("data", [{}, {"as_of": 20270102}, {"as_of": "2027-13-01"}])
def test_prices_without_a_day_are_refused(data):
    with pytest.raises(InputError, match="YYYY-MM-DD"):
        price_table(data)


def test_servers_must_be_a_table():
    with pytest.raises(InputError, match="is not a table"):
        price_table({"as_of": DAY, "servers": [1, 2]})


def test_the_default_prices_cannot_be_changed_in_place():
    with pytest.raises(TypeError):
        DEFAULT_PRICES.servers["cpu-2"] = 0


def test_a_day_that_yaml_takes_for_one_is_a_day_after_pulumis_configuration_too():
    for written in ("2027-01-02", "2027-01-02 00:00:00 +0000 UTC", datetime.date(2027, 1, 2), datetime.datetime(2027, 1, 2)):
        assert price_table({"as_of": written}).as_of == datetime.date(2027, 1, 2)


def test_a_table_comes_back_from_its_data():
    table = price_table({"as_of": "2027-01-02", "servers": {"cpu-2": 0.07, "own": 1.5}, "per_million_requests": 0.2})
    assert price_table(price_data(table)) == table
