"""Certificates by which the programs of one machine know each other."""

import ipaddress
from dataclasses import dataclass, field
from datetime import UTC, datetime

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from isthmus.provider.local.ports import HOST

# RFC 5280's way to say that it has no end: it is replaced with what it belongs to, and nobody would renew it in between.
_NEVER = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
# Clocks may be set back.
_ALWAYS = datetime(2020, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Certificate:
    """PEM. certificate_pem is its own authority."""

    certificate_pem: str
    private_pem: str = field(repr=False)
    serial_number: int


def for_loopback() -> Certificate:
    """A new certificate for 127.0.0.1, for servers and clients."""
    key = generate_private_key(SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "isthmus")])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(_ALWAYS)
        .not_valid_after(_NEVER)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(HOST))]), critical=False)
        .sign(key, SHA256())
    )
    private_pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    return Certificate(made.public_bytes(Encoding.PEM).decode(), private_pem, made.serial_number)
