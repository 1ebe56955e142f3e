"""What a device program is told. Who it is comes from its enrolment (`isthmus-agent enrol`); one JSON file, which only its owner may read,
says the rest, and may be left out:

    {
      "state_directory": "/var/lib/isthmus-agent",
      "model": "digits",
      "ca_file": "/etc/ssl/store.pem",                         of the store, where it is none of the machine's own
      "listen": {"address": "127.0.0.1", "port": 8501},        or {"socket": "/run/isthmus-agent/predict.sock"}
      "limits": {"memory_bytes": 134217728, "threads": 1, …},  as `channel.Limits`
      "swap": "side_by_side",                                  or "stop_first"
      "fallback": {"url": "https://cloud", "min_confidence": 0.8, "timeout_ms": 500, "ca_file": "/etc/ssl/cloud.pem"},
      "samples": "as_signed",                                  or "never", whatever the fleet's owner wants
      "group": {"name": "yard", …},                            see `group_settings`
      "counts": "as_signed",                                   or "never", likewise
      "poll_seconds": 60, "heartbeat_seconds": 900, "measure_seconds": 10, "retry_seconds": 5
    }

model: for those who ask while nothing is served; what is served has the name that its bundle says. retry_seconds: before the second try of
what failed; twice as long each time. fallback: who is asked where the device's own answer is less sure than min_confidence, or where it has
none; left out, and what the device is asked stays on it. "as_signed" for min_confidence: what the release's bundle says of it; for policy:
its policy is followed, and may have the cloud asked first; for halves: what the network's first layers make may be sent there. See
`channel.Fallback`.

A device that is in no fleet may be told all of it there, tests are:

      "device": "camera-1", "fleet": "cameras", "class": "small", "labels": {"site": "a"},
      "store": {"endpoint": "https://store:9000", "bucket": "models", "prefix": "edge/", "region": "us-east-1",
                "access_key": "…", "secret_key": "…", "token": "…"},
      "root": {… the root.json of the enrolment …},
      "report_key": "64 hexadecimal digits", "content_key": "64 hexadecimal digits"

Of these device, fleet, store (endpoint, bucket), root and report_key are needed. Credentials that are left out come from AWS_ACCESS_KEY_ID,
AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN; a store that lets everybody read needs none. A file and an enrolment that say something
different are refused.
"""

import json
import os
import re
import stat
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from isthmus_agent.channel import Fallback, Limits
from isthmus_agent.core import state as core
from isthmus_agent.formats import numbers, report
from isthmus_agent.formats.answers import MOST_DEADLINE_MS
from isthmus_agent.formats.bundle import AS_SIGNED
from isthmus_agent.formats.enrolment import Enrolment
from isthmus_agent.formats.numbers import DAY_SECONDS, FormatError
from isthmus_agent.manager.checking import (
    Problem,
    Section,
    SettingsError,
    absolute,
    base_url,
    between,
    endpoint,
    flag,
    matching,
    one_of,
    readable,
    secret,
    socket_path,
    text,
)
from isthmus_agent.manager.enrolment import enrolled
from isthmus_agent.manager.group_settings import GroupSettings, group_of
from isthmus_agent.manager.signing_v4 import Credentials

MOST_FILE_BYTES: Final = 1 << 20
CONFIG: Final = Path("/etc/isthmus-agent/config.json")
STATE_DIRECTORY: Final = Path("/var/lib/isthmus-agent")
ACCESS_KEY, SECRET_KEY, TOKEN = "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"
_ONLY_FAILURES: Final[float | None] = 0.0
_NEEDED: Final = ("device", "fleet", "store", "root", "report_key")
_IDENTITY: Final = (*_NEEDED, "class", "labels", "content_key")
_PACE: Final = ("poll_seconds", "heartbeat_seconds", "measure_seconds", "retry_seconds")
_LOCAL: Final = ("state_directory", "model", "ca_file", "listen", "limits", "swap", "fallback", "samples", "counts", "group", *_PACE)
_SECRETS: Final = {"access_key": ACCESS_KEY, "secret_key": SECRET_KEY, "token": TOKEN}
_MOST_FALLBACK_MS: Final = 60_000
_SWAPS: Final = ("side_by_side", "stop_first")
_CONSENTS: Final = (AS_SIGNED, "never")
_BUCKET: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,62}")
_PREFIX: Final = re.compile(r"(|[A-Za-z0-9._~/-]{1,399}/)")


