"""What a device is given as one object: a model with all that belongs to it.

The plain form, whose sha256 names it, is what a device keeps:

    the .tflite file, from the first byte: the interpreter can map the whole as it is
    the release's manifest, the golden vectors, the values for the gates: JSON. Of the values a device reads MIN_CONFIDENCE, POLICY,
    GROUP and HALVES
    the lengths of these four, 8 bytes each (little-endian), and MAGIC

In the store lies the packed form: a delta from nothing (see `delta`). A delta from one plain form to another makes the same bytes, so that
one digest tells whether an update is what was signed, whichever way it came.
"""

import io
import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO, Final

from isthmus_agent.formats import delta, fusion_group, halves, numbers, policy
from isthmus_agent.formats.answers import MOST_DEADLINE_MS
from isthmus_agent.formats.fusion_group import FusionGroup
from isthmus_agent.formats.numbers import FormatError, shown

MAGIC: Final = b"ISTHMUS\x01"
MODEL, MANIFEST, GOLDEN, GATES = "model", "manifest", "golden", "gates"
MOST_BYTES: Final = {MODEL: 1 << 31, MANIFEST: 4 << 20, GOLDEN: 64 << 20, GATES: 1 << 16}
"""How large each part may be, in the order in which they lie."""
MIN_CONFIDENCE: Final = "min_confidence"
"""Of the values for the gates: an answer that is less sure is worth asking the cloud role, for a device that is told to go by it."""
POLICY: Final = "policy"
"""Of the values for the gates: a migration policy, as the text of its document (see `formats.policy`), for a device that may ask the cloud
role. It is made for the release in the same bundle."""
GROUP: Final = "group"
"""Of the values for the gates: how devices that see the same thing answer together: GROUP_FILE, the text of the group's file (see
`formats.fusion_group`), made for the release in the same bundle, and WAIT_MS, for others where a request has no deadline."""
GROUP_FILE, WAIT_MS = "file", "wait_ms"
HALVES: Final = "halves"
"""Of the values for the gates: the ways to split the network, as the text of their document (see `formats.halves`), for a device that may
send what its first layers make. They are the release's, in the same bundle."""
AS_SIGNED: Final = "as_signed"
"""What a device is told in place of a value of its own, where it is to go by what is signed."""
_TRAILER = struct.Struct(f"<{len(MOST_BYTES)}Q{len(MAGIC)}s")
MOST_PLAIN_BYTES: Final = sum(MOST_BYTES.values()) + _TRAILER.size


@dataclass(frozen=True)
class Part:
    """Where a part lies in the plain form."""

    start: int
    size_bytes: int


def join(parts: Mapping[str, bytes]) -> bytes:
    """The plain form. parts: all four, by name. Raises FormatError where one is missing or too large."""
    if parts.keys() != MOST_BYTES.keys():
        raise FormatError("", f"a bundle has the parts {', '.join(MOST_BYTES)}, not {', '.join(sorted(parts))}")
    _check({name: len(parts[name]) for name in MOST_BYTES})
    return b"".join((*(parts[name] for name in MOST_BYTES), _TRAILER.pack(*(len(parts[name]) for name in MOST_BYTES), MAGIC)))


def parts(plain: BinaryIO) -> dict[str, Part]:
    """Where the parts of a plain form lie. Raises FormatError where it is none."""
    size_bytes = plain.seek(0, 2)
    if size_bytes < _TRAILER.size:
        raise FormatError("", "it is no bundle: it is too short")
    plain.seek(size_bytes - _TRAILER.size)
    *lengths, magic = _TRAILER.unpack(plain.read(_TRAILER.size))
    sizes = dict(zip(MOST_BYTES, lengths, strict=True))
    if magic != MAGIC:
        raise FormatError("", "it is no bundle of a version known here")
    _check(sizes)
    if sum(sizes.values()) + _TRAILER.size != size_bytes:
        raise FormatError("", "it is no bundle: its parts do not fill it")
    found, start = {}, 0
    for name, size in sizes.items():
        found[name] = Part(start, size)
        start += size
    return found


