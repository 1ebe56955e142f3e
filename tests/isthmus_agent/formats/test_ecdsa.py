"""ECDSA as devices verify it: what another library signed, and nothing else."""

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, utils
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from isthmus_agent.formats.ecdsa import CURVES, KeyFormatError, is_signed

KINDS = {"ecdsa-sha2-nistp256": (ec.SECP256R1(), hashes.SHA256()), "ecdsa-sha2-nistp384": (ec.SECP384R1(), hashes.SHA384())}
pem_of = lambda key: key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()  # noqa: E731


@pytest.mark.parametrize("scheme", CURVES)
def test_what_another_library_signed_is_verified_and_nothing_else(scheme: str):
    curve, digest = KINDS[scheme]
    order = CURVES[scheme].order
    # The first, the last and the second key: sums of a point with itself, and with its negative.
    for key in (*(ec.derive_private_key(it, curve) for it in (1, order - 1, 2)), ec.generate_private_key(curve)):
        pem, signature = pem_of(key), key.sign(b"said", ec.ECDSA(digest))
        assert is_signed(scheme, pem, signature, b"said")
        assert not is_signed(scheme, pem, signature, b"Said")
        assert not is_signed(scheme, pem_of(ec.generate_private_key(curve)), signature, b"said")
        r, s = utils.decode_dss_signature(signature)
        assert is_signed(scheme, pem, utils.encode_dss_signature(r, order - s), b"said")  # ECDSA's own: both are valid
        for wrong in ((r, s ^ 1), (0, s), (r, 0), (0, 0), (order, s), (r, order), (r + order, s), (r, s + order)):
            assert not is_signed(scheme, pem, utils.encode_dss_signature(*wrong), b"said")


@pytest.mark.parametrize(
    "change",
    [
        lambda it: b"",
        lambda it: it[:-1],
        lambda it: it + b"\0",
        lambda it: b"\x31" + it[1:],
        lambda it: bytes([0x30, 0x81]) + it[1:],
        lambda it: bytes([0x30, it[1] + 1, 2, it[3] + 1, 0]) + it[4:],  # a zero before a number that needs none
        lambda it: it[:2] + b"\x03" + it[3:],
        lambda it: it[:3] + bytes([it[3] + 90]) + it[4:],
        lambda it: it[:3] + b"\0" + it[4:],
    ],
)
def test_a_signature_is_written_in_one_way(change):
    key = ec.derive_private_key(7, ec.SECP256R1())
    signature = b""
    while not signature or signature[3] == 33:  # until the first number needs no zero before it
        signature = key.sign(b"said", ec.ECDSA(hashes.SHA256()))
    assert is_signed("ecdsa-sha2-nistp256", pem_of(key), signature, b"said")
    assert not is_signed("ecdsa-sha2-nistp256", pem_of(key), change(signature), b"said")


def test_what_is_no_key_of_the_curve_is_none():
    pem = pem_of(ec.derive_private_key(7, ec.SECP256R1()))
    bent = "\n".join([*pem.splitlines()[:2], "A" * 36 + "AA==", pem.splitlines()[-1]])
    for wrong in ("", "x", pem[:-30], pem.replace("MFkw", "MFk!"), pem_of(ec.derive_private_key(7, ec.SECP384R1())), bent, pem * 20):
        with pytest.raises(KeyFormatError):
            is_signed("ecdsa-sha2-nistp256", wrong, b"", b"said")
