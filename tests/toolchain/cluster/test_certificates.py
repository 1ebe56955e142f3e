"""Certificates that the cluster's programs accept, and nobody else reads."""

import json
import ssl
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID
from toolchain.cluster import credentials
from toolchain.cluster.certificates import Authority, write_kubeconfig
from toolchain.cluster.plan import Folders, Node


def handshake(authority: Path, server: tuple[Path, Path], client: tuple[Path, Path], host: str) -> x509.Certificate:
    """Both sides check each other in memory; returns the client's certificate as the server sees it."""
    inner, outer = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=authority), ssl.create_default_context(cafile=authority)
    inner.verify_mode = ssl.CERT_REQUIRED
    inner.load_cert_chain(*server)
    outer.load_cert_chain(*client)
    pipes = ssl.MemoryBIO(), ssl.MemoryBIO()
    there = inner.wrap_bio(pipes[0], pipes[1], server_side=True)
    here = outer.wrap_bio(pipes[1], pipes[0], server_hostname=host)
    for side in (here, there, here, there):
        try:
            side.do_handshake()
        except ssl.SSLWantReadError:
            continue
    found = there.getpeercert(binary_form=True)
    assert found is not None
    return x509.load_der_x509_certificate(found)


def test_server_and_client_accept_each_other_and_the_client_has_its_groups(tmp_path: Path) -> None:
    authority = Authority.make(tmp_path, "ca")
    server = authority.sign("server", "server", hosts=("localhost", "127.0.0.1"))
    client = authority.sign("client", "system:node:n", groups=("system:nodes", "others"))
    for host in ("localhost", "127.0.0.1"):
        seen = handshake(authority.file, (server.certificate, server.key), (client.certificate, client.key), host)
    assert [each.value for each in seen.subject.get_attributes_for_oid(NameOID.COMMON_NAME)] == ["system:node:n"]
    assert [each.value for each in seen.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)] == ["system:nodes", "others"]


def test_a_server_is_refused_under_another_name_and_a_client_of_another_authority_too(tmp_path: Path) -> None:
    authority, other = Authority.make(tmp_path, "ca"), Authority.make(tmp_path, "other")
    server, client, foreign = authority.sign("server", "s", hosts=("localhost",)), authority.sign("client", "c"), other.sign("foreign", "c")
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(authority.file, (server.certificate, server.key), (client.certificate, client.key), "elsewhere")
    with pytest.raises(ssl.SSLError):
        handshake(authority.file, (server.certificate, server.key), (foreign.certificate, foreign.key), "localhost")


def test_a_client_s_certificate_can_not_be_used_by_a_server(tmp_path: Path) -> None:
    authority = Authority.make(tmp_path, "ca")
    client = authority.sign("client", "c")
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(authority.file, (client.certificate, client.key), (client.certificate, client.key), "localhost")


def test_every_secret_file_is_readable_by_its_owner_only(tmp_path: Path) -> None:
    folders = Folders(tmp_path)
    credentials.make(folders, [Node(1), Node(2)], "https://10.90.0.1:6443")
    credentials.write_administrator(folders, "https://127.0.0.1:1")
    files = [file for file in tmp_path.rglob("*") if file.is_file()]
    secret = {file.name for file in files if b"PRIVATE KEY" in file.read_bytes() or b"client-key-data" in file.read_bytes()}
    assert {"ca.key", "etcd.key", "service-accounts.key", "kubeconfig", "kubelet-node-2.kubeconfig"} <= secret
    assert {oct(file.stat().st_mode & 0o777) for file in files if file.name in secret} == {"0o600"}


def test_a_kubeconfig_holds_everything_itself(tmp_path: Path) -> None:
    authority = Authority.make(tmp_path, "ca")
    write_kubeconfig(tmp_path / "kubeconfig", "https://127.0.0.1:1", authority.file, authority.sign("client", "c"))
    content = json.loads((tmp_path / "kubeconfig").read_text())
    assert content["clusters"][0]["cluster"]["server"] == "https://127.0.0.1:1"
    assert str(tmp_path) not in json.dumps(content)
