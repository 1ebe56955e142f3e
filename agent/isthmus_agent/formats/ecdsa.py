"""Signatures by ECDSA on NIST's curves P-256 and P-384, verified: what services and tokens that keep keys can make.

A device has no library for it. Nothing here is secret, so nothing hides how long it takes: some milliseconds.
"""

import base64
import binascii
import hashlib
from dataclasses import dataclass
from typing import Final

_HEAD, _END = "-----BEGIN PUBLIC KEY-----", "-----END PUBLIC KEY-----"
_MOST_PEM_CHARACTERS: Final = 1024
_Point = tuple[int, int, int]  # Jacobian; z = 0: the point at infinity
_NOWHERE: Final = (1, 1, 0)


class KeyFormatError(ValueError):
    """No public key of the curve."""


@dataclass(frozen=True)
class Curve:
    """y² = x³ − 3x + b modulo a prime. base: x and y of the generator, of that order. head: of a public key in DER, before x and y.

    digest: a hash as long as the order, by its name.
    """

    prime: int
    b: int
    base: tuple[int, int]
    order: int
    head: bytes
    digest: str

    @property
    def size(self) -> int:
        """Bytes of a number below the prime."""
        return (self.prime.bit_length() + 7) // 8


CURVES: Final = {
    "ecdsa-sha2-nistp256": Curve(
        prime=2**256 - 2**224 + 2**192 + 2**96 - 1,
        b=0x5AC635D8AA3A93E7B3EBBD55769886BC651D06B0CC53B0F63BCE3C3E27D2604B,
        base=(
            0x6B17D1F2E12C4247F8BCE6E563A440F277037D812DEB33A0F4A13945D898C296,
            0x4FE342E2FE1A7F9B8EE7EB4A7C0F9E162BCE33576B315ECECBB6406837BF51F5,
        ),
        order=0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551,
        head=bytes.fromhex("3059301306072a8648ce3d020106082a8648ce3d03010703420004"),
        digest="sha256",
    ),
    "ecdsa-sha2-nistp384": Curve(
        prime=2**384 - 2**128 - 2**96 + 2**32 - 1,
        b=0xB3312FA7E23EE7E4988E056BE3F82D19181D9C6EFE8141120314088F5013875AC656398D8A2ED19D2A85C8EDD3EC2AEF,
        base=(
            0xAA87CA22BE8B05378EB1C71EF320AD746E1D3B628BA79B9859F741E082542A385502F25DBF55296C3A545E3872760AB7,
            0x3617DE4A96262C6F5D9E98BF9292DC29F8F41DBD289A147CE9DA3113B5F0B8C00A60B1CE1D7E819D7A431D7C90EA0E5F,
        ),
        order=0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFC7634D81F4372DDF581A0DB248B0A77AECEC196ACCC52973,
        head=bytes.fromhex("3076301006072a8648ce3d020106052b8104002203620004"),
        digest="sha384",
    ),
}
"""By the names that TUF has for the schemes."""


def is_signed(scheme: str, public_pem: str, signature: bytes, data: bytes) -> bool:
    """Whether a signature (DER) is of the data.

    Raises KeyFormatError where the public key is none of the scheme, KeyError for another scheme.
    """
    curve = CURVES[scheme]
    public = _point(curve, public_pem)
    numbers = _numbers(signature)
    if numbers is None or not all(0 < it < curve.order for it in numbers):
        return False
    r, s = numbers
    inverse = pow(s, -1, curve.order)
    said = int.from_bytes(hashlib.new(curve.digest, data).digest(), "big")
    x, _, z = _sum(curve, said * inverse % curve.order, r * inverse % curve.order, public)
    return z != 0 and x * pow(z, -2, curve.prime) % curve.prime % curve.order == r


def _point(curve: Curve, pem: str) -> _Point:
    lines = pem.strip()[:_MOST_PEM_CHARACTERS].splitlines()
    if len(lines) < 2 or (lines[0], lines[-1]) != (_HEAD, _END):
        raise KeyFormatError("no public key in PEM")
    try:
        der = base64.b64decode("".join(lines[1:-1]), validate=True)
    except (binascii.Error, ValueError):
        raise KeyFormatError("no public key in PEM") from None
    numbers = der[len(curve.head) :]
    if not der.startswith(curve.head) or len(numbers) != 2 * curve.size:
        raise KeyFormatError("a public key of another kind")
    x, y = int.from_bytes(numbers[: curve.size], "big"), int.from_bytes(numbers[curve.size :], "big")
    if max(x, y) >= curve.prime or (y * y - (x * x * x - 3 * x + curve.b)) % curve.prime:
        raise KeyFormatError("no point of the curve")
    return x, y, 1  # of its order: both curves have no others


def _numbers(signature: bytes) -> tuple[int, int] | None:
    """Both numbers, where they are written in the one way that DER has for them."""
    if len(signature) < 8 or signature[0] != 0x30 or signature[1] != len(signature) - 2 or signature[1] >= 0x80:
        return None
    found, rest = [], signature[2:]
    for _ in range(2):
        if len(rest) < 3 or rest[0] != 2 or not 0 < rest[1] <= len(rest) - 2:
            return None
        number, rest = rest[2 : 2 + rest[1]], rest[2 + rest[1] :]
        is_padded = len(number) > 1 and number[0] == 0 and number[1] < 0x80
        if number[0] >= 0x80 or is_padded:
            return None
        found.append(int.from_bytes(number, "big"))
    return None if rest else (found[0], found[1])


def _sum(curve: Curve, of_base: int, of_public: int, public: _Point) -> _Point:
    """So many times the base, and so many times the public key."""
    base = (*curve.base, 1)
    addends = (_NOWHERE, base, public, _add(curve, base, public))
    found: _Point = _NOWHERE
    for bit in range(curve.order.bit_length() - 1, -1, -1):
        found = _add(curve, _double(curve, found), addends[(of_base >> bit & 1) + 2 * (of_public >> bit & 1)])
    return found


def _double(curve: Curve, point: _Point) -> _Point:
    x, y, z = point
    prime = curve.prime
    delta, gamma = z * z % prime, y * y % prime
    beta, alpha = x * gamma % prime, 3 * (x - delta) * (x + delta) % prime
    new_x = (alpha * alpha - 8 * beta) % prime
    return new_x, (alpha * (4 * beta - new_x) - 8 * gamma * gamma) % prime, 2 * y * z % prime


def _add(curve: Curve, one: _Point, other: _Point) -> _Point:
    (x1, y1, z1), (x2, y2, z2), prime = one, other, curve.prime
    if not z1 or not z2:
        return other if not z1 else one
    u1, u2 = x1 * z2 * z2 % prime, x2 * z1 * z1 % prime
    s1, s2 = y1 * z2 * z2 * z2 % prime, y2 * z1 * z1 * z1 % prime
    h, r = (u2 - u1) % prime, (s2 - s1) % prime
    if not h:
        return _NOWHERE if r else _double(curve, one)
    h2 = h * h % prime
    h3, v = h * h2 % prime, u1 * h2 % prime
    x = (r * r - h3 - 2 * v) % prime
    return x, (r * (v - x) - s1 * h3) % prime, h * z1 * z2 % prime
