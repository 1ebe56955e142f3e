"""How a device joins a fleet: a token that is used once, and the sealed object that it opens.

The operator puts a device's configuration, sealed under a secret that is drawn for it, into the store, and gives somebody the token:

    isthmus-enrol-1.BASE64URL      of a deflated JSON document (`Token`)

The token has the secret, a hash of the root metadata that the device shall trust, and four addresses, each signed by the operator for one
kind of request about one object: to read the sealed object and to delete it, to write the claim unless there is one, and to read it. The
store ends them (7 days at most). The claim makes the token good for one device: whoever writes it first has it.

The object is sealed (`sealing`, the construction for small contents) under the token's secret of 32 random bytes, once; a third key, with
the purpose `claim`, is for the claim.
"""

import base64
import binascii
import hashlib
import hmac
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

from isthmus_agent.formats import numbers, report
from isthmus_agent.formats.numbers import DAY_SECONDS, FormatError
from isthmus_agent.formats.sealed_contents import KEY_BYTES
from isthmus_agent.formats.sealing import NONCE_BYTES, SECRET_BYTES, Kind

FORMAT: Final = 1
MOST_SECONDS: Final = 7 * DAY_SECONDS
"""That a token is good for: no store signs an address for longer."""
MOST_TOKEN_CHARACTERS: Final = 8192
MOST_ENROLMENT_BYTES: Final = 60 << 10
MOST_SEALED_BYTES: Final = MOST_ENROLMENT_BYTES + 128
SEALED: Final = Kind(
    magic=b"isthmus-sealed-1\n",
    salt=b"isthmus-enrolment",
    most_bytes=MOST_SEALED_BYTES,
    refusal="the sealed object is not what the operator has put there for this token",
)
MOST_ROOT_BYTES: Final = 40 << 10
CLAIM_BYTES: Final = 32 + NONCE_BYTES
_MOST_TEXT: Final = 2048
_WORD: Final = "isthmus-enrol-1."
_FIELDS: Final = (
    *("format", "fleet", "device", "class", "labels", "generation"),
    *("url", "region", "access_key", "secret_key", "report_key", "root"),
)
_CONTENT_KEY: Final = "content_key"


@dataclass(frozen=True)
class Enrolment:
    """What a device is given when it joins. The secrets appear in no repr.

    url: of the repository, with the bucket and the prefix; ends with `/`. root: the root metadata that the device trusts. content_key: of
    sealed contents (`sealed_contents`); None: whoever enrolled it gave none.
    """

    fleet: str
    device: str
    device_class: str
    labels: Mapping[str, str]
    generation: int
    url: str
    region: str
    access_key: str
    secret_key: str = field(repr=False)
    report_key: bytes = field(repr=False)
    root: bytes = field(repr=False)
    content_key: bytes | None = field(default=None, repr=False)

    def to_json(self) -> bytes:
        """The one way to write it. Raises FormatError where it is larger than a device will read."""
        content = numbers.dump(
            {
                "format": FORMAT,
                "fleet": self.fleet,
                "device": self.device,
                "class": self.device_class,
                "labels": dict(self.labels),
                "generation": self.generation,
                "url": self.url,
                "region": self.region,
                "access_key": self.access_key,
                "secret_key": self.secret_key,
                "report_key": _base64(self.report_key),
                "root": _base64(self.root),
                **({} if self.content_key is None else {_CONTENT_KEY: _base64(self.content_key)}),
            }
        )
        if len(content) > MOST_ENROLMENT_BYTES:
            raise FormatError("", f"an enrolment of {len(content)} bytes, expected {MOST_ENROLMENT_BYTES} at most")
        return content


@dataclass(frozen=True)
class Token:
    """What somebody carries to the device. secret, and the addresses: whoever has them is the device.

    root_sha256: of the root metadata in the sealed object. expires_seconds: since 1970; the store judges it, and not the device's clock.
    sealed_url, discard_url: to read the sealed object, to delete it. claim_url, claimed_url: to write the claim, to read it.
    """

    fleet: str
    device: str
    expires_seconds: int
    root_sha256: str
    secret: bytes = field(repr=False)
    sealed_url: str = field(repr=False)
    discard_url: str = field(repr=False)
    claim_url: str = field(repr=False)
    claimed_url: str = field(repr=False)

    def text(self) -> str:
        """One line. Raises FormatError where it would be too long."""
        value = {
            "format": FORMAT,
            "fleet": self.fleet,
            "device": self.device,
            "expires": self.expires_seconds,
            "root": self.root_sha256,
            "secret": _base64(self.secret),
            "urls": [self.sealed_url, self.discard_url, self.claim_url, self.claimed_url],
        }
        found = _WORD + _base64(zlib.compress(numbers.dump(value), 9))
        if len(found) > MOST_TOKEN_CHARACTERS:
            raise FormatError("", f"a token of {len(found)} characters, expected {MOST_TOKEN_CHARACTERS} at most")
        return found


