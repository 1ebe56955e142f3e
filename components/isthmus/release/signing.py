"""Signatures: ed25519 over DSSE envelopes (github.com/secure-systems-lab/dsse).

A DSSE signature covers the payload's type as well as its bytes, so that a signed document of one kind can never be
passed off as another. `verify(sign(kind, payload, private), kind, public) == payload`, and nothing else verifies: an
envelope has exactly one spelling (canonical JSON, canonical base64), so any changed byte is refused.
"""

import json
from dataclasses import dataclass, field

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)
from securesystemslib.dsse import Envelope
from securesystemslib.exceptions import FormatError, VerificationError
from securesystemslib.signer import CryptoSigner, SSlibKey

from isthmus.errors import InputError, IntegrityError, Problem


@dataclass(frozen=True)
class KeyPair:
    """PEM: PKCS#8 and SubjectPublicKeyInfo."""

    private_pem: str = field(repr=False)
    public_pem: str


def generate_key() -> KeyPair:
    """A new ed25519 key pair."""
    key = Ed25519PrivateKey.generate()
    private_pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    return KeyPair(private_pem, _public_pem(key))


def sign(payload_type: str, payload: bytes, private_pem: str) -> bytes:
    """A DSSE envelope in canonical JSON. Raises InputError where private_pem is no ed25519 private key."""
    envelope = Envelope(payload, payload_type, {})
    envelope.sign(CryptoSigner(_private_key(private_pem)))
    return _to_bytes(envelope)


def verify(envelope: bytes, payload_type: str, public_pem: str) -> bytes:
    """The payload of an envelope that public_pem's owner signed as payload_type.

    Raises IntegrityError where it is no envelope, of another type, or not signed by that key, and InputError where
    public_pem is no ed25519 public key.
    """
    key = _public_key(public_pem)
    parsed = _envelope(envelope)
    if parsed.payload_type != payload_type:
        raise IntegrityError(f"the signed document is of type {parsed.payload_type!r}, not {payload_type!r}")
    try:
        parsed.verify([key], threshold=1)
    except VerificationError as error:
        raise IntegrityError(f"wrong signature: not signed by the trusted key {key.keyid[:12]}…, or changed afterwards") from error
    return bytes(parsed.payload)


def unverified_payload(envelope: bytes) -> bytes:
    """What anybody may have written: for messages about it, never to act on. Raises IntegrityError where it is no envelope."""
    return bytes(_envelope(envelope).payload)


def _envelope(envelope: bytes) -> Envelope:
    try:
        parsed = Envelope.from_dict(json.loads(envelope))
        spelled = _to_bytes(parsed)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, FormatError) as error:
        raise IntegrityError(f"not a signed envelope ({type(error).__name__})") from error
    if spelled != envelope:
        raise IntegrityError("the signed envelope is not in canonical form: it was changed after it was signed")
    return parsed


def public_key(private_pem: str) -> str:
    """The public half (PEM) of a private key."""
    return _public_pem(_private_key(private_pem))


def key_id(public_pem: str) -> str:
    """A short fingerprint of a public key (hex), the same for every spelling of its PEM."""
    return str(_public_key(public_pem).keyid)


def _to_bytes(envelope: Envelope) -> bytes:
    return json.dumps(envelope.to_dict(), sort_keys=True, separators=(",", ":")).encode()


def _private_key(private_pem: str) -> Ed25519PrivateKey:
    try:
        key = load_pem_private_key(private_pem.encode(), None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        # `from None`: what was given may be the secret itself, with a typing error.
        raise _wrong_key("private_key", type(error).__name__) from None
    if not isinstance(key, Ed25519PrivateKey):
        raise _wrong_key("private_key", type(key).__name__)
    return key


def _public_pem(key: Ed25519PrivateKey) -> str:
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def _public_key(public_pem: str) -> SSlibKey:
    try:
        key = load_pem_public_key(public_pem.encode())
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise _wrong_key("public_key", type(error).__name__) from None
    if not isinstance(key, Ed25519PublicKey):
        raise _wrong_key("public_key", type(key).__name__)
    return SSlibKey.from_crypto(key)


def _wrong_key(path: str, found: str) -> InputError:
    return InputError([Problem(path, f"cannot be read as an ed25519 key in PEM ({found})", "a PEM block of an ed25519 key")])
