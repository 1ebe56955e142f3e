"""What a device program is told: one JSON file that only its owner may read.

    {
      "device": "camera-1", "fleet": "cameras", "class": "small", "labels": {"site": "a"}, "model": "digits",
      "state_directory": "/var/lib/isthmus-agent",
      "store": {"endpoint": "https://store:9000", "bucket": "models", "prefix": "edge/", "region": "us-east-1",
                "access_key": "…", "secret_key": "…", "token": "…", "ca_file": "/etc/ssl/store.pem"},
      "root": {… the root.json of the enrolment …},
      "report_key": "64 hexadecimal digits",
      "listen": {"address": "127.0.0.1", "port": 8501},        or {"socket": "/run/isthmus-agent/predict.sock"}
      "limits": {"memory_bytes": 134217728, "threads": 1, …},  as `channel.Limits`
      "swap": "side_by_side",                                  or "stop_first"
      "poll_seconds": 60, "heartbeat_seconds": 900, "measure_seconds": 10, "retry_seconds": 5
    }

retry_seconds: before the second try of what failed; twice as long each time.

Needed are device, fleet, state_directory, store (endpoint, bucket), root and report_key. Credentials that are left out come from
AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN; a store that lets everybody read needs none.
"""

import json
import math
import os
import re
import stat
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Final, TypeVar
from urllib.parse import quote, urlsplit

from isthmus_agent.channel import Limits
from isthmus_agent.core import state as core
from isthmus_agent.formats import numbers, report
from isthmus_agent.formats.numbers import FormatError, shown
from isthmus_agent.manager.signing_v4 import Credentials

MOST_FILE_BYTES: Final = 1 << 20
ACCESS_KEY, SECRET_KEY, TOKEN = "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"
_REQUIRED: Final = ("device", "fleet", "state_directory", "store", "root", "report_key")
_PACE: Final = ("poll_seconds", "heartbeat_seconds", "measure_seconds", "retry_seconds")
_OPTIONAL: Final = ("class", "labels", "model", "listen", "limits", "swap", *_PACE)
_SECRETS: Final = {"access_key": ACCESS_KEY, "secret_key": SECRET_KEY, "token": TOKEN}
_SWAPS: Final = ("side_by_side", "stop_first")
_BUCKET: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,62}")
_PREFIX: Final = re.compile(r"(|[A-Za-z0-9._~/-]{1,399}/)")
_MOST_SOCKET_PATH_BYTES: Final = 107
_DAY_SECONDS: Final = 86_400

T = TypeVar("T")


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong. where: a property's path. fix: what to do about it; empty where that is plain."""

    where: str
    what: str
    fix: str = ""

    def __str__(self) -> str:
        return f"{self.where}: {self.what}" + (f". Fix: {self.fix}" if self.fix else "")


class SettingsError(Exception):
    """All that is wrong with a configuration. It holds nothing that may be secret."""

    def __init__(self, problems: Collection[Problem]) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = tuple(problems)


@dataclass(frozen=True)
class Store:
    """Where the fleet's repository and its reports are. endpoint: without a `/` at its end. prefix: of every key; empty or ends with it."""

    endpoint: str
    bucket: str
    prefix: str = ""
    credentials: Credentials | None = None
    ca_file: str | None = None

    @property
    def url(self) -> str:
        """Of the bucket, with the prefix; ends with `/`."""
        return f"{self.bucket_url}{quote(self.prefix)}"

    @property
    def bucket_url(self) -> str:
        """Ends with `/`."""
        return f"{self.endpoint}/{self.bucket}/"


@dataclass(frozen=True)
class Listen:
    """Where requests are answered. socket: a Unix socket's path, instead of address and port. port: 0 takes any that is free."""

    address: str = "127.0.0.1"
    port: int = 8501
    socket: Path | None = None


@dataclass(frozen=True)
class Settings:
    """One device. model: the name that it is meant to serve under, for those who ask while it serves nothing. root: root metadata."""

    device: core.Device
    state_directory: Path
    store: Store
    root: bytes = field(repr=False)
    report_key: bytes = field(repr=False)
    model: str | None = None
    listen: Listen = Listen()
    limits: Limits = field(default_factory=Limits)
    stop_first: bool = False
    pace: core.Settings = field(default_factory=core.Settings)

    @property
    def about(self) -> Mapping[str, str]:
        """What `/healthz` says of the device."""
        return {"device": self.device.name, "fleet": self.device.fleet, **({"model": self.model} if self.model else {})}


