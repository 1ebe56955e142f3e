"""Tokens and sealed objects: read as they were written, opened by their secret alone, and refused when anything of them was changed."""

import hashlib
import json
import zlib
from dataclasses import fields, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isthmus_agent.formats import enrolment, sealing
from isthmus_agent.formats.enrolment import Enrolment, Token
from isthmus_agent.formats.numbers import FormatError

SECRET = bytes(range(32))
NONCE = bytes(range(100, 116))
URLS = [f"https://s3.test/bucket/edge/enrol/{name}?X-Amz-Signature={name * 8}" for name in ("seal", "gone", "mine", "ours")]
TOKEN = Token("cameras", "camera-1", 1_800_000_000, "ab" * 32, SECRET, *URLS)
ENROLMENT = Enrolment(
    *("cameras", "camera-1", "small", {"site": "a b"}, 3, "https://s3.test/bucket/edge/", "eu-west-1", "ISTHKEY", "the+secret/key"),
    *(b"r" * 32, b'{"signed": {}}'),
)


def test_what_is_read_is_what_was_written():
    assert enrolment.token_from(f"  {TOKEN.text()}\n") == TOKEN
    assert enrolment.enrolment_from(ENROLMENT.to_json()) == ENROLMENT
    with_key = replace(ENROLMENT, content_key=b"c" * 32)
    assert enrolment.enrolment_from(with_key.to_json()) == with_key
    assert b"content_key" not in ENROLMENT.to_json(), "enrolments of before there were content keys are read"


@given(st.binary(max_size=300), st.binary(min_size=32, max_size=32), st.binary(min_size=16, max_size=16))
def test_what_is_unsealed_is_what_was_sealed(content, secret, nonce):
    assert sealing.unsealed(enrolment.SEALED, secret, sealing.sealed(enrolment.SEALED, secret, content, nonce)) == content


def test_what_was_sealed_and_changed_anywhere_is_refused():
    sealed = sealing.sealed(enrolment.SEALED, SECRET, b"content of some length, more than a block of 32", NONCE)
    changed = [sealed[:at] + bytes([sealed[at] ^ bit]) + sealed[at + 1 :] for at in range(len(sealed)) for bit in (1, 128)]
    cut = [sealed[:at] for at in range(len(sealed))]
    for wrong in [*changed, *cut, sealed + b"\0", b"\0" + sealed]:
        with pytest.raises(FormatError, match="not what the operator has put there"):
            sealing.unsealed(enrolment.SEALED, SECRET, wrong)
    with pytest.raises(FormatError, match="not what the operator has put there"):
        sealing.unsealed(enrolment.SEALED, SECRET[::-1], sealed)


def test_the_construction_is_that_of_its_description():
    """Written again from the page, with another library's HKDF and HMAC."""
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.hmac import HMAC
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    def derived(purpose: bytes) -> bytes:
        return HKDF(SHA256(), 32, b"isthmus-enrolment", purpose).derive(SECRET)

    def mac(key: bytes, content: bytes) -> bytes:
        found = HMAC(key, SHA256())
        found.update(content)
        return found.finalize()

    content = bytes(range(77))
    stream = b"".join(mac(derived(b"encrypt"), NONCE + counter.to_bytes(8, "big")) for counter in range(3))
    wanted = b"isthmus-sealed-1\n" + NONCE + bytes(a ^ b for a, b in zip(content, stream, strict=False))
    assert sealing.sealed(enrolment.SEALED, SECRET, content, NONCE) == wanted + mac(derived(b"authenticate"), wanted)
    assert enrolment.claim(SECRET, NONCE) == derived(b"claim") + NONCE
    assert enrolment.claim_of(SECRET) == hashlib.sha256(derived(b"claim")).hexdigest()


