import pytest

from isthmus.arguments import components
from isthmus.arguments.checking import check, problems_of
from isthmus.platforms.kubernetes.desired import service_of
from isthmus.platforms.rules import with_platforms

CloudSettings = with_platforms(components.CloudSettings)

STORE = {"endpoint": "http://store", "access_key": "key", "secret_key": "secret"}
GOOD = {"model": "models/digits", "requests_per_second": 20, "p95_ms": 50, "platform": "kubernetes", "store": STORE}


def made(**kubernetes):
    return service_of(check(CloudSettings, {**GOOD, "kubernetes": kubernetes}, "services.digits"), "digits", "digits", operator=False)


def test_how_long_pods_that_go_away_serve_on_is_what_the_program_says():
    service = made(gateway_leave_seconds=2, server_drain_seconds=3)
    assert (service.gateway.leave_seconds, service.server_drain_seconds) == (2, 3)


def test_a_program_that_says_nothing_loses_no_request():
    service = made()
    assert service.gateway.leave_seconds is None  # then it follows from the gateway's own times
    assert service.server_drain_seconds == 15


@pytest.mark.parametrize("name", ["gateway_leave_seconds", "server_drain_seconds"])
def test_pods_that_do_not_wait_at_all_are_refused(name):
    _, found = problems_of(CloudSettings, {**GOOD, "kubernetes": {name: 0}}, "services.digits")
    assert [str(problem) for problem in found] == [f"services.digits.kubernetes.{name}: found 0; expected greater than or equal to 1"]
