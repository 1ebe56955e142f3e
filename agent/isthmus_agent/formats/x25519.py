"""X25519 (RFC 7748) in whole numbers: devices have the standard library, and no library of ciphers.

Not in constant time: how long it takes tells something of the private key to who can time it exactly and often. A device uses each of its
private keys once, for one batch of samples, at a moment of its own choice and on its owner's machine, so that there is nothing to time
twice. Whoever keeps a private key opens with the library `cryptography` instead (`isthmus.repository.sampling`).
"""

from typing import Final

KEY_BYTES: Final = 32
BASE: Final = (9).to_bytes(KEY_BYTES, "little")
_PRIME: Final = 2**255 - 19
_A24: Final = 121665


def public_of(private: bytes) -> bytes:
    """The public half of a private key."""
    return shared(private, BASE)


def shared(private: bytes, public: bytes) -> bytes:
    """What two key pairs have in common: 32 bytes, of one's private and the other's public half. All are 0 for a public half that is none:
    the caller refuses that."""
    scalar = int.from_bytes(private, "little") & ~(7 | 1 << 255) | 1 << 254
    return _ladder(scalar, int.from_bytes(public, "little") & (1 << 255) - 1).to_bytes(KEY_BYTES, "little")


def _ladder(scalar: int, u: int) -> int:
    """Montgomery's ladder, step by step and named as in section 5 of the RFC."""
    x1, x2, z2, x3, z3, swap = u % _PRIME, 1, 0, u % _PRIME, 1, 0
    for t in reversed(range(255)):
        bit = scalar >> t & 1
        if swap != bit:
            x2, x3, z2, z3 = x3, x2, z3, z2
        swap = bit
        a, b, c, d = x2 + z2, x2 - z2, x3 + z3, x3 - z3
        aa, bb, da, cb = a * a % _PRIME, b * b % _PRIME, d * a % _PRIME, c * b % _PRIME
        e = aa - bb
        x3, z3 = (da + cb) ** 2 % _PRIME, x1 * (da - cb) ** 2 % _PRIME
        x2, z2 = aa * bb % _PRIME, e * (aa + _A24 * e) % _PRIME
    if swap:
        x2, z2 = x3, z3
    return x2 * pow(z2, _PRIME - 2, _PRIME) % _PRIME
