"""What a device says, in the key of an empty object: a look at ten thousand devices is ten listings and no read.

    {prefix}health/NUMBER/DEVICE~OUTCOME~FIELDS~MAC

A device's own credentials let it write `{prefix}health/*/DEVICE~*` and nothing else of this: no device's name holds a `~`, so that none
begins as another's. Stores enforce that (isthmus.repository.access).
FIELDS is base64url without padding of a fixed, bounded list (`_VALUES`) and a short text. MAC is 16 bytes of HMAC-SHA256 by the device's
key, over the fleet's name and everything in the object's key after the prefix. There is one way to write a report, so that each changed
character is found.

The device's key is derived from the fleet's secret, so that no key has to be kept beside the roster (`device_key`). What is read comes from
anybody who can write to the store: `read` only takes it apart, and nothing in it may be believed before `Claim.verified`.
"""

import base64
import binascii
import hashlib
import hmac
import re
from dataclasses import dataclass, field
from enum import Enum, IntEnum
from typing import Any, Final

from isthmus_agent.formats import digests, numbers
from isthmus_agent.formats.numbers import MOST_NUMBER, FormatError

FORMAT: Final = 1
FORMAT_ROUTED: Final = 2
"""Of a report that says where requests ran. One that does not is written as it always was, so that whoever reads no others reads it."""
MOST_KEY_BYTES: Final = 1024
"""Of an object's key in S3."""
MOST_PREFIX_BYTES: Final = 400
MOST_TEXT_CHARACTERS: Final = 100
KEY_BYTES: Final = 32
LEAST_SECRET_BYTES: Final = 16
MOST_GENERATION: Final = 2**31
HEARTBEAT_SECONDS: Final = 900.0
"""In which a device says again what it said, unless its configuration has another number; whoever reads reports waits by the same."""
_DIGEST_BYTES: Final = 8
_MAC_BYTES: Final = 16
_MOST_VARINT_BYTES: Final = 8
_FOLDER: Final = "health/"
_DIGEST: Final = re.compile(r"(sha256:)?[0-9a-f]{16}([0-9a-f]{48})?|")


class Outcome(str, Enum):
    """Where a device is with what it is to have. Only UNFIT and ROLLED_BACK say something against the release."""

    UPDATING = "updating"
    CONFIRMED = "confirmed"
    ROLLED_BACK = "rolled_back"
    UNFIT = "unfit"
    BLOCKED = "blocked"

    @property
    def is_final(self) -> bool:
        """Whether it is a verdict, which must arrive at some time."""
        return self in (Outcome.CONFIRMED, Outcome.ROLLED_BACK, Outcome.UNFIT)

    @property
    def is_against_release(self) -> bool:
        """Whether it counts against the release."""
        return self in (Outcome.ROLLED_BACK, Outcome.UNFIT)


class Reason(IntEnum):
    """Why. The numbers are written into reports: one is never given a second meaning. What each amounts to is in `core.causes`."""

    NONE = 0
    # The way to the store.
    UNREACHABLE = 1
    REFUSED_BY_STORE = 2
    NOT_THE_STORE = 3
    TOO_SLOW = 4
    WRONG_BYTES = 5
    WRONG_RANGE = 6
    ODD_ANSWER = 7
    MISSING_OBJECT = 8
    UNTRUSTED_METADATA = 9
    REPLAYED = 10
    CONFLICTING_ASSIGNMENT = 11
    # The device.
    DISK_FULL = 20
    DISK_READ_ONLY = 21
    DISK_FAULT = 22
    CLOCK = 23
    OUT_OF_MEMORY = 24
    NO_VARIANT = 25
    DAMAGED_SLOT = 26
    DELTA_UNUSABLE = 27
    NO_INTERPRETER = 28
    HELD_BY_OPERATOR = 29
    STATE_LOST = 30
    SERVER_FAULT = 31
    CONTENT_KEY = 32
    # The release.
    BUNDLE_INVALID = 40
    SELF_TEST_FAILED = 41
    SELF_TEST_CRASHED = 42
    SELF_TEST_HUNG = 43
    CRASHED = 50
    HUNG = 51
    TOO_SLOW_IN_SERVICE = 52
    TOO_MUCH_MEMORY = 53
    PREDICTIONS_MOVED = 54
    GOLDEN_PROBE_FAILED = 55
    RESTARTED_TOO_OFTEN = 56


@dataclass(frozen=True)
class Routed:
    """Where a device's requests run, and how many ran where, since its server's start: see `formats.routing`, of which these are the
    numbers alone. place: a number of PLACES. breaker: of BREAKERS. The others: requests by OUTCOMES."""

    place: int = 0
    breaker: int = 0
    round_trip_microseconds: int | None = None
    here: int = 0
    cloud: int = 0
    passed_on: int = 0
    peer: int = 0
    failed: int = 0


