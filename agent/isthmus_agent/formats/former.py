"""How a device of a former version moves over: one last document, signed by the key that it was told to trust then.

A former device had one JSON file, with the store's credentials and the public half of its fleet's signing key. The operator signs with
that key once more: `{prefix}metadata/moved.dsse.json` is a DSSE envelope (github.com/secure-systems-lab/dsse) with an enrolment token for
each device. All former devices of a fleet share credentials, so each could read the tokens of the others; a token that somebody else has
used is refused on the device that it is for, and the operator sees who joined.
"""

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from isthmus_agent.formats import numbers
from isthmus_agent.formats.enrolment import MOST_TOKEN_CHARACTERS
from isthmus_agent.formats.numbers import FormatError, shown

FORMAT: Final = 1
MOVED_TYPE: Final = "application/vnd.isthmus.moved+json"
MOVED_NAME: Final = "moved.dsse.json"
MOST_DEVICES: Final = 1000
MOST_MOVED_BYTES: Final = 2 * MOST_DEVICES * MOST_TOKEN_CHARACTERS
MOST_CONFIG_BYTES: Final = 1 << 20
KEY_BYTES: Final = 32
SIGNATURE_BYTES: Final = 64
# What precedes the 32 bytes of an ed25519 key in a SubjectPublicKeyInfo (RFC 8410).
_SPKI: Final = bytes.fromhex("302a300506032b6570032100")
_BEGIN, _END = "-----BEGIN PUBLIC KEY-----", "-----END PUBLIC KEY-----"


@dataclass(frozen=True)
class Former:
    """What a device was told then. public_key: the 32 bytes of ed25519. region: of the store. The secret appears in no repr."""

    device: str
    fleet: str
    endpoint: str
    region: str
    bucket: str
    prefix: str
    public_key: bytes
    access_key: str = ""
    secret_key: str = field(default="", repr=False)

    @property
    def moved_url(self) -> str:
        """Of the last document."""
        return f"{self.endpoint.rstrip('/')}/{self.bucket}/{self.prefix}metadata/{MOVED_NAME}"


@dataclass(frozen=True)
class Moved:
    """tokens: by device. They appear in no repr."""

    fleet: str
    tokens: Mapping[str, str] = field(repr=False)

    def to_json(self) -> bytes:
        """What is signed."""
        return numbers.dump({"format": FORMAT, "fleet": self.fleet, "tokens": dict(sorted(self.tokens.items()))})


@dataclass(frozen=True)
class Envelope:
    """payload: of the type MOVED_TYPE, not verified. signatures: over `signed`."""

    payload: bytes
    signatures: tuple[bytes, ...]

    @property
    def signed(self) -> bytes:
        """DSSE's pre-authentication encoding: the type is signed too, so that no other document passes for this one."""
        return b"DSSEv1 %d %b %d %b" % (len(MOVED_TYPE), MOVED_TYPE.encode(), len(self.payload), self.payload)


def former_from(content: bytes) -> Former:
    """From a former device's configuration. Raises FormatError, which holds nothing that may be secret."""
    found = numbers.load(content, "the former configuration", MOST_CONFIG_BYTES)
    found = found if isinstance(found, dict) else {}
    given = found.get("store")
    store = given if isinstance(given, dict) else {}
    return Former(
        device=numbers.device_name(found.get("device"), "device"),
        fleet=numbers.name(found.get("fleet"), "fleet"),
        endpoint=_text(store.get("endpoint"), "store.endpoint"),
        region=_text(store.get("region", "us-east-1"), "store.region"),
        bucket=_text(store.get("bucket"), "store.bucket"),
        prefix=_text(store.get("prefix", ""), "store.prefix"),
        public_key=_public_key(found.get("public_key")),
        access_key=_secret(store.get("access_key", ""), "store.access_key"),
        secret_key=_secret(store.get("secret_key", ""), "store.secret_key"),
    )


def envelope_from(content: bytes) -> Envelope:
    """Raises FormatError where it is none, or of another type."""
    found = numbers.fields(numbers.load(content, "the envelope", MOST_MOVED_BYTES), "", ("payload", "payloadType", "signatures"))
    if found["payloadType"] != MOVED_TYPE:
        raise FormatError("payloadType", f"found {shown(found['payloadType'])}, expected {MOVED_TYPE}")
    listed = numbers.items(found["signatures"], "signatures", MOST_DEVICES)
    signatures = tuple(_base64(it.get("sig") if isinstance(it, dict) else None, "signatures") for it in listed)
    return Envelope(_base64(found["payload"], "payload"), signatures)


def moved_from(payload: bytes) -> Moved:
    """From a payload whose signature was checked. Raises FormatError."""
    found = numbers.fields(numbers.load(payload, "the last document", MOST_MOVED_BYTES), "", ("format", "fleet", "tokens"))
    numbers.integer(found["format"], "format", FORMAT, FORMAT)
    tokens = found["tokens"]
    if not isinstance(tokens, dict) or len(tokens) > MOST_DEVICES:
        raise FormatError("tokens", f"expected an object with {MOST_DEVICES} devices at most")
    read = {numbers.device_name(name, "tokens"): _text(token, f"tokens.{name}") for name, token in tokens.items()}
    return Moved(numbers.name(found["fleet"], "fleet"), read)


def _public_key(value: object) -> bytes:
    lines = value.split() if isinstance(value, str) else []
    text = " ".join(lines)
    if not text.startswith(_BEGIN) or not text.endswith(_END):
        raise FormatError("public_key", "expected an ed25519 public key in PEM")
    found = _base64(text.removeprefix(_BEGIN).removesuffix(_END).replace(" ", ""), "public_key")
    if not found.startswith(_SPKI) or len(found) != len(_SPKI) + KEY_BYTES:
        raise FormatError("public_key", "expected an ed25519 public key in PEM")
    return found[len(_SPKI) :]


def _text(value: object, where: str) -> str:
    if not isinstance(value, str) or len(value) > MOST_TOKEN_CHARACTERS or not value.isprintable():
        raise FormatError(where, f"found {shown(value)}, expected a text")
    return value


def _secret(value: object, where: str) -> str:
    if not isinstance(value, str) or not value.isprintable():
        raise FormatError(where, "expected a text")
    return value


def _base64(value: object, where: str) -> bytes:
    try:
        return base64.b64decode(value if isinstance(value, str) else "?", validate=True)
    except (binascii.Error, ValueError):
        raise FormatError(where, "expected base64") from None
