"""Samples of what a device was asked, on their way to the fleet's owner: an object that only the owner's key opens.

    {prefix}samples/FLEET/DEVICE~NAME

    isthmus-samples-1\\n  ‖  fingerprint of the owner's key (8)  ‖  ephemeral key (32)  ‖  sealed batch  ‖  MAC (32)

A batch is sealed (`formats.sealing`) under a secret of its own: HKDF-SHA256 (RFC 5869) of what an ephemeral X25519 key and the owner's have
in common, with both public keys, the fleet, the device and the name as context: moved to another name it does not open. The MAC is by the
device's report key, so that whoever can write to the store cannot make up what a device was asked.

A batch is samples one after the other, each `length (4) ‖ JSON ‖ request ‖ answer`. Everything in it is bounded.
"""

import hmac
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from isthmus_agent.formats import numbers, sealing, x25519
from isthmus_agent.formats.numbers import MILLION, FormatError, integer
from isthmus_agent.formats.samples_wanted import MOST_SAMPLE_BYTES, fingerprint

MOST_SAMPLES: Final = 256
FULL_BYTES: Final = 128 << 10
"""A batch as large as that takes no more."""
MOST_HEAD_BYTES: Final = 512
MOST_PACKED_BYTES: Final = 4 + MOST_HEAD_BYTES + MOST_SAMPLE_BYTES
"""Of one sample."""
MOST_BATCH_BYTES: Final = FULL_BYTES + MOST_PACKED_BYTES
MOST_OBJECT_BYTES: Final = MOST_BATCH_BYTES + 512
NAME_BYTES: Final = 16
_MOST_MINUTES: Final = 2**31
_MAC_BYTES: Final = 32
_NAME: Final = re.compile(rf"[0-9a-f]{{{2 * NAME_BYTES}}}")
_MAGIC: Final = b"isthmus-samples-1\n"
_FOLDER: Final = "samples/"
_SEALED: Final = sealing.Kind(
    b"isthmus-batch-1\n", b"isthmus-batch", MOST_OBJECT_BYTES, "it is not what a device has encrypted for this key"
)
_FINGERPRINT_BYTES: Final = len(fingerprint(b""))


@dataclass(frozen=True)
class Sample:
    """minutes: since 1970, when it was asked; 0: not known. digest: of the content that answered. status: of HTTP.

    confidence_millionths: None where the answer is no table of probabilities. request: the body, decompressed. answer: the device's own.
    """

    minutes: int
    digest: str
    model: str
    status: int
    confidence_millionths: int | None
    request: bytes
    answer: bytes

    def packed(self) -> bytes:
        """As it stands in a batch."""
        head = {
            "minutes": self.minutes,
            "digest": self.digest,
            "model": self.model,
            "status": self.status,
            "confidence": self.confidence_millionths,
            "request": len(self.request),
            "answer": len(self.answer),
        }
        text = numbers.dump(head)
        return len(text).to_bytes(4, "big") + text + self.request + self.answer


@dataclass(frozen=True)
class Origin:
    """Whose a batch is. name: of random bytes, so that none is written twice."""

    fleet: str
    device: str
    name: bytes

    def object_key(self, prefix: str) -> str:
        """Of the batch."""
        return f"{folder(prefix, self.fleet)}{numbers.device_name(self.device, 'device')}~{self.name.hex()}"

    def to_bytes(self) -> bytes:
        """For what a batch is bound to."""
        return f"{self.fleet}\0{self.device}\0".encode() + self.name


@dataclass(frozen=True)
class Object:
    """An object of a store that claims to hold a batch. Nothing in it may be believed before `is_by` and `opened`."""

    origin: Origin
    content: bytes

    def is_by(self, report_key: bytes) -> bool:
        """Whether the owner of that report key has written it, under this name."""
        return hmac.compare_digest(self.content[-_MAC_BYTES:], _mac(report_key, self.origin, self.content[:-_MAC_BYTES]))

    def is_for(self, owner_key: bytes) -> bool:
        """Whether it says that it was sealed to that public key."""
        return self.content[len(_MAGIC) :][:_FINGERPRINT_BYTES] == fingerprint(owner_key)

    def opened(self, shared: Callable[[bytes], bytes], owner_key: bytes) -> tuple[Sample, ...]:
        """The samples. shared: what the owner's private key has in common with a public one (X25519). Raises FormatError."""
        if not self.content.startswith(_MAGIC) or len(self.content) > MOST_OBJECT_BYTES:
            raise FormatError("", "it is no batch of samples, or larger than one may be")
        if not self.is_for(owner_key):
            raise FormatError("", "it was encrypted to another key")
        rest = self.content[len(_MAGIC) + _FINGERPRINT_BYTES : -_MAC_BYTES]
        ephemeral = rest[: x25519.KEY_BYTES]
        if len(ephemeral) != x25519.KEY_BYTES:
            raise FormatError("", "it is cut off")
        secret = _secret(shared(ephemeral), ephemeral, owner_key, self.origin)
        return unpacked(sealing.unsealed(_SEALED, secret, rest[x25519.KEY_BYTES :]))