def read(plain: BinaryIO, name: str) -> bytes:
    """The content of a part. Raises FormatError where the bundle is none."""
    part = parts(plain)[name]
    plain.seek(part.start)
    found = plain.read(part.size_bytes)
    if len(found) != part.size_bytes:
        raise FormatError("", f"its {name} ends early")
    return found


def document(plain: BinaryIO, name: str) -> dict[str, Any]:
    """The JSON object in a part. Raises FormatError where there is none."""
    try:
        found = json.loads(read(plain, name).decode(), parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise FormatError("", f"its {name} cannot be read ({error})") from None
    if not isinstance(found, dict):
        raise FormatError("", f"its {name} is no JSON object")
    return found


def min_confidence(plain: BinaryIO) -> float:
    """From 0 to 1; 0, as sure as any answer is, where a bundle does not say. Raises FormatError where it is no such number."""
    found = document(plain, GATES).get(MIN_CONFIDENCE, 0.0)
    if isinstance(found, bool) or not isinstance(found, int | float) or not 0 <= found <= 1:
        raise FormatError(MIN_CONFIDENCE, f"found {shown(found)}, expected a number from 0 to 1")
    return float(found)


def policy_for(plain: BinaryIO, release: str) -> policy.Policy | None:
    """The migration policy; None where a bundle has none. Raises FormatError where it is no policy, one for another release than that
    digest, or one in which requests never run on the device."""
    values = document(plain, GATES)
    if POLICY not in values:
        return None
    found = values[POLICY]
    if not isinstance(found, str) or not found.isascii():
        raise FormatError(POLICY, f"found {shown(found)}, expected the text of a policy")
    try:
        read = policy.from_json(found.encode(), release)
    except FormatError as error:
        raise FormatError(POLICY, str(error)) from None
    if policy.DEVICE not in read.places:
        raise FormatError(f"{POLICY}.places", f"expected {policy.DEVICE} among them: a device answers where nobody else does")
    return read


@dataclass(frozen=True)
class SignedGroup:
    """What GROUP says."""

    group: FusionGroup
    wait_ms: int


def group_for(plain: BinaryIO, release: str) -> SignedGroup | None:
    """The group; None where a bundle has none. Raises FormatError where it is none, or one for another release than that digest."""
    values = document(plain, GATES)
    return signed_group(values[GROUP], release) if GROUP in values else None


def signed_group(value: object, release: str) -> SignedGroup:
    """The same, of the value that GROUP names."""
    found = numbers.fields(value, GROUP, (GROUP_FILE, WAIT_MS))
    text = found[GROUP_FILE]
    if not isinstance(text, str) or not text.isascii():
        raise FormatError(f"{GROUP}.{GROUP_FILE}", f"found {shown(text)}, expected the text of a group's file")
    wait_ms = numbers.integer(found[WAIT_MS], f"{GROUP}.{WAIT_MS}", 1, MOST_DEADLINE_MS)
    try:
        return SignedGroup(fusion_group.read(text.encode(), release), wait_ms)
    except FormatError as error:
        raise FormatError(f"{GROUP}.{GROUP_FILE}", str(error)) from None


def halves_for(plain: BinaryIO, release: str) -> halves.Halves | None:
    """The ways to split the network; None where a bundle has none. Raises FormatError where it is no such document, or one of another
    release than that digest."""
    values = document(plain, GATES)
    if HALVES not in values:
        return None
    found = values[HALVES]
    if not isinstance(found, str):
        raise FormatError(HALVES, f"found {shown(found)}, expected the text of a document")
    try:
        return halves.from_json(found.encode(errors="replace"), release)
    except FormatError as error:
        raise FormatError(HALVES, str(error)) from None


def unpack(packed: BinaryIO, plain: delta.Sink, *, digest: str, most_bytes: int = MOST_PLAIN_BYTES) -> None:
    """Writes the plain form. As `delta.apply`."""
    delta.apply(io.BytesIO(), packed, plain, digest=digest, most_bytes=most_bytes)


def _check(sizes: Mapping[str, int]) -> None:
    for name, most in MOST_BYTES.items():
        if sizes[name] > most:
            raise FormatError("", f"its {name} is {sizes[name]} bytes long, {most} at most are allowed")


def _no_constant(text: str) -> float:
    raise ValueError(f"{text} is no number of JSON")
