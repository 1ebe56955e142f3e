"""X25519 of the standard library: the RFC's vectors, and the same as another library's."""

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from hypothesis import given, settings
from hypothesis import strategies as st

from isthmus_agent.formats import x25519

KEYS = st.binary(min_size=32, max_size=32)


@pytest.mark.parametrize(
    ("scalar", "u", "found"),
    [
        (
            "a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4",
            "e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c",
            "c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552",
        ),
        (
            "4b66e9d4d1b4673c5ad22691957d6af5c11b6421e0ea01d42ca4169e7918ba0d",
            "e5210f12786811d3f4b7959d0538ae2c31dbe7106fc03c3efc4cd549c715a493",  # its highest bit counts for nothing
            "95cbde9476e8907d7aade45cb4b873f88b595a68799fa152e6f8f7647aac7957",
        ),
    ],
)
def test_the_vectors_of_rfc_7748(scalar: str, u: str, found: str):
    assert x25519.shared(bytes.fromhex(scalar), bytes.fromhex(u)).hex() == found


def test_the_iterated_vector_of_rfc_7748_after_one_round():
    assert x25519.shared(x25519.BASE, x25519.BASE).hex() == "422c8e7a6227d7bca1350b3e2bb7279f7897b87bb6854b783c60e80311ae3079"


@settings(max_examples=5)
@given(KEYS, KEYS)
def test_it_is_what_another_library_makes(ours: bytes, theirs: bytes):
    private = X25519PrivateKey.from_private_bytes(theirs)
    public = private.public_key().public_bytes_raw()
    assert x25519.public_of(theirs) == public
    assert x25519.shared(ours, public) == private.exchange(X25519PublicKey.from_public_bytes(x25519.public_of(ours)))


@pytest.mark.parametrize("point", [0, 1, 2**255 - 19, 2**255 - 18, 2**255 - 20])
def test_a_point_of_small_order_has_nothing_in_common_with_anybody(point: int):
    assert x25519.shared(b"k" * 32, point.to_bytes(32, "little")) == bytes(32)