def test_the_vectors_stay():
    """Devices of one version open what operators of another have sealed."""
    vectors = {
        b"": "611e5e38c3da304fef238e3fcba34efc03bfeb0eb6945fb286df72263754f1f1",
        b"isthmus": "80289a11b3d6b04f2331184574a19985a29b7b00d8cf957f614b0884df3d618f3df2523c268b33",
        bytes(64): "e95bee79dea3c30382231f54dfa50c3a266c432b4d04bafef1793f37672d1cd3a131c83c5d0b1b42d80eb7bf0fad1d80"
        "56c1b2d22547afc4f85064318ae0ed3d21061d95e5809a56c8fca18150cacb38119246369b52f5e834bb971a1b0cd0b4",
    }
    assert {content: sealing.sealed(enrolment.SEALED, SECRET, content, NONCE)[33:].hex() for content in vectors} == vectors
    assert enrolment.claim_of(SECRET) == "fbe37820f0eff83a36e67468862bac76d1f7c8698cb048ca3a1503120cf9a0e4"


def test_a_claim_is_known_by_who_gave_the_token():
    name = enrolment.claim_of(SECRET)
    assert enrolment.is_claim(enrolment.claim(SECRET, NONCE), name)
    assert not enrolment.is_claim(enrolment.claim(SECRET, NONCE)[:-1], name)
    assert not enrolment.is_claim(enrolment.claim(NONCE * 2, NONCE), name)


def test_no_secret_is_in_what_is_printed():
    shown = repr(TOKEN) + repr(ENROLMENT)
    secrets = [str(SECRET), SECRET.hex(), "the+secret/key", "rrrr", *URLS]
    assert not [it for it in secrets if it in shown]


def _packed(**changes: object) -> str:
    text = TOKEN.text().removeprefix("isthmus-enrol-1.")
    value = json.loads(zlib.decompress(enrolment._bytes(text, ""))) | changes
    return "isthmus-enrol-1." + enrolment._base64(zlib.compress(json.dumps(value).encode()))


@pytest.mark.parametrize(
    "text",
    [
        *("", "no token", "isthmus-enrol-2.AAAA", "isthmus-enrol-1.", "isthmus-enrol-1.AAAA", "isthmus-enrol-1.é"),
        *(TOKEN.text()[:-1], TOKEN.text()[:-8], TOKEN.text() + "A", TOKEN.text() + "AAAA", TOKEN.text() * 20),
        *(_packed(secret="AAAA"), _packed(urls=URLS[:3]), _packed(urls=[*URLS[:3], "file:///etc/passwd"]), _packed(expires=10**400)),
        *(_packed(device="../x"), _packed(format=2), _packed(more=1), _packed(root="xyz"), _packed(urls=[*URLS[:3], "http://[x"])),
        "isthmus-enrol-1." + enrolment._base64(zlib.compress(b"0" * 10_000_000)),
    ],
)
def test_what_is_no_token_is_one_error_that_repeats_nothing_of_it(text):
    with pytest.raises(FormatError) as caught:
        enrolment.token_from(text)
    assert enrolment._base64(SECRET) not in str(caught.value)
    assert len(str(caught.value)) < 200


@given(st.text(max_size=200) | st.binary(max_size=200).map(lambda it: "isthmus-enrol-1." + enrolment._base64(zlib.compress(it))))
def test_nothing_but_the_one_error_is_raised_for_any_token(text):
    with pytest.raises(FormatError):
        enrolment.token_from(text)


@given(st.binary(max_size=200))
def test_nothing_but_the_one_error_is_raised_for_any_enrolment(content):
    with pytest.raises(FormatError):
        enrolment.enrolment_from(content)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("url", "https://s3.test/bucket"), ("url", "ftp://s3.test/"), ("fleet", "a/b"), ("device", "a~b"), ("generation", -1)),
        *(("secret_key", "a b"), ("secret_key", ""), ("region", "x" * 3000), ("report_key", b"short"), ("root", b"r" * (41 << 10))),
    ],
)
def test_an_enrolment_beyond_its_bounds_is_refused_and_its_secrets_are_not_repeated(name, value):
    assert name in {it.name for it in fields(Enrolment)}
    with pytest.raises(FormatError, match=name) as caught:
        enrolment.enrolment_from(replace(ENROLMENT, **{name: value}).to_json())
    assert name not in {"secret_key", "report_key"} or ascii(value) not in str(caught.value) or not value
