import base64
import json

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from hypothesis import given
from hypothesis import strategies as st

from isthmus.errors import InputError, IntegrityError
from isthmus.release import signing

KEYS = signing.generate_key()
OTHER = signing.generate_key()
TYPE = "application/vnd.isthmus.test+json"


def read_without_verifying(envelope: bytes) -> bytes:
    """What a careless reader does: the negative control of the tests below."""
    return base64.b64decode(json.loads(envelope)["payload"])


@given(st.binary(max_size=200))
def test_what_was_signed_is_read_back(payload: bytes) -> None:
    assert signing.verify(signing.sign(TYPE, payload, KEYS.private_pem), TYPE, KEYS.public_pem) == payload


@given(st.binary(min_size=1, max_size=60), st.data())
def test_any_changed_byte_is_refused(payload: bytes, data: st.DataObject) -> None:
    envelope = bytearray(signing.sign(TYPE, payload, KEYS.private_pem))
    index = data.draw(st.integers(0, len(envelope) - 1))
    envelope[index] ^= data.draw(st.integers(1, 255))
    with pytest.raises(IntegrityError):
        signing.verify(bytes(envelope), TYPE, KEYS.public_pem)


def test_a_changed_payload_passes_a_reader_that_does_not_verify_and_is_refused_by_verify() -> None:
    document = json.loads(signing.sign(TYPE, b"serve release 1", KEYS.private_pem))
    document["payload"] = base64.b64encode(b"serve release 2").decode()
    forged = json.dumps(document, sort_keys=True, separators=(",", ":")).encode()
    assert read_without_verifying(forged) == b"serve release 2"
    with pytest.raises(IntegrityError, match="wrong signature"):
        signing.verify(forged, TYPE, KEYS.public_pem)


@pytest.mark.parametrize("end", [b" ", b"\n", b"x", b"{}"])
def test_anything_added_is_refused(end: bytes) -> None:
    with pytest.raises(IntegrityError):
        signing.verify(signing.sign(TYPE, b"payload", KEYS.private_pem) + end, TYPE, KEYS.public_pem)


def test_another_key_is_refused() -> None:
    with pytest.raises(IntegrityError, match="wrong signature"):
        signing.verify(signing.sign(TYPE, b"payload", OTHER.private_pem), TYPE, KEYS.public_pem)


def test_another_key_that_claims_the_trusted_one_s_name_is_refused() -> None:
    document = json.loads(signing.sign(TYPE, b"payload", OTHER.private_pem))
    document["signatures"][0]["keyid"] = signing.key_id(KEYS.public_pem)
    with pytest.raises(IntegrityError, match="wrong signature"):
        signing.verify(json.dumps(document, sort_keys=True, separators=(",", ":")).encode(), TYPE, KEYS.public_pem)


def test_a_document_of_another_type_is_refused() -> None:
    with pytest.raises(IntegrityError, match="of type"):
        signing.verify(signing.sign("another/type", b"payload", KEYS.private_pem), TYPE, KEYS.public_pem)


@given(
    st.one_of(
        st.binary(max_size=100),
        st.recursive(st.none() | st.integers() | st.text(max_size=5), st.lists).map(lambda v: json.dumps(v).encode()),
    )
)
def test_what_is_no_envelope_is_refused(envelope: bytes) -> None:
    with pytest.raises(IntegrityError):
        signing.verify(envelope, TYPE, KEYS.public_pem)


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"payload": "", "payloadType": TYPE, "signatures": []},
        {"payload": "", "payloadType": TYPE, "signatures": [{"keyid": "a"}]},
        {"payload": 1, "payloadType": TYPE, "signatures": "a"},
        {"payload": "é", "payloadType": None, "signatures": {}},
    ],
)
def test_an_envelope_without_a_signature_is_refused(document: object) -> None:
    with pytest.raises(IntegrityError):
        signing.verify(json.dumps(document, sort_keys=True, separators=(",", ":")).encode(), TYPE, KEYS.public_pem)


def test_the_public_half_of_a_key_is_found_again() -> None:
    assert signing.public_key(KEYS.private_pem) == KEYS.public_pem
    assert signing.key_id(KEYS.public_pem) != signing.key_id(OTHER.public_pem)


def test_a_wrong_key_is_named_and_not_shown() -> None:
    rsa = generate_private_key(65537, 2048).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    for wrong in ("my secret", rsa, KEYS.public_pem):
        with pytest.raises(InputError, match="private_key: cannot be read as an ed25519 key") as caught:
            signing.sign(TYPE, b"", wrong)
        assert wrong.strip() not in str(caught.value)
    for wrong in ("", KEYS.private_pem):
        with pytest.raises(InputError, match="public_key"):
            signing.verify(b"", TYPE, wrong)


def test_a_private_key_is_not_in_the_repr() -> None:
    assert "PRIVATE" not in repr(KEYS)