def load(file: Path, environment: Mapping[str, str] = os.environ) -> Settings:
    """The configuration in a file. Raises SettingsError."""
    try:
        with file.open("rb") as stream:
            mode = stat.S_IMODE(os.fstat(stream.fileno()).st_mode)
            content = stream.read(MOST_FILE_BYTES + 1)
    except OSError as error:
        problem = Problem("--config", f"cannot read {file}: {error.strerror}, expected a JSON file", "name it, or enrol this device")
        raise SettingsError([problem]) from None
    problems = []
    if mode & 0o077:
        what = f"others may read it (mode {mode:04o}), expected mode 0600: it holds credentials"
        problems.append(Problem(str(file), what, f"chmod 600 {file}"))
    try:
        value = json.loads(content) if len(content) <= MOST_FILE_BYTES else None
    except (ValueError, RecursionError):  # its text may show content
        value = None
    if not isinstance(value, dict):
        problems.append(Problem(str(file), f"not a JSON object of {MOST_FILE_BYTES} bytes at most"))
        raise SettingsError(problems)
    return from_value(value, environment, problems)


def from_value(value: Mapping[str, Any], environment: Mapping[str, str] = os.environ, problems: Collection[Problem] = ()) -> Settings:
    """The configuration in a JSON object. problems: what is known to be wrong already. Raises SettingsError."""
    top = _Section(value, "", list(problems))
    top.names(_REQUIRED, _OPTIONAL)
    device = core.Device(
        top.get("device", numbers.device_name, "?"),
        top.get("fleet", numbers.name, "?"),
        top.get("class", numbers.device_class, "*"),
        top.get("labels", numbers.labels, {}),
    )
    pace = core.Settings(
        poll_seconds=top.get("poll_seconds", _between(0.05, _DAY_SECONDS), 60.0),
        heartbeat_seconds=top.get("heartbeat_seconds", _between(1, _DAY_SECONDS), 900.0),
        first_backoff_seconds=top.get("retry_seconds", _between(0.05, 3600), 5.0),
        measure_seconds=top.get("measure_seconds", _between(0.05, 3600), 10.0),
    )
    found = Settings(
        device,
        top.get("state_directory", _absolute, Path("/")),
        _store(top.section("store"), environment),
        top.get("root", _root, b""),
        top.get("report_key", _report_key, b""),
        top.get("model", numbers.name, None),
        _listen(top.section("listen")),
        _limits(top.section("limits")),
        top.get("swap", _one_of(_SWAPS), _SWAPS[0]) == "stop_first",
        pace,
    )
    if top.problems:
        raise SettingsError(top.problems)
    return found


class _Section:
    """One object of the configuration, read so that every problem is found."""

    def __init__(self, value: object, where: str, problems: list[Problem]) -> None:
        self.where, self.problems = where, problems
        self.value: Mapping[str, Any] = value if isinstance(value, Mapping) else {}
        if not isinstance(value, Mapping):
            problems.append(Problem(where, f"found {shown(value)}, expected an object"))

    def path(self, name: str) -> str:
        return f"{self.where}.{name}" if self.where else name

    def names(self, required: Collection[str], optional: Collection[str]) -> None:
        """Notes fields that are missing, and those that nobody knows."""
        for name in required:
            if name not in self.value:
                self.problems.append(Problem(self.path(name), "it is missing"))
        for name in sorted(self.value.keys() - {*required, *optional}):
            what = f"unknown, expected one of {', '.join(sorted({*required, *optional}))}"
            self.problems.append(Problem(self.path(shown(name).strip("'")), what, "remove it"))

    def get(self, name: str, check: Callable[[Any, str], T], default: T) -> T:
        """A field's value; the default where it is left out, or wrong."""
        if name not in self.value:
            return default
        try:
            return check(self.value[name], self.path(name))
        except FormatError as error:
            self.problems.append(Problem(error.where or self.path(name), str(error).removeprefix(f"{error.where}: ")))
            return default

    def section(self, name: str) -> "_Section":
        """A field that is an object; an empty one where it is left out."""
        return _Section(self.value.get(name, {}), self.path(name), self.problems)


def _store(section: _Section, environment: Mapping[str, str]) -> Store:
    if not section.value:
        return Store("", "")
    section.names(("endpoint", "bucket"), ("prefix", "region", "ca_file", *_SECRETS))
    secrets = {name: section.get(name, _secret, environment.get(variable, "")) for name, variable in _SECRETS.items()}
    for name, other in (("access_key", "secret_key"), ("secret_key", "access_key")):
        if secrets[other] and not secrets[name] and name not in section.value:
            fix = f"set it in the file, or {_SECRETS[name]} in the environment"
            section.problems.append(Problem(section.path(name), f"it is missing, and {other} is there", fix))
    region = section.get("region", _text(64), "us-east-1")
    credentials = Credentials(secrets["access_key"], secrets["secret_key"], region, secrets["token"]) if secrets["access_key"] else None
    return Store(
        section.get("endpoint", _endpoint, ""),
        section.get("bucket", _matching(_BUCKET, "a bucket's name"), ""),
        section.get("prefix", _matching(_PREFIX, "a prefix that ends with `/`, or nothing"), ""),
        credentials,
        section.get("ca_file", lambda value, where: str(_readable(value, where)), None),
    )