@dataclass(frozen=True)
class Identity:
    """Who a device is, and what lets it in. url: of the fleet's repository, with the bucket and the prefix; ends with `/`.

    root: root metadata. report_key: the device's own. content_key: of sealed contents, where it was given one.
    """

    device: core.Device
    url: str
    credentials: Credentials | None
    root: bytes = field(repr=False)
    report_key: bytes = field(repr=False)
    content_key: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Listen:
    """Where requests are answered. socket: a Unix socket's path, instead of address and port. port: 0 takes any that is free."""

    address: str = "127.0.0.1"
    port: int = 8501
    socket: Path | None = None


@dataclass(frozen=True)
class Local:
    """What holds on this device, whoever it is. model: the name that it is meant to serve under, for those who ask while it serves
    nothing. ca_file: certificates that the store is known by. may_sample: whether it follows what the fleet's owner wants of inputs.
    may_tell_counts: likewise, of how often its network and load changed. group: of devices that it works together with; None: it works
    alone."""

    state_directory: Path = STATE_DIRECTORY
    model: str | None = None
    ca_file: str | None = None
    listen: Listen = Listen()
    limits: Limits = field(default_factory=Limits)
    stop_first: bool = False
    pace: core.Settings = field(default_factory=core.Settings)
    fallback: Fallback | None = None
    may_sample: bool = True
    may_tell_counts: bool = True
    group: GroupSettings | None = None


@dataclass(frozen=True)
class Settings:
    """One device."""

    identity: Identity
    local: Local

    @property
    def device(self) -> core.Device:
        """Who it is."""
        return self.identity.device

    @property
    def state_directory(self) -> Path:
        """Its folder."""
        return self.local.state_directory

    @property
    def about(self) -> Mapping[str, str]:
        """What `/healthz` says of the device."""
        return {"device": self.device.name, "fleet": self.device.fleet, **({"model": self.local.model} if self.local.model else {})}


def load(file: Path | None = None, environment: Mapping[str, str] = os.environ) -> Settings:
    """The configuration in a file, with what the enrolment says. None: CONFIG, where that is there. Raises SettingsError."""
    value, problems = _read(file)
    return from_value(value, environment, problems)


def load_local(file: Path | None = None) -> Local:
    """What a file says of this device, whoever it is. Raises SettingsError."""
    value, problems = _read(file)
    top = Section(value, "", problems)
    found = _local(top)
    if problems:
        raise SettingsError(problems)
    return found


def from_value(value: Mapping[str, Any], environment: Mapping[str, str] = os.environ, problems: Collection[Problem] = ()) -> Settings:
    """The configuration in a JSON object, with what the enrolment says. problems: what is known to be wrong already.

    Raises SettingsError.
    """
    top = Section(value, "", list(problems))
    local = _local(top)
    own = _own(top, environment) if value.keys() & set(_IDENTITY) else None
    joined = None if top.problems else _joined(local.state_directory, top)
    if own and joined:
        _compare(own, joined, top)
        own = replace(own, content_key=own.content_key or joined.content_key)
    elif not own and not joined and not top.problems:
        what = f"this device is in no fleet: {local.state_directory} has no enrolment"
        top.problems.append(Problem("isthmus-agent", what, "isthmus-agent enrol --token-file FILE, with a token of `isthmus fleet enrol`"))
    identity = own or joined
    if top.problems or not identity:
        raise SettingsError(top.problems)
    return Settings(identity, local)


