"""Signatures of requests to an S3 store (AWS Signature Version 4), in the query of the address.

Only the host is signed beside the address itself, and nothing else is asked of headers: what a proxy on the way adds, drops,
doubles or spells anew changes nothing. The time in the signature is the store's own, as far as it is known: a device's clock
may stand at 1970 or twenty minutes off. That time decides nothing but whether the store lets the device in.
"""

import hashlib
import hmac
import re
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from urllib.parse import parse_qsl, quote, urlsplit, urlunsplit

ALGORITHM = "AWS4-HMAC-SHA256"
VALID_SECONDS = 300
# Stores refuse what is a quarter of an hour off; a difference below this is the network's, and not learned.
LEEWAY_SECONDS = 60.0
_DATE = re.compile(r"(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d{2} [A-Z][a-z]{2} \d{4} \d{2}:\d{2}:\d{2}")
_SERVER_TIME = re.compile(rb"<ServerTime>(\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2})")
_DEFAULT_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True)
class Credentials:
    """What a store lets a device in with. They appear in no repr. token: of temporary credentials; empty: they are none."""

    access_key: str
    secret_key: str = field(repr=False)
    region: str = "us-east-1"
    token: str = field(default="", repr=False)


def signed_url(method: str, url: str, credentials: Credentials, at_seconds: float, *, valid_seconds: int = VALID_SECONDS) -> str:
    """The address with a signature in its query, good for one method. url: its path is encoded already.

    at_seconds: the time of the signature since 1970, by the store's clock.
    """
    parts = urlsplit(url)
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(at_seconds))
    scope = f"{stamp[:8]}/{credentials.region}/s3/aws4_request"
    query = {
        **dict(parse_qsl(parts.query, keep_blank_values=True)),
        "X-Amz-Algorithm": ALGORITHM,
        "X-Amz-Credential": f"{credentials.access_key}/{scope}",
        "X-Amz-Date": stamp,
        "X-Amz-Expires": str(valid_seconds),
        "X-Amz-SignedHeaders": "host",
    }
    if credentials.token:
        query["X-Amz-Security-Token"] = credentials.token
    spelled = "&".join(f"{quote(name, safe='-_.~')}={quote(value, safe='-_.~')}" for name, value in sorted(query.items()))
    request = "\n".join([method, parts.path or "/", spelled, f"host:{_host(url)}\n", "host", "UNSIGNED-PAYLOAD"])
    text = "\n".join([ALGORITHM, stamp, scope, hashlib.sha256(request.encode()).hexdigest()])
    key = f"AWS4{credentials.secret_key}".encode()
    for part in scope.split("/"):
        key = _hmac(key, part)
    return urlunsplit(parts._replace(query=f"{spelled}&X-Amz-Signature={_hmac(key, text).hex()}", fragment=""))


def _host(url: str) -> str:
    parts = urlsplit(url)
    host = parts.hostname or ""
    host = f"[{host}]" if ":" in host else host
    return host if parts.port in {None, _DEFAULT_PORTS.get(parts.scheme)} else f"{host}:{parts.port}"


def _hmac(key: bytes, text: str) -> bytes:
    return hmac.new(key, text.encode(), hashlib.sha256).digest()


class StoreClock:
    """The store's time: this machine's, until an answer of the store shows another.

    It goes on by the monotonic clock from there, so that a clock that is set meanwhile does not matter.
    """

    def __init__(self, wall: Callable[[], float] = time.time, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._wall = wall
        self._monotonic = monotonic
        self._ahead_seconds: float | None = None

    def now(self) -> float:
        """Seconds since 1970."""
        return self._wall() if self._ahead_seconds is None else self._monotonic() + self._ahead_seconds

    def learn(self, dates: Iterable[str], body: bytes = b"") -> bool:
        """Takes over the time that a refusal names; whether it is so far from ours that asking again makes sense.

        dates: the values of its Date headers, however many and however odd. body: its beginning; some stores say the time there.
        """
        found = _time_in(dates, body)
        if found is None or abs(found - self.now()) < LEEWAY_SECONDS:
            return False
        self._ahead_seconds = found - self._monotonic()
        return True


def _time_in(dates: Iterable[str], body: bytes) -> float | None:
    try:
        for value in dates:
            if match := _DATE.search(value):
                return parsedate_to_datetime(f"{match[0]} GMT").timestamp()
        if told := _SERVER_TIME.search(body):
            return datetime.strptime(told[1].decode(), "%Y-%m-%dT%H:%M:%S").replace(tzinfo=timezone.utc).timestamp()
    except ValueError:
        pass  # such as the 31st of February
    return None
