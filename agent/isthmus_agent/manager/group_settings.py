"""What a device is told of its group: the configuration's section `group`.

    "group": {
      "name": "yard",
      "broker": "mqtts://broker.example:8883",               or mqtt://127.0.0.1:1883, on this machine alone
      "password_file": "/etc/isthmus-agent/group-password",  which only its owner may read; the user is the device's name
      "ca_file": "/etc/isthmus-agent/group-ca.pem",          of the broker's certificate
      "inputs": "stay_on_device",                            or "stay_in_group": peers may be asked
      "peer_timeout_ms": 500, "deadline_ms": 200,            of what peers are asked, and of requests that say none
      "offers_per_second": 20,                               requests that it does at most, of others' and its own; 0: it only asks
      "mqtt": "5",                                           or "3.1.1", for a broker that hangs on the other
      "beat_seconds": 2, "expiry_seconds": 7, "answer_seconds": 5
    }

Nothing here is imported that a device without a group has no use for.
"""

import os
import re
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from isthmus_agent.formats import numbers
from isthmus_agent.formats.answers import MOST_DEADLINE_MS, STAY_IN_GROUP, STAY_ON_DEVICE
from isthmus_agent.formats.numbers import FormatError
from isthmus_agent.group.settings import Settings as Pace
from isthmus_agent.manager.checking import Problem, Section, absolute, between, one_of, readable

_INPUTS: Final = (STAY_ON_DEVICE, STAY_IN_GROUP)
_VERSIONS: Final = ("5", "3.1.1")
_PACE: Final = ("beat_seconds", "expiry_seconds", "answer_seconds")
_MOST_PER_SECOND: Final = 1_000_000
_MOST_TIMEOUT_MS: Final = 60_000
_MOST_PASSWORD_BYTES: Final = 1024
_PASSWORD: Final = re.compile(rb"[!-~]{1,512}")
_BROKER: Final = "mqtts://HOST[:PORT], or mqtt://HOST[:PORT] with a host of this machine's own, without a path or a user"


@dataclass(frozen=True)
class BrokerAt:
    """Where a broker is. port: None: the usual one."""

    host: str = ""
    port: int | None = None
    is_secure: bool = True


@dataclass(frozen=True)
class GroupSettings:
    """A device's group. shares_inputs: whether peers may be asked what this device is asked. peer_timeout_seconds: after which the
    device's own answer stands. deadline_seconds: of requests that say none; None: there is none. most_per_1000_seconds: requests that
    the device offers to do, of what its server was measured to."""

    name: str
    broker: BrokerAt
    password_file: Path
    ca_file: Path | None = None
    shares_inputs: bool = False
    peer_timeout_seconds: float = 0.5
    deadline_seconds: float | None = None
    speaks_5: bool = True
    pace: Pace = field(default_factory=Pace)
    most_per_1000_seconds: int = _MOST_PER_SECOND * 1000

    def password(self) -> str:
        """What the file holds. Raises OSError, FormatError."""
        return _password_in(self.password_file, "group.password_file")


def group_of(section: Section) -> GroupSettings:
    """The section's values; what is wrong is noted in it."""
    known = ("ca_file", "inputs", "peer_timeout_ms", "deadline_ms", "offers_per_second", "mqtt", *_PACE)
    section.names(("name", "broker", "password_file"), known)
    broker = section.get("broker", _broker, BrokerAt())
    ca_file = section.get("ca_file", readable, None)
    if "broker" in section.value and broker.host and broker.is_secure != (ca_file is not None) and "ca_file" not in section.value:
        what = "it is missing, and the broker is asked by TLS"
        section.problems.append(Problem(section.path("ca_file"), what, "name a file with the certificate of the broker's authority"))
    usual = Pace()
    times = {name: section.get(name, between(0.05, 3600), getattr(usual, name)) for name in _PACE}
    try:
        pace = Pace(**times)
    except ValueError as error:
        section.problems.append(Problem(section.where, str(error)))
        pace = usual
    milliseconds = {"peer_timeout_ms": _MOST_TIMEOUT_MS, "deadline_ms": MOST_DEADLINE_MS}
    seconds = {
        name: section.get(name, lambda value, where, most=most: numbers.integer(value, where, 1, most) / 1000, None)  # type: ignore[misc]
        for name, most in milliseconds.items()
    }
    return GroupSettings(
        section.get("name", numbers.name, "?"),
        broker,
        section.get("password_file", _private, Path("/")),
        ca_file,
        section.get("inputs", one_of(_INPUTS), STAY_ON_DEVICE) == STAY_IN_GROUP,
        seconds["peer_timeout_ms"] or GroupSettings.peer_timeout_seconds,
        seconds["deadline_ms"],
        section.get("mqtt", one_of(_VERSIONS), _VERSIONS[0]) == _VERSIONS[0],
        pace,
        section.get("offers_per_second", _per_1000_seconds, GroupSettings.most_per_1000_seconds),
    )


def _per_1000_seconds(value: Any, where: str) -> int:
    return round(1000 * between(0, _MOST_PER_SECOND)(value, where))


def _broker(value: Any, where: str) -> BrokerAt:
    try:
        parts = urlsplit(value if isinstance(value, str) and re.fullmatch(r"[!-~]{1,512}", value) else "")
        host, port = parts.hostname or "", parts.port
    except ValueError:
        parts, host, port = urlsplit(""), "", None
    has_more = parts.username or parts.password or parts.query or parts.fragment or parts.path not in ("", "/")
    if parts.scheme not in ("mqtt", "mqtts") or not host or port == 0 or has_more:
        # What was found may have a password in it.
        raise FormatError(where, f"expected {_BROKER}")
    if parts.scheme == "mqtt" and not _is_here(host):
        raise FormatError(where, f"without TLS everybody on the way reads along and writes; expected {_BROKER}")
    return BrokerAt(host, port, parts.scheme == "mqtts")


def _is_here(host: str) -> bool:
    import ipaddress  # here, as Python 3.10 has not imported it already

    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _private(value: Any, where: str) -> Path:
    path = absolute(value, where)
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
        _password_in(path, where)
    except OSError as error:
        raise FormatError(where, f"cannot read {numbers.shown(value)}: {error.strerror}, expected a file with the password") from None
    if mode & 0o077:
        raise FormatError(where, f"others may read it (mode {mode:04o}), expected mode 0600: it holds a password")
    return path


def _password_in(path: Path, where: str) -> str:
    with path.open("rb") as file:
        found = file.read(_MOST_PASSWORD_BYTES + 1).removesuffix(b"\n")
    if not _PASSWORD.fullmatch(found):
        raise FormatError(where, f"expected one line of 1 to 512 printable characters in {os.fspath(path)}")
    return found.decode("ascii")