def _read(file: Path | None) -> tuple[Mapping[str, Any], list[Problem]]:
    path = file or CONFIG
    try:
        with path.open("rb") as stream:
            mode = stat.S_IMODE(os.fstat(stream.fileno()).st_mode)
            content = stream.read(MOST_FILE_BYTES + 1)
    except FileNotFoundError as error:
        if file is None:
            return {}, []
        raise SettingsError([_unreadable(path, error)]) from None
    except OSError as error:
        raise SettingsError([_unreadable(path, error)]) from None
    try:
        value = json.loads(content) if len(content) <= MOST_FILE_BYTES else None
    except (ValueError, RecursionError):  # its text may show content
        value = None
    problems = []
    if mode & 0o077 and not (isinstance(value, dict) and not value.keys() & set(_IDENTITY)):
        what = f"others may read it (mode {mode:04o}), expected mode 0600: it holds credentials"
        problems.append(Problem(str(path), what, f"chmod 600 {path}"))
    if not isinstance(value, dict):
        problems.append(Problem(str(path), f"not a JSON object of {MOST_FILE_BYTES} bytes at most"))
        raise SettingsError(problems)
    return value, problems


def _unreadable(file: Path, error: OSError) -> Problem:
    return Problem("--config", f"cannot read {file}: {error.strerror}, expected a JSON file", "name another one, or leave it out")


def _local(top: Section) -> Local:
    top.names((), (*_LOCAL, *_IDENTITY))
    usual = core.Settings()
    pace = core.Settings(
        poll_seconds=top.get("poll_seconds", between(0.05, DAY_SECONDS), usual.poll_seconds),
        heartbeat_seconds=top.get("heartbeat_seconds", between(1, DAY_SECONDS), usual.heartbeat_seconds),
        first_backoff_seconds=top.get("retry_seconds", between(0.05, 3600), usual.first_backoff_seconds),
        measure_seconds=top.get("measure_seconds", between(0.05, 3600), usual.measure_seconds),
    )
    return Local(
        top.get("state_directory", absolute, STATE_DIRECTORY),
        top.get("model", numbers.name, None),
        top.get("ca_file", lambda value, where: str(readable(value, where)), None),
        _listen(top.section("listen")),
        _limits(top.section("limits")),
        top.get("swap", one_of(_SWAPS), _SWAPS[0]) == "stop_first",
        pace,
        _fallback(top.section("fallback")) if "fallback" in top.value else None,
        top.get("samples", one_of(_CONSENTS), _CONSENTS[0]) != "never",
        top.get("counts", one_of(_CONSENTS), _CONSENTS[0]) != "never",
        group_of(top.section("group")) if "group" in top.value else None,
    )


def _own(top: Section, environment: Mapping[str, str]) -> Identity:
    """What the file says of who this is."""
    top.names(_NEEDED, top.value)  # what nobody knows is noted already
    device = core.Device(
        top.get("device", numbers.device_name, "?"),
        top.get("fleet", numbers.name, "?"),
        top.get("class", numbers.device_class, "*"),
        top.get("labels", numbers.labels, {}),
    )
    url, credentials = _store(top.section("store"), environment)
    root, report_key, content_key = top.get("root", _root, b""), top.get("report_key", _key, b""), top.get("content_key", _key, None)
    return Identity(device, url, credentials, root, report_key, content_key)


def _joined(folder: Path, top: Section) -> Identity | None:
    """What the enrolment says of who this is."""
    if folder.is_dir() and not os.access(folder, os.R_OK | os.X_OK):
        fix = "become the user that the program runs as, or root"
        top.problems.append(Problem("state_directory", f"{folder} may not be read by this user", fix))
        return None
    found = enrolled(folder)
    return of_enrolment(found) if found else None


def of_enrolment(found: Enrolment) -> Identity:
    """Who a device is by its enrolment."""
    device = core.Device(found.device, found.fleet, found.device_class, found.labels)
    credentials = Credentials(found.access_key, found.secret_key, found.region)
    return Identity(device, found.url, credentials, found.root, found.report_key, found.content_key)


def _compare(own: Identity, joined: Identity, top: Section) -> None:
    sides = [
        (it.device.name, it.device.fleet, it.device.device_class, dict(it.device.labels), it.url, it.report_key) for it in (own, joined)
    ]
    names = ("device", "fleet", "class", "labels", "store", "report_key")
    different = [name for name, left, right in zip(names, *sides, strict=True) if left != right]
    if different:
        who = f"{joined.device.name} of fleet {joined.device.fleet}"
        what = f"another one than that of the enrolment, by which this device is {who}"
        top.problems.append(Problem(", ".join(different), what, f"remove {', '.join(_IDENTITY)} from the configuration"))


