"""The cluster's own certificate authorities, the certificates that they sign, and the files of clients (kubeconfig)."""

import ipaddress
import json
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from toolchain.prepare.steps import replace_file

VALID = timedelta(days=365)
SKEW = timedelta(hours=1)
USAGES = [ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH]


@dataclass(frozen=True)
class Pair:
    """A certificate and its private key, both as PEM files."""

    certificate: Path
    key: Path


@dataclass(frozen=True)
class Authority:
    """Signs certificates; its own pair lies in the folder `folder`."""

    folder: Path
    name: str
    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate

    @property
    def file(self) -> Path:
        """The certificate that others trust."""
        return self.folder / f"{self.name}.crt"

    @classmethod
    def make(cls, folder: Path, name: str) -> "Authority":
        """A new one, with its files `NAME.crt` and `NAME.key`."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = _name(name, [])
        usage = x509.KeyUsage(
            digital_signature=True, key_cert_sign=True, crl_sign=True, content_commitment=False,
            key_encipherment=False, data_encipherment=False, key_agreement=False, encipher_only=False, decipher_only=False,
        )  # fmt: skip
        certificate = (
            _builder(subject, subject, key.public_key())
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(usage, critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .sign(key, hashes.SHA256())
        )
        _write(Pair(folder / f"{name}.crt", folder / f"{name}.key"), certificate, key)
        return cls(folder, name, key, certificate)

    def sign(self, name: str, user: str, *, groups: Sequence[str] = (), hosts: Sequence[str] = ()) -> Pair:
        """A pair in the files `NAME.crt` and `NAME.key`, for a client `user` of `groups` and a server at `hosts` (names and addresses)."""
        key = ec.generate_private_key(ec.SECP256R1())
        builder = (
            _builder(_name(user, groups), self.certificate.subject, key.public_key())
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.ExtendedKeyUsage(USAGES if hosts else USAGES[:1]), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), critical=False)
        )
        if hosts:
            builder = builder.add_extension(x509.SubjectAlternativeName([_alternative(host) for host in hosts]), critical=False)
        pair = Pair(self.folder / f"{name}.crt", self.folder / f"{name}.key")
        _write(pair, builder.sign(self.key, hashes.SHA256()), key)
        return pair


def write_signing_key(file: Path) -> None:
    """A key pair for the tokens of service accounts: the private key in `file`, the public one beside it with `.pub`."""
    key = ec.generate_private_key(ec.SECP256R1())
    replace_file(file, _private(key), 0o600)
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    replace_file(file.with_name(f"{file.name}.pub"), public)


def write_kubeconfig(file: Path, server: str, authority: Path, client: Pair, name: str = "isthmus") -> None:
    """A kubeconfig with everything inside, readable by its owner only. JSON is YAML, too."""

    def data(path: Path) -> str:
        return b64encode(path.read_bytes()).decode("ascii")

    user = {"client-certificate-data": data(client.certificate), "client-key-data": data(client.key)}
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": name,
        "clusters": [{"name": name, "cluster": {"server": server, "certificate-authority-data": data(authority)}}],
        "users": [{"name": name, "user": user}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
    }
    replace_file(file, json.dumps(content, indent=1).encode("ascii"), 0o600)


def _builder(subject: x509.Name, issuer: x509.Name, public_key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(public_key)
    return builder.serial_number(x509.random_serial_number()).not_valid_before(now - SKEW).not_valid_after(now + VALID)


def _name(user: str, groups: Sequence[str]) -> x509.Name:
    organisations = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in groups]
    return x509.Name([*organisations, x509.NameAttribute(NameOID.COMMON_NAME, user)])


def _alternative(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _private(key: ec.EllipticCurvePrivateKey) -> bytes:
    # The traditional form: Kubernetes reads its signing keys in this one, too.
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption())


def _write(pair: Pair, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> None:
    replace_file(pair.key, _private(key), 0o600)
    replace_file(pair.certificate, certificate.public_bytes(serialization.Encoding.PEM))
