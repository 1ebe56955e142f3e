"""A bundle's parts are found where they lie; what is no bundle is refused."""

import contextlib
import hashlib
import io
import json
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isthmus.release import deltas
from isthmus_agent.formats import bundle
from isthmus_agent.formats.evidence import MOST_CLASSES
from isthmus_agent.formats.fusion_group import (
    MOST_CORRELATION_MILLIONTHS,
    MOST_MEMBERS,
    MOST_PRIOR_MILLINATS,
    MOST_SCALE_MILLIONTHS,
    MOST_STRENGTH_MILLIONTHS,
    FusionGroup,
    Member,
)
from isthmus_agent.formats.numbers import FormatError
from isthmus_agent.formats.policy import MOST_EDGE_THOUSANDTHS, MOST_LEVELS, MOST_PLACES, MOST_STEP_MS, Measured, Policy

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


RELEASE = "sha256:" + "a" * 64


def routed(said: object) -> io.BytesIO:
    gates = json.dumps({"policy": said}, separators=(",", ":")).encode()
    return io.BytesIO(bundle.join({**PARTS, "gates": gates}))


def test_a_bundle_has_a_policy_for_its_release_or_none():
    policy = Policy(RELEASE, "*", ("device", "cloud"), (), (1, 0), 10_000)
    assert bundle.policy_for(routed(policy.to_json().decode()), RELEASE) == policy
    assert bundle.policy_for(io.BytesIO(PLAIN), RELEASE) is None


@pytest.mark.parametrize(
    "said",
    [
        None,
        True,
        7,
        {},
        "",
        "{}",
        "\u00fc",
        "\ud800",
        Policy(RELEASE.replace("a", "b"), "*", ("device",), (), (0,), 1).to_json().decode(),
        Policy(RELEASE, "*", ("cloud",), (), (0,), 1).to_json().decode(),
        Policy(RELEASE, "*", ("device",), (), (0,), 1).to_json().decode() + " ",
    ],
)
def test_what_is_no_policy_for_its_release_makes_a_bundle_unfit(said):
    with pytest.raises(FormatError, match=r"^policy"):
        bundle.policy_for(routed(said), RELEASE)


def test_the_largest_policy_of_all_has_its_place_in_a_bundle():
    def longest(number: int) -> str:
        return f"{number:064}"

    edges = tuple(it - MOST_EDGE_THOUSANDTHS for it in range(MOST_LEVELS - 1))
    sizes = (MOST_LEVELS, 16, 1, 1)
    dimensions = tuple(
        Measured(longest(axis), f"{0:0128}", tuple(map(longest, range(size))), edges[: size - 1], MOST_EDGE_THOUSANDTHS)
        for axis, size in enumerate(sizes)
    )
    places = ("device", *(f"peer:{longest(it)}" for it in range(MOST_PLACES - 1)))
    policy = Policy(RELEASE, longest(1), places, dimensions, (63,) * (64 * 512), MOST_STEP_MS)
    assert bundle.policy_for(routed(policy.to_json().decode()), RELEASE) == policy


def grouped(said: object) -> io.BytesIO:
    gates = json.dumps({"group": said}, separators=(",", ":")).encode()
    return io.BytesIO(bundle.join({**PARTS, "gates": gates}))


def group_of(members: int, name_characters: int = 4, classes: int = 3, release: str = RELEASE) -> FusionGroup:
    names = [f"{place:0{name_characters}d}" for place in range(members)]
    rows = tuple((MOST_CORRELATION_MILLIONTHS - 880_000,) * place for place in range(members))
    its = tuple(Member(name, MOST_SCALE_MILLIONTHS, MOST_STRENGTH_MILLIONTHS) for name in names)
    return FusionGroup(release, 4000, its, rows, (-MOST_PRIOR_MILLINATS,) * classes)


def test_a_bundle_has_a_group_for_its_release_or_none_and_the_largest_of_all_has_its_place():
    for group in (group_of(2), group_of(MOST_MEMBERS, 64, MOST_CLASSES)):
        said = {"file": group.to_bytes().decode(), "wait_ms": 200}
        assert bundle.group_for(grouped(said), RELEASE) == bundle.SignedGroup(group, 200)
    assert bundle.group_for(io.BytesIO(PLAIN), RELEASE) is None


@pytest.mark.parametrize(
    ("said", "where"),
    [
        (None, "group"),
        ([], "group"),
        ({"file": "{}"}, "group.wait_ms"),
        ({"file": "{}", "wait_ms": 200}, "group.file"),
        ({"file": 1, "wait_ms": 200}, "group.file"),
        ({"file": "\u00e9", "wait_ms": 200}, "group.file"),
        ({"file": group_of(2).to_bytes().decode(), "wait_ms": True}, "group.wait_ms"),
        ({"file": group_of(2).to_bytes().decode(), "wait_ms": 0}, "group.wait_ms"),
        ({"file": group_of(2).to_bytes().decode(), "wait_ms": 200, "more": 1}, "group"),
        ({"file": group_of(2, release="sha256:" + "e" * 64).to_bytes().decode(), "wait_ms": 200}, "group.file: release"),
    ],
)
def test_what_is_no_group_for_its_release_makes_a_bundle_unfit(said, where):
    with pytest.raises(FormatError, match=rf"^{where}: "):
        bundle.group_for(grouped(said), RELEASE)