def _store(section: Section, environment: Mapping[str, str]) -> tuple[str, Credentials | None]:
    if not section.value:
        return "", None
    section.names(("endpoint", "bucket"), ("prefix", "region", *_SECRETS))
    secrets = {name: section.get(name, secret, environment.get(variable, "")) for name, variable in _SECRETS.items()}
    for name, other in (("access_key", "secret_key"), ("secret_key", "access_key")):
        if secrets[other] and not secrets[name] and name not in section.value:
            fix = f"set it in the file, or {_SECRETS[name]} in the environment"
            section.problems.append(Problem(section.path(name), f"it is missing, and {other} is there", fix))
    region = section.get("region", text(64), "us-east-1")
    credentials = Credentials(secrets["access_key"], secrets["secret_key"], region, secrets["token"]) if secrets["access_key"] else None
    where, bucket = section.get("endpoint", endpoint, ""), section.get("bucket", matching(_BUCKET, "a bucket's name"), "")
    prefix = section.get("prefix", matching(_PREFIX, "a prefix that ends with `/`, or nothing"), "")
    return f"{where}/{bucket}/{quote(prefix)}", credentials


def _listen(section: Section) -> Listen:
    section.names((), ("address", "port", "socket"))
    if "socket" in section.value and section.value.keys() & {"address", "port"}:
        section.problems.append(Problem(section.where, "found socket beside address or port, expected one of the two"))
    return Listen(
        section.get("address", text(255), "127.0.0.1"),
        section.get("port", lambda value, where: numbers.integer(value, where, 0, 65535), 8501),
        section.get("socket", socket_path, None),
    )


def _fallback(section: Section) -> Fallback:
    section.names(("url", "min_confidence"), ("timeout_ms", "ca_file", "deadline_ms", "same_version", "policy", "halves"))
    default_ms = int(1000 * Fallback.timeout_seconds)
    return Fallback(
        section.get("url", base_url, ""),
        section.get("min_confidence", _min_confidence, _ONLY_FAILURES),
        section.get("timeout_ms", lambda value, where: numbers.integer(value, where, 1, _MOST_FALLBACK_MS), default_ms) / 1000,
        section.get("ca_file", lambda value, where: str(readable(value, where)), None),
        section.get("deadline_ms", lambda value, where: numbers.integer(value, where, 1, MOST_DEADLINE_MS) / 1000, None),
        section.get("same_version", flag, False),
        section.get("policy", one_of((AS_SIGNED,)), "") == AS_SIGNED,
        section.get("halves", one_of((AS_SIGNED,)), "") == AS_SIGNED,
    )


def _min_confidence(value: Any, where: str) -> float | None:
    """None: as the content says."""
    return None if value == AS_SIGNED else between(0, 1)(value, where)


def _limits(section: Section) -> Limits:
    section.names((), [it.name for it in fields(Limits)])
    found: dict[str, Any] = {it.name: section.get(it.name, _limit(it.name), it.default) for it in fields(Limits)}
    return Limits(**found)


def _limit(name: str) -> Callable[[Any, str], Any]:
    if name.endswith("_seconds"):
        return between(0.01, DAY_SECONDS)
    least = {"niceness": 0, "memory_bytes": 1 << 20}.get(name, 1)

    def check(value: Any, where: str) -> int | None:
        return None if value is None and name == "memory_bytes" else numbers.integer(value, where, least, 1 << 40)

    return check


def _key(value: Any, where: str) -> bytes:
    if not isinstance(value, str) or not re.fullmatch(rf"[0-9a-f]{{{2 * report.KEY_BYTES}}}", value):
        raise FormatError(where, f"expected {2 * report.KEY_BYTES} hexadecimal digits in lower case")
    return bytes.fromhex(value)


def _root(value: Any, where: str) -> bytes:
    signed = value.get("signed") if isinstance(value, dict) else None
    if not isinstance(signed, dict) or signed.get("_type") != "root" or not isinstance(value.get("signatures"), list):
        raise FormatError(where, "expected the root metadata of the enrolment: an object with `signed` and `signatures`")
    return json.dumps(value).encode()
