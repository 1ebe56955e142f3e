"""A bundle's parts are found where they lie; what is no bundle is refused."""

import contextlib
import hashlib
import io
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isthmus.release import deltas
from isthmus_agent.formats import bundle
from isthmus_agent.formats.numbers import FormatError

PARTS = {"model": b"a model", "manifest": b'{"version": 1}', "golden": b'{"inputs": {}}', "gates": b"{}"}
PLAIN = bundle.join(PARTS)


def test_parts_are_read_back_and_the_model_comes_first():
    assert {name: bundle.read(io.BytesIO(PLAIN), name) for name in PARTS} == PARTS
    assert PLAIN.startswith(PARTS["model"])
    assert bundle.document(io.BytesIO(PLAIN), "manifest") == {"version": 1}


@given(st.binary(max_size=200), st.integers(0, 2))
def test_no_bytes_at_all_raise_anything_else(raw, tails):
    with contextlib.suppress(FormatError):
        assert bundle.join({name: bundle.read(io.BytesIO(raw + PLAIN[-40:] * tails), name) for name in PARTS}) == raw + PLAIN[-40:] * tails


@pytest.mark.parametrize(
    ("plain", "told"),
    [
        (PLAIN[:-1], "version"),
        (PLAIN[1:], "do not fill it"),
        (b"", "too short"),
        (struct.pack("<4Q8s", 0, 2**64 - 1, 1, 0, bundle.MAGIC), "at most"),
        (struct.pack("<4Q8s", 2**31 + 1, 0, 0, 0, bundle.MAGIC), "at most"),
    ],
)
def test_what_is_no_bundle_is_refused(plain, told):
    with pytest.raises(FormatError, match=told):
        bundle.parts(io.BytesIO(plain))


@pytest.mark.parametrize("document", [b"[]", b"{", b"[" * 100_000, b'{"a": NaN}', b"\xff", b"1" * 5000])
def test_a_part_that_is_no_json_object_is_refused(document):
    with pytest.raises(FormatError, match="golden"):
        bundle.document(io.BytesIO(bundle.join({**PARTS, "golden": document})), "golden")


def test_a_bundle_has_all_its_parts_and_none_too_large():
    with pytest.raises(FormatError, match="has the parts"):
        bundle.join({"model": b""})
    with pytest.raises(FormatError, match="gates"):
        bundle.join({**PARTS, "gates": bytes(bundle.MOST_BYTES["gates"] + 1)})


def test_what_is_packed_is_unpacked_into_what_was_signed_or_not_at_all():
    packed, digest = deltas.make(b"", PLAIN), f"sha256:{hashlib.sha256(PLAIN).hexdigest()}"
    made = io.BytesIO()
    bundle.unpack(io.BytesIO(packed), made, digest=digest)
    assert made.getvalue() == PLAIN
    with pytest.raises(FormatError, match="at most"):
        bundle.unpack(io.BytesIO(packed), io.BytesIO(), digest=digest, most_bytes=len(PLAIN) - 1)
    for place in range(len(packed)):
        damaged, made = bytearray(packed), io.BytesIO()
        damaged[place] ^= 1
        with contextlib.suppress(FormatError):
            bundle.unpack(io.BytesIO(damaged), made, digest=digest)
            assert made.getvalue() == PLAIN


@pytest.mark.parametrize(("gates", "expected"), [(b"{}", 0.0), (b'{"min_confidence": 0.625}', 0.625), (b'{"min_confidence": 1}', 1.0)])
def test_a_bundle_may_say_which_answers_are_sure_enough(gates, expected):
    assert bundle.min_confidence(io.BytesIO(bundle.join({**PARTS, "gates": gates}))) == expected


@pytest.mark.parametrize("said", [b"-0.1", b"1.1", b"true", b'"0.5"', b"null", b"[]", b"1e999"])
def test_a_confidence_that_is_none_makes_a_bundle_unfit(said):
    with pytest.raises(FormatError, match="min_confidence"):
        bundle.min_confidence(io.BytesIO(bundle.join({**PARTS, "gates": b'{"min_confidence": ' + said + b"}"})))