def sealed(samples: Iterable[Sample], owner_key: bytes, origin: Origin, report_key: bytes, random: Callable[[int], bytes]) -> bytes:
    """An object's content. random: of so many bytes, that nobody can guess. Raises FormatError where the owner's key is none."""
    private = random(x25519.KEY_BYTES)
    ephemeral = x25519.public_of(private)
    secret = _secret(x25519.shared(private, owner_key), ephemeral, owner_key, origin)
    inner = sealing.sealed(_SEALED, secret, b"".join(it.packed() for it in samples), random(sealing.NONCE_BYTES))
    content = _MAGIC + fingerprint(owner_key) + ephemeral + inner
    return content + _mac(report_key, origin, content)


def folder(prefix: str, fleet: str) -> str:
    """What the keys of all batches of a fleet begin with."""
    return f"{prefix}{_FOLDER}{numbers.name(fleet, 'fleet')}/"


def origin_of(object_key: str, prefix: str, fleet: str) -> Origin:
    """Whose the batch under a key would be. Raises FormatError for every text that is no such key."""
    device, _, name = object_key.removeprefix(folder(prefix, fleet)).partition("~")
    if not object_key.startswith(folder(prefix, fleet)) or not _NAME.fullmatch(name):
        raise FormatError("", "not the key of a batch of samples")
    return Origin(fleet, numbers.device_name(device, "device"), bytes.fromhex(name))


def own_keys(prefix: str, fleet: str, device: str) -> str:
    """A pattern of the keys of a device's batches, and of no other's: `*` stands for any text."""
    return f"{folder(prefix, fleet)}{numbers.device_name(device, 'device')}~*"


def unpacked(content: bytes) -> tuple[Sample, ...]:
    """The samples of a batch. Raises FormatError for every content that is none, and nothing else."""
    found: list[Sample] = []
    at = 0
    while at < len(content):
        if len(found) == MOST_SAMPLES:
            raise FormatError("", f"more than {MOST_SAMPLES} samples")
        sample, at = _read(content, at)
        found.append(sample)
    return tuple(found)


def _read(content: bytes, at: int) -> tuple[Sample, int]:
    start = at + 4
    end = start + int.from_bytes(content[at:start], "big")
    head = numbers.load(content[start:end], "a sample's head", MOST_HEAD_BYTES)
    names = ("minutes", "digest", "model", "status", "confidence", "request", "answer")
    found = numbers.fields(head, "", names)
    confidence = found["confidence"]
    request = integer(found["request"], "request", 0, MOST_SAMPLE_BYTES)
    answer = integer(found["answer"], "answer", 0, MOST_SAMPLE_BYTES - request)
    if end + request + answer > len(content):
        raise FormatError("", "a sample is cut off")
    sample = Sample(
        integer(found["minutes"], "minutes", 0, _MOST_MINUTES),
        numbers.digest(found["digest"], "digest"),
        numbers.name(found["model"], "model"),
        integer(found["status"], "status", 100, 599),
        None if confidence is None else integer(confidence, "confidence", 0, 2 * MILLION),
        content[end : end + request],
        content[end + request : end + request + answer],
    )
    return sample, end + request + answer


def _secret(common: bytes, ephemeral: bytes, owner_key: bytes, origin: Origin) -> bytes:
    """HKDF-SHA256, 32 bytes."""
    if not any(common):  # a public key of small order: anybody would know what is common
        raise FormatError("owner_key", "it is no key")
    return sealing.derived(common, _MAGIC, ephemeral + owner_key + origin.to_bytes())


def _mac(report_key: bytes, origin: Origin, content: bytes) -> bytes:
    return hmac.digest(report_key, _MAGIC + origin.to_bytes() + content, "sha256")
