"""A group's file is read as it was written, and what is odd, or another release's, is refused."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.isthmus_agent.drawing import JSON

from isthmus_agent.formats import digests, fusion_group
from isthmus_agent.formats.fusion_group import FusionGroup, Member
from isthmus_agent.formats.numbers import FormatError

RELEASE, OTHER = digests.of(b"one"), digests.of(b"another")
SOUND = FusionGroup(
    RELEASE,
    4000,
    (Member("door", 909_381, 13_000_000), Member("north", 720_236, 6_700_000), Member("yard", 0, 0)),
    ((), (246_141,), (0, 0)),
    (-1099, -1099, -1099),
)


@given(st.integers(1, 16), st.integers(0, 600_000), st.integers(2, 30))
def test_what_is_read_is_what_was_written(count, correlation, classes):
    members = tuple(Member(f"m{place:02}", 10**6 + place, 10**6 * place) for place in range(count))
    rows = tuple((correlation,) * place for place in range(count))
    group = FusionGroup(RELEASE, 4000, members, rows, (-700,) * classes)
    assert fusion_group.read(group.to_bytes(), RELEASE, group.digest) == group


def test_a_group_of_another_release_is_refused():
    with pytest.raises(FormatError, match=f"measured with {RELEASE}, expected {OTHER}"):
        fusion_group.read(SOUND.to_bytes(), OTHER)


def test_a_file_that_is_not_the_pinned_one_is_refused():
    with pytest.raises(FormatError, match="expected 'sha256:"):
        fusion_group.read(SOUND.to_bytes(), RELEASE, OTHER)


def test_another_writing_of_the_same_group_is_refused():
    spaced = json.dumps(SOUND.to_value(), sort_keys=True).encode()
    with pytest.raises(FormatError, match="one way"):
        fusion_group.read(spaced, RELEASE)


@given(JSON.map(lambda it: json.dumps(it).encode()) | st.binary(max_size=100))
def test_nothing_but_the_one_error_is_raised_for_any_content(content):
    with pytest.raises(FormatError):
        fusion_group.read(content, RELEASE)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (b'"format":1', b'"format":2', "format"),
        (b'"clip_millinats":4000', b'"clip_millinats":true', "clip_millinats"),
        (b'"clip_millinats":4000', b'"clip_millinats":16001', "500 to 16000"),
        (b'"clip_millinats":4000', b'"clip_millinats":4000,"clip_millinats":4000', "twice"),
        (b'"clip_millinats":4000', b'"clip_millinats":4000,"more":1', "unknown field"),
        (b'"name":"yard"', b'"name":"door"', "same member twice"),
        (b'"name":"yard"', b'"name":"a"', "order of their names"),
        (b'"name":"yard"', '"name":"hütte"'.encode(), r"members\[2\]\.name"),
        (b'"scale_millionths":909381', b'"scale_millionths":16000001', r"members\[0\]\.scale"),
        (b'"strength_millionths":13000000', b'"strength_millionths":-1', r"members\[0\]\.strength"),
        (b"[246141]", b"[-1]", r"correlations_millionths\[1\]\[0\]"),
        (b"[246141]", b"[980001]", r"correlations_millionths\[1\]\[0\]"),
        (b"[246141]", b"[0.5]", "no fraction"),
        (b"[246141]", b"[1,2]", "a list of 2"),
        (b"[246141],[0,0]", b"[0],[980000,980000]", "not definite"),
        (b"[-1099,-1099,-1099]", b"[-1099]", "a list of 1"),
        (b"[-1099,-1099,-1099]", b"[-1099,1,-1099]", r"log_prior_millinats\[1\]"),
    ],
)
def test_what_is_odd_is_refused_with_its_place(old, new, said):
    content = SOUND.to_bytes()
    assert old in content
    with pytest.raises(FormatError, match=said):
        fusion_group.read(content.replace(old, new, 1), RELEASE)


def test_too_many_members_and_too_large_a_file_are_refused():
    many = tuple(Member(f"m{place:02}", 1, 1) for place in range(17))
    group = FusionGroup(RELEASE, 4000, many, tuple((0,) * place for place in range(17)), (-1, -1))
    with pytest.raises(FormatError, match="1 to 16"):
        fusion_group.read(group.to_bytes(), RELEASE)
    with pytest.raises(FormatError, match="at most"):
        fusion_group.read(b" " * (fusion_group.MOST_BYTES + 1), RELEASE)


def test_a_part_of_the_group_has_the_same_figures():
    part = SOUND.of(["yard", "door"])
    assert [it.name for it in part.members] == ["door", "yard"]
    assert part.correlations == ((1.0, 0.0), (0.0, 1.0))
    with pytest.raises(FormatError, match="'roof'"):
        SOUND.of(["roof"])