def _listen(section: _Section) -> Listen:
    section.names((), ("address", "port", "socket"))
    if "socket" in section.value and section.value.keys() & {"address", "port"}:
        section.problems.append(Problem(section.where, "found socket beside address or port, expected one of the two"))
    return Listen(
        section.get("address", _text(255), "127.0.0.1"),
        section.get("port", lambda value, where: numbers.integer(value, where, 0, 65535), 8501),
        section.get("socket", _socket, None),
    )


def _limits(section: _Section) -> Limits:
    section.names((), [it.name for it in fields(Limits)])
    found: dict[str, Any] = {it.name: section.get(it.name, _limit(it.name), it.default) for it in fields(Limits)}
    return Limits(**found)


def _limit(name: str) -> Callable[[Any, str], Any]:
    if name.endswith("_seconds"):
        return _between(0.01, _DAY_SECONDS)
    least = {"niceness": 0, "memory_bytes": 1 << 20}.get(name, 1)

    def check(value: Any, where: str) -> int | None:
        return None if value is None and name == "memory_bytes" else numbers.integer(value, where, least, 1 << 40)

    return check


def _between(least: float, most: float) -> Callable[[Any, str], float]:
    def check(value: Any, where: str) -> float:
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if not is_number or not math.isfinite(value) or not least <= value <= most:
            found = repr(value) if isinstance(value, float) else shown(value)
            raise FormatError(where, f"found {found}, expected a number from {least:g} to {most:g}")
        return float(value)

    return check


def _matching(pattern: "re.Pattern[str]", expected: str) -> Callable[[Any, str], str]:
    def check(value: Any, where: str) -> str:
        is_sound = isinstance(value, str) and pattern.fullmatch(value) and not {".", ".."} & set(value.split("/"))
        if not is_sound:
            raise FormatError(where, f"found {shown(value)}, expected {expected}")
        return str(value)

    return check


def _text(most: int) -> Callable[[Any, str], str]:
    return _matching(re.compile(rf"[!-~]{{1,{most}}}"), f"1 to {most} printable characters")


def _one_of(choices: Collection[str]) -> Callable[[Any, str], str]:
    def check(value: Any, where: str) -> str:
        if value not in choices:
            raise FormatError(where, f"found {shown(value)}, expected one of {', '.join(choices)}")
        return str(value)

    return check


def _secret(value: Any, where: str) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"[!-~]{1,4096}", value):
        raise FormatError(where, "expected printable characters without spaces or line ends")
    return value


def _endpoint(value: Any, where: str) -> str:
    try:
        parts = urlsplit(value if isinstance(value, str) else "")
        is_sound = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        parts, is_sound = urlsplit(""), False
    if not is_sound or parts.username or parts.password or parts.query or parts.fragment or parts.path not in ("", "/"):
        # What was found may have a password in it.
        raise FormatError(where, "expected http://HOST[:PORT] or https://HOST[:PORT], without a path, a user or a query")
    return str(value).rstrip("/")


def _absolute(value: Any, where: str) -> Path:
    if not isinstance(value, str) or "\0" in value or not Path(value).is_absolute():
        raise FormatError(where, f"found {shown(value)}, expected an absolute path")
    return Path(value)


def _readable(value: Any, where: str) -> Path:
    path = _absolute(value, where)
    if not os.access(path, os.R_OK):
        raise FormatError(where, f"cannot read {shown(value)}, expected certificates in PEM")
    return path


def _socket(value: Any, where: str) -> Path:
    path = _absolute(value, where)
    if len(os.fsencode(path)) > _MOST_SOCKET_PATH_BYTES:
        raise FormatError(where, f"expected a path of {_MOST_SOCKET_PATH_BYTES} bytes at most")
    return path


def _report_key(value: Any, where: str) -> bytes:
    if not isinstance(value, str) or not re.fullmatch(rf"[0-9a-f]{{{2 * report.KEY_BYTES}}}", value):
        raise FormatError(where, f"expected {2 * report.KEY_BYTES} hexadecimal digits in lower case")
    return bytes.fromhex(value)


def _root(value: Any, where: str) -> bytes:
    signed = value.get("signed") if isinstance(value, dict) else None
    if not isinstance(signed, dict) or signed.get("_type") != "root" or not isinstance(value.get("signatures"), list):
        raise FormatError(where, "expected the root metadata of the enrolment: an object with `signed` and `signatures`")
    return json.dumps(value).encode()
