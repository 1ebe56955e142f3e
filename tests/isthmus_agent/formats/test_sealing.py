"""Sealed contents: opened by their secret alone, in memory and from file to file, and as the description says."""

import io
from dataclasses import replace
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isthmus_agent.formats import sealing
from isthmus_agent.formats.numbers import FormatError
from isthmus_agent.formats.sealing import PIECE_BYTES, Kind

SECRET = bytes(range(32))
NONCE = bytes(range(100, 116))
KIND = Kind(b"isthmus-test-1\n", b"isthmus-test", 1 << 20, "it is not what was sealed")
ENDS = [b"", b"isthmus", bytes(PIECE_BYTES), bytes(range(256)) * (PIECE_BYTES // 256) + b"and one more piece"]


def seal(content: bytes, secret: bytes = SECRET, nonce: bytes = NONCE, kind: Kind = KIND) -> bytes:
    into = io.BytesIO()
    sealing.seal(kind, secret, io.BytesIO(content), into, nonce)
    return into.getvalue()


def unseal(content: bytes, secret: bytes = SECRET, kind: Kind = KIND) -> bytes:
    into = io.BytesIO()
    try:
        into.write(sealing.opened(kind, secret, io.BytesIO(content)).read())
    except FormatError:
        assert not into.getvalue(), "something was written before the tag was checked"
        raise
    return into.getvalue()


@given(st.sampled_from(ENDS), st.binary(max_size=100), st.binary(min_size=32, max_size=32))
def test_what_is_unsealed_from_a_file_is_what_was_sealed_and_no_bytes_of_it_are_in_the_object(start, rest, secret):
    content = start + rest
    nonce = sealing.nonce_of(KIND, secret, io.BytesIO(content))
    found = seal(content, secret, nonce)
    assert unseal(found, secret) == content
    assert len(found) == len(content) + KIND.more_bytes
    assert len(content) < 16 or content[:16] not in found


@given(st.binary(max_size=200), st.binary(max_size=200))
def test_the_same_content_makes_the_same_object_and_another_one_another_nonce(one, other):
    nonces = [sealing.nonce_of(KIND, SECRET, io.BytesIO(it)) for it in (one, other)]
    assert (nonces[0] == nonces[1]) == (one == other)


@given(st.integers(0), st.sampled_from([1, 128]), st.booleans())
def test_a_large_object_that_was_changed_or_cut_anywhere_is_refused_before_a_byte_is_written(at, bit, is_cut):
    found = seal(ENDS[-1])
    at %= len(found)
    wrong = found[:at] if is_cut else found[:at] + bytes([found[at] ^ bit]) + found[at + 1 :]
    with pytest.raises(FormatError, match="not what was sealed"):
        unseal(wrong)


def test_another_secret_another_kind_and_what_is_larger_than_allowed_are_refused():
    found = seal(b"content")
    others = [replace(KIND, salt=b"other"), replace(KIND, magic=b"isthmus-test-2\n"), replace(KIND, most_bytes=len(found) - 1)]
    for attempt in [
        lambda: unseal(found, SECRET[::-1]),
        lambda: unseal(found + b"\0"),
        *(lambda kind=it: unseal(found, kind=kind) for it in others),
    ]:
        with pytest.raises(FormatError, match="not what was sealed"):
            attempt()


def test_the_construction_for_files_is_that_of_its_description():
    """Written again from the page, with another library's HKDF, HMAC and SHAKE-256."""
    from cryptography.hazmat.primitives.hashes import SHA256, SHAKE256, Hash
    from cryptography.hazmat.primitives.hmac import HMAC
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    def derived(purpose: bytes) -> bytes:
        return HKDF(SHA256(), 32, KIND.salt, purpose).derive(SECRET)

    def mac(key: bytes, content: bytes) -> bytes:
        found = HMAC(key, SHA256())
        found.update(content)
        return found.finalize()

    def stream(counter: int) -> bytes:
        found = Hash(SHAKE256(64 * 1024))
        found.update(derived(b"encrypt") + NONCE + counter.to_bytes(8, "big"))
        return found.finalize()

    content = ENDS[-1]
    wanted = KIND.magic + NONCE + bytes(a ^ b for a, b in zip(content, stream(0) + stream(1), strict=False))
    assert seal(content) == wanted + mac(derived(b"authenticate"), wanted)
    assert sealing.nonce_of(KIND, SECRET, io.BytesIO(content)) == mac(derived(b"nonce"), content)[:16]


def test_the_vectors_for_files_stay():
    """Devices of one version open what operators of another have sealed."""
    start = len(KIND.magic) + 16
    assert [seal(it)[start:].hex() for it in ENDS[:2]] == [
        "b18bec6f6753970178cfd730af4e3ee7a632f23f06c424a3211b8cceba3da727",
        "30b064c94375a2dc14dddea5f4947447786bdb4591d9f4f264ca92d27c0d92fbb73f5eef2df3ea",
    ]
    assert [sha256(seal(it)).hexdigest() for it in ENDS[2:]] == [
        "522491789c832d8a4bf1971e6b1ec2a9aa00936ace106fbbbfe7a97284af7dfb",
        "3c234e0dc9cae6b5791d279771951f2f8b556f5d37eb0c0c3a4ebdc6b55d4a5f",
    ]
