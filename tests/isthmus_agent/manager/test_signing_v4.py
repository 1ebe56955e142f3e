"""Signatures are those of botocore, and time is the store's own."""

from datetime import UTC, datetime
from unittest.mock import patch

import botocore.auth
import botocore.awsrequest
import botocore.credentials
import pytest

from isthmus_agent.manager.signing_v4 import Credentials, StoreClock, signed_url

AT = datetime(2026, 11, 29, 8, 0, 0, tzinfo=UTC)
DATE = "Sun, 29 Nov 2026 08:00:00 GMT"
KEYS = Credentials("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "eu-central-1")


def botocores(method: str, url: str, credentials: Credentials) -> str:
    keys = botocore.credentials.Credentials(credentials.access_key, credentials.secret_key, credentials.token or None)
    request = botocore.awsrequest.AWSRequest(method=method, url=url)
    with patch.object(botocore.auth, "get_current_datetime", lambda **_: AT.replace(tzinfo=None)):
        botocore.auth.S3SigV4QueryAuth(keys, "s3", credentials.region, expires=300).add_auth(request)
    return request.url


@pytest.mark.parametrize("method", ["GET", "PUT"])
@pytest.mark.parametrize("token", ["", "a/temporary+token=="])
@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:8333/models/edge/metadata/timestamp.json",
        "https://store.example/models/edge/metadata/3.cameras.json",
        "https://store.example:443/models/a%20b/%C3%BC~_-.json",
        "http://[::1]:8333/models/x",
        "https://store.example/models?list-type=2&prefix=edge%2F",
    ],
)
def test_a_signed_address_is_botocores(method: str, token: str, url: str):
    keys = Credentials(KEYS.access_key, KEYS.secret_key, KEYS.region, token)
    ours, theirs = signed_url(method, url, keys, AT.timestamp()), botocores(method, url, keys)
    assert ours.rpartition("X-Amz-Signature=")[2] == theirs.rpartition("X-Amz-Signature=")[2]
    assert sorted(ours.partition("?")[2].split("&")) == sorted(theirs.partition("?")[2].split("&"))


def test_credentials_do_not_show():
    assert KEYS.secret_key not in repr(KEYS)


def clock_at(seconds: float) -> StoreClock:
    return StoreClock(wall=lambda: seconds, monotonic=lambda: 100.0)


@pytest.mark.parametrize("wall", [0.0, AT.timestamp() - 1200, AT.timestamp() + 1200, datetime(2100, 1, 1, tzinfo=UTC).timestamp()])
@pytest.mark.parametrize(
    "dates",
    [(DATE,), (f"{DATE}, {DATE}",), (DATE, DATE), ("Sun, 29 Nov 2026 08:00:00 -0000",), ("nonsense", DATE), (DATE.replace(" GMT", ""),)],
)
def test_the_stores_time_is_learned_from_a_date_however_odd(wall: float, dates: tuple[str, ...]):
    clock = clock_at(wall)
    assert clock.learn(dates)
    assert clock.now() == AT.timestamp()


def test_the_stores_time_is_learned_from_its_message_where_it_sends_no_date():
    clock = clock_at(0.0)
    assert clock.learn((), b"<Error><Code>RequestTimeTooSkewed</Code><ServerTime>2026-11-29T08:00:00Z</ServerTime></Error>")
    assert clock.now() == AT.timestamp()


@pytest.mark.parametrize("dates", [(), ("",), ("nonsense",), ("Sun, 31 Feb 2026 08:00:00 GMT",), ("Sun, 29 Nov 99999 08:00:00 GMT",)])
def test_no_date_teaches_nothing(dates: tuple[str, ...]):
    clock = clock_at(5.0)
    assert not clock.learn(dates)
    assert clock.now() == 5.0


def test_a_date_that_is_ours_is_no_reason_to_ask_again():
    assert not clock_at(AT.timestamp() + 5).learn((DATE,))


def test_a_learned_time_goes_on_by_the_monotonic_clock_whatever_becomes_of_the_other():
    monotonic = iter([100.0, 107.0])
    clock = StoreClock(wall=lambda: 0.0, monotonic=lambda: next(monotonic))
    clock.learn((DATE,))
    assert clock.now() == AT.timestamp() + 7
