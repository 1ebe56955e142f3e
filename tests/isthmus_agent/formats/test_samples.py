"""Samples: opened by the owner's key alone, and refused when anything of them was changed."""

import os
from dataclasses import replace
from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.isthmus_agent.drawing import JSON, digests, labels, names

from isthmus_agent.formats import samples, samples_wanted, x25519
from isthmus_agent.formats.numbers import MILLION, FormatError
from isthmus_agent.formats.samples import Object, Origin, Sample
from isthmus_agent.formats.samples_wanted import SamplesWanted

PRIVATE, REPORT_KEY = b"p" * 32, b"r" * 32
PUBLIC = x25519.public_of(PRIVATE)
ORIGIN = Origin("cameras", "camera-1", bytes(range(16)))
SAMPLE = Sample(29_000_000, f"sha256:{'a' * 64}", "digits", 200, 987_654, b'{"instances": [[1]]}', b'{"predictions": [[1]]}')
SEALED = samples.sealed([SAMPLE, SAMPLE], PUBLIC, ORIGIN, REPORT_KEY, os.urandom)
few = settings(max_examples=20)
drawn = st.builds(
    Sample,
    st.integers(0, 2**31),
    digests,
    names,
    st.integers(100, 599),
    st.none() | st.integers(0, MILLION),
    st.binary(max_size=200),
    st.binary(max_size=200),
)


def opened(content: bytes, origin: Origin = ORIGIN, private: bytes = PRIVATE) -> tuple[Sample, ...]:
    return Object(origin, content).opened(partial(x25519.shared, private), x25519.public_of(private))


@few
@given(st.lists(drawn, max_size=5))
def test_what_is_unpacked_is_what_was_packed(listed):
    assert samples.unpacked(b"".join(it.packed() for it in listed)) == tuple(listed)


@few
@given(st.binary(max_size=100) | st.just(SAMPLE.packed()).flatmap(lambda it: st.integers(1, len(it) - 1).map(lambda at: it[:at])))
def test_what_is_no_batch_is_the_one_error(content):
    if content:
        with pytest.raises(FormatError):
            samples.unpacked(content)


def test_a_batch_holds_so_many_and_no_more():
    assert len(samples.unpacked(SAMPLE.packed() * samples.MOST_SAMPLES)) == samples.MOST_SAMPLES
    with pytest.raises(FormatError, match="more than 256"):
        samples.unpacked(SAMPLE.packed() * (samples.MOST_SAMPLES + 1))
    most = replace(SAMPLE, request=b"x" * samples_wanted.MOST_SAMPLE_BYTES, answer=b"")
    assert samples.unpacked(most.packed()) == (most,)
    with pytest.raises(FormatError, match="answer"):
        samples.unpacked(replace(most, answer=b"x").packed())


def test_the_owner_opens_it_and_nobody_else():
    assert opened(SEALED) == (SAMPLE, SAMPLE)
    assert b"instances" not in SEALED
    with pytest.raises(FormatError, match="another key"):
        opened(SEALED, private=b"q" * 32)
    claims_to_be_for = SEALED.replace(samples_wanted.fingerprint(PUBLIC), samples_wanted.fingerprint(x25519.public_of(b"q" * 32)))
    with pytest.raises(FormatError, match="not what a device has encrypted"):
        opened(claims_to_be_for, private=b"q" * 32)
    assert samples.sealed([SAMPLE, SAMPLE], PUBLIC, ORIGIN, REPORT_KEY, os.urandom) != SEALED


def test_only_the_device_can_have_written_it_and_only_under_its_name():
    assert Object(ORIGIN, SEALED).is_by(REPORT_KEY)
    assert not Object(ORIGIN, SEALED).is_by(b"s" * 32)
    for other in (replace(ORIGIN, fleet="doors"), replace(ORIGIN, device="camera-2"), replace(ORIGIN, name=bytes(16))):
        assert not Object(other, SEALED).is_by(REPORT_KEY)
        with pytest.raises(FormatError, match="not what a device has encrypted"):
            opened(SEALED, other)
    assert not any(Object(ORIGIN, SEALED[:at] + bytes([SEALED[at] ^ 1]) + SEALED[at + 1 :]).is_by(REPORT_KEY) for at in range(len(SEALED)))


@pytest.mark.parametrize("at", [0, 20, 30, 60, 80, 200, -40])
def test_what_was_changed_does_not_open(at: int):
    changed = bytearray(SEALED)
    changed[at] ^= 1
    with pytest.raises(FormatError):
        opened(bytes(changed))
    for cut in (SEALED[:at], SEALED + b"\0" * samples.MOST_OBJECT_BYTES):
        with pytest.raises(FormatError):
            opened(cut)


def test_nothing_is_encrypted_to_a_key_that_anybody_has():
    with pytest.raises(FormatError, match="it is no key"):
        samples.sealed([SAMPLE], bytes(32), ORIGIN, REPORT_KEY, os.urandom)


def test_the_key_of_an_object_says_whose_it_is():
    key = ORIGIN.object_key("edge/")
    assert key == "edge/samples/cameras/camera-1~000102030405060708090a0b0c0d0e0f"
    assert samples.origin_of(key, "edge/", "cameras") == ORIGIN
    for wrong in (key + "0", key[:-1], key.upper(), key.replace("~", "/"), key.replace("edge", "yard"), key.replace("cameras", "doors")):
        with pytest.raises(FormatError):
            samples.origin_of(wrong, "edge/", "cameras")


@few
@given(
    st.builds(
        SamplesWanted, st.binary(min_size=32, max_size=32), st.integers(1, MILLION), st.integers(1, 86_400), st.integers(1, 262_144), labels
    )
)
def test_what_is_wanted_is_read_as_it_was_written(wanted):
    assert samples_wanted.from_value(wanted.to_value(), "samples") == wanted


@few
@given(JSON)
def test_what_is_wanted_is_nothing_else(value):
    with pytest.raises(FormatError):
        samples_wanted.from_value(value, "samples")