@dataclass(frozen=True)
class Figures:
    """What is measured. None: not known. boot_mark: drawn at each start, so that two machines with one identity are found out.

    sequence: one more with every report of this boot. outcome_seconds: since it has this outcome, when this was written, by a clock that
    only goes on: what a gate's soak is measured by, together with the report's age. answered_by_cloud: of the requests.
    cloud_unavailable: how often the cloud was needed and had no answer. routed: of a device that may ask others; None: it asks nobody.
    """

    boots: int = 0
    boot_mark: int = 0
    sequence: int = 0
    requests: int = 0
    errors: int = 0
    crashes: int = 0
    p95_microseconds: int | None = None
    rss_bytes: int | None = None
    distribution_distance_millionths: int | None = None
    outcome_seconds: int | None = None
    answered_by_cloud: int | None = None
    cloud_unavailable: int | None = None
    routed: Routed | None = None


@dataclass(frozen=True)
class Report:
    """digest: of the content that it is about; its first 16 hexadecimal digits travel, empty where there is none. text: printable ASCII."""

    device: str
    number: int
    outcome: Outcome
    digest: str = ""
    reason: Reason = Reason.NONE
    text: str = ""
    figures: Figures = field(default_factory=Figures)

    def object_key(self, prefix: str, fleet: str, key: bytes) -> str:
        """The key of the object. key: the device's own. Raises FormatError where a value is beyond its bounds."""
        if len(prefix.encode("utf-8", "replace")) > MOST_PREFIX_BYTES:
            raise FormatError("prefix", f"expected {MOST_PREFIX_BYTES} bytes at most")
        numbers.device_name(self.device, "device")
        numbers.integer(self.number, "number", 1)
        said = f"{self.number}/{self.device}~{self.outcome.value}~{_base64(_packed(self))}"
        return f"{prefix}{_FOLDER}{said}~{_base64(_mac(key, fleet, said))}"


@dataclass(frozen=True)
class Claim:
    """A report that anybody may have written. device, number: who it claims to be by, to look up the key with."""

    device: str
    number: int
    said: str
    mac: bytes
    report: Report

    def verified(self, fleet: str, key: bytes) -> Report:
        """The report, which the owner of the key has written. Raises FormatError."""
        if not hmac.compare_digest(self.mac, _mac(key, fleet, self.said)):
            raise FormatError("mac", "it is not by this device, or not about this fleet")
        return self.report


def folder(prefix: str, number: int) -> str:
    """What the keys of all reports about an assignment begin with."""
    return f"{prefix}{_FOLDER}{number}/"


def read(object_key: str, prefix: str) -> Claim:
    """The report in an object's key, not verified. Raises FormatError for every text that is none, and nothing else."""
    rest = object_key[len(prefix) + len(_FOLDER) :]
    if len(object_key) > MOST_KEY_BYTES or not object_key.startswith(prefix + _FOLDER) or not rest.isascii():
        raise FormatError("", "not the key of a report")
    said, _, mac = rest.rpartition("~")
    number_text, slash, rest = said.partition("/")
    parts = rest.split("~")
    if not slash or len(parts) != 3:
        raise FormatError("", "not the key of a report")
    number = numbers.decimal(number_text, "number", 1)
    device = numbers.device_name(parts[0], "device")
    try:
        outcome = Outcome(parts[1])
    except ValueError:
        raise FormatError("outcome", f"found {numbers.shown(parts[1])}") from None
    digits = _bytes(mac, "mac")
    if len(digits) != _MAC_BYTES:
        raise FormatError("mac", f"expected {_MAC_BYTES} bytes")
    return Claim(device, number, said, digits, _unpacked(device, number, outcome, _bytes(parts[2], "fields")))


def own_keys(prefix: str, device: str) -> str:
    """A pattern of the keys of a device's reports, and of no other's: `*` stands for any text."""
    return f"{prefix}{_FOLDER}*/{numbers.device_name(device, 'device')}~*"


def device_key(secret: bytes, fleet: str, device: str, generation: int) -> bytes:
    """A device's key: HKDF-SHA256 over the fleet's secret. Another generation is another key, which revokes the one before."""
    if len(secret) < LEAST_SECRET_BYTES:
        raise FormatError("secret", f"expected {LEAST_SECRET_BYTES} bytes or more")
    numbers.integer(generation, "generation", 0, MOST_GENERATION)
    info = f"{numbers.name(fleet, 'fleet')}\0{numbers.device_name(device, 'device')}\0{generation}".encode()
    extracted = hmac.digest(b"isthmus-device-report-key", secret, "sha256")
    return hmac.digest(extracted, info + b"\x01", "sha256")[:KEY_BYTES]


def printable(text: str) -> str:
    """A text as a report can hold it: short, and of printable ASCII alone."""
    return "".join(it if " " <= it <= "~" else "?" for it in text[:MOST_TEXT_CHARACTERS])


def _mac(key: bytes, fleet: str, said: str) -> bytes:
    return hmac.new(key, f"isthmus-report-{FORMAT}\0{fleet}\0{said}".encode(), hashlib.sha256).digest()[:_MAC_BYTES]