def token_from(text: str) -> Token:
    """The token in a text, blanks around it left out. Raises FormatError, which repeats nothing of it: it may be nearly right."""
    packed = text.strip()
    if len(packed) > MOST_TOKEN_CHARACTERS or not packed.startswith(_WORD):
        raise FormatError("token", f"it is none: expected one line that begins with {_WORD}")
    try:
        inflate = zlib.decompressobj()
        content = inflate.decompress(_bytes(packed.removeprefix(_WORD), "token"), 2 * MOST_TOKEN_CHARACTERS)
    except zlib.error:
        raise FormatError("token", "a part of it is missing, or changed") from None
    if not inflate.eof or inflate.unused_data:
        raise FormatError("token", "a part of it is missing, or changed")
    try:
        found = numbers.fields(
            numbers.load(content, "the token", 2 * MOST_TOKEN_CHARACTERS),
            "",
            ("format", "fleet", "device", "expires", "root", "secret", "urls"),
        )
        numbers.integer(found["format"], "format", FORMAT, FORMAT)
        urls = [_url(it, f"urls[{index}]") for index, it in enumerate(numbers.items(found["urls"], "urls", 4, 4))]
        return Token(
            numbers.name(found["fleet"], "fleet"),
            numbers.device_name(found["device"], "device"),
            numbers.integer(found["expires"], "expires"),
            numbers.hash_digits(found["root"], "root"),
            _bytes(found["secret"], "secret", SECRET_BYTES),
            *urls,
        )
    except FormatError as error:
        raise FormatError(f"token.{error.where}".rstrip("."), "it is not of the format; is it of another Isthmus?") from None


def enrolment_from(content: bytes) -> Enrolment:
    """An enrolment as it was written. Raises FormatError for every content that is none, and nothing else."""
    found = numbers.fields(numbers.load(content, "the enrolment", MOST_ENROLMENT_BYTES), "", _FIELDS, (_CONTENT_KEY,))
    numbers.integer(found["format"], "format", FORMAT, FORMAT)
    url = _url(found["url"], "url")
    if not url.endswith("/"):
        raise FormatError("url", "expected one that ends with /")
    root = _bytes(found["root"], "root")
    if len(root) > MOST_ROOT_BYTES:
        raise FormatError("root", f"expected {MOST_ROOT_BYTES} bytes at most")
    return Enrolment(
        numbers.name(found["fleet"], "fleet"),
        numbers.device_name(found["device"], "device"),
        numbers.device_class(found["class"], "class"),
        numbers.labels(found["labels"], "labels"),
        numbers.integer(found["generation"], "generation", 0, report.MOST_GENERATION),
        url,
        _word(found["region"], "region"),
        _word(found["access_key"], "access_key"),
        _word(found["secret_key"], "secret_key"),
        _bytes(found["report_key"], "report_key", report.KEY_BYTES),
        root,
        _bytes(found[_CONTENT_KEY], _CONTENT_KEY, KEY_BYTES) if _CONTENT_KEY in found else None,
    )


def claim(secret: bytes, nonce: bytes) -> bytes:
    """What a device writes to have the token for itself. nonce: the device's own, by which it knows its claim again."""
    return SEALED.derived(secret, b"claim") + nonce


def claim_of(secret: bytes) -> str:
    """The name of a token's objects: it tells nothing of the secret, and who knows it can check a claim (`is_claim`)."""
    return hashlib.sha256(SEALED.derived(secret, b"claim")).hexdigest()


def is_claim(content: bytes, name: str) -> bool:
    """Whether it was written by somebody who has the token."""
    return len(content) == CLAIM_BYTES and hmac.compare_digest(hashlib.sha256(content[:-NONCE_BYTES]).hexdigest(), name)


def _url(value: object, where: str) -> str:
    text = _word(value, where)
    try:
        parts = urlsplit(text)
        is_url = parts.scheme in {"http", "https"} and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        is_url = False
    if not is_url:
        raise FormatError(where, "expected an http or https URL")
    return text


def _word(value: object, where: str) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= _MOST_TEXT or not all("!" <= it <= "~" for it in value):
        raise FormatError(where, f"expected 1 to {_MOST_TEXT} printable characters without blanks")  # found: it may be a secret
    return value


def _base64(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode("ascii")


def _bytes(value: object, where: str, size_bytes: int | None = None) -> bytes:
    text = value if isinstance(value, str) else "?"
    try:
        content = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise FormatError(where, "not base64url") from None
    if _base64(content) != text or len(content) != (len(content) if size_bytes is None else size_bytes):
        raise FormatError(where, "not base64url as it is written here, or of another length")
    return content