# The order in which they are written, which is that of `Figures`. What may be unknown is written one higher, and as 0 where it is.
_VALUES: Final = ("boots", "boot_mark", "sequence", "requests", "errors", "crashes")
_OPTIONAL: Final = (
    "p95_microseconds",
    "rss_bytes",
    "distribution_distance_millionths",
    "outcome_seconds",
    "answered_by_cloud",
    "cloud_unavailable",
)
_ROUTED: Final = tuple(Routed.__dataclass_fields__)
_MAY_BE_UNKNOWN: Final = "round_trip_microseconds"


def told_digest(digest: str) -> str:
    """What a report holds of a digest: its first 16 digits."""
    return digests.digits_of(digest)[: 2 * _DIGEST_BYTES]


def _packed(report: Report) -> bytes:
    if not _DIGEST.fullmatch(report.digest):
        raise FormatError("digest", f"found {numbers.shown(report.digest)}, expected a digest, its first 16 digits, or nothing")
    digits = told_digest(report.digest)
    routed = report.figures.routed
    head = bytes([FORMAT_ROUTED if routed else FORMAT]) + (bytes.fromhex(digits) if digits else bytes(_DIGEST_BYTES))
    known = [(name, getattr(report.figures, name)) for name in _VALUES]
    perhaps = [(name, getattr(report.figures, name)) for name in _OPTIONAL]
    values = [("reason", int(report.reason)), *known, *((name, 0 if it is None else _integer(it, name) + 1) for name, it in perhaps)]
    if routed:
        values += [(name, _written(name, getattr(routed, name))) for name in _ROUTED]
    varints = b"".join(_varint(_integer(it, name)) for name, it in values)
    if report.text != printable(report.text):
        raise FormatError("text", f"expected {MOST_TEXT_CHARACTERS} printable characters at most")
    return head + varints + report.text.encode("ascii")


def _unpacked(device: str, number: int, outcome: Outcome, content: bytes) -> Report:
    if len(content) < 1 + _DIGEST_BYTES or content[0] not in (FORMAT, FORMAT_ROUTED):
        raise FormatError("fields", f"expected format {FORMAT} or {FORMAT_ROUTED}")
    digits = content[1 : 1 + _DIGEST_BYTES].hex()
    at, values = 1 + _DIGEST_BYTES, []
    always = 1 + len(_VALUES) + len(_OPTIONAL)
    for _ in range(always + (len(_ROUTED) if content[0] == FORMAT_ROUTED else 0)):
        value, at = _read_varint(content, at)
        values.append(value)
    perhaps = [value - 1 if value else None for value in values[1 + len(_VALUES) : always]]
    routed = Routed(*map(_meant, _ROUTED, values[always:])) if values[always:] else None
    named: dict[str, Any] = dict(zip((*_VALUES, *_OPTIONAL), [*values[1 : 1 + len(_VALUES)], *perhaps], strict=True))
    figures = Figures(**named, routed=routed)
    try:
        reason, text = Reason(values[0]), content[at:].decode("ascii")
    except ValueError:
        raise FormatError("fields", "an unknown reason, or a text that is not ASCII") from None
    if text != printable(text):
        raise FormatError("text", f"expected {MOST_TEXT_CHARACTERS} printable characters at most")
    return Report(device, number, outcome, "" if digits == "0" * 16 else digits, reason, text, figures)


def _written(name: str, value: int | None) -> int:
    """Of `Routed`: what may be unknown is written one higher, too."""
    if name != _MAY_BE_UNKNOWN:
        return _integer(value, name)
    return 0 if value is None else _integer(value, name) + 1


def _meant(name: str, value: int) -> Any:
    """The inverse of `_written`."""
    return value if name != _MAY_BE_UNKNOWN else value - 1 if value else None


def _integer(value: object, name: str) -> int:
    return numbers.integer(value, f"figures.{name}", 0, MOST_NUMBER)


def _varint(value: int) -> bytes:
    found = bytearray()
    while value > 0x7F:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*found, value])


def _read_varint(content: bytes, at: int) -> tuple[int, int]:
    """A number of 7 bits a byte, the lowest first, and where it ends. The shortest way to write it is the only one."""
    value = 0
    for count in range(_MOST_VARINT_BYTES):
        if at + count >= len(content):
            break
        byte = content[at + count]
        value |= (byte & 0x7F) << (7 * count)
        if byte < 0x80:
            if value > MOST_NUMBER or (byte == 0 and count):
                break
            return value, at + count + 1
    raise FormatError("fields", "not a number, or one beyond its bounds")


def _base64(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode("ascii")


def _bytes(text: str, where: str) -> bytes:
    try:
        content = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise FormatError(where, "not base64url") from None
    if _base64(content) != text:  # bits that say nothing must be 0
        raise FormatError(where, "not base64url as it is written here")
    return content
