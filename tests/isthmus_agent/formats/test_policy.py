"""A migration policy as a device reads it: one way to write it, for one release; levels that noise on an edge does not move."""

import json
import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isthmus_agent.formats import policy as format_
from isthmus_agent.formats.numbers import FormatError
from isthmus_agent.formats.policy import THEN_CLOUD, Measured, Policy, from_json

RELEASE = "sha256:" + "a" * 64
NETWORK = Measured("network", "ms", ("good", "poor", "cut"), (100_000, 1_000_000), band=10_000, unmeasured=2)
LOAD = Measured("load", "requests per second", ("low", "high"), (2_500,))
POLICY = Policy(RELEASE, "camera", ("device", "cloud"), (NETWORK, LOAD), (0, 1, 0, 1, 0, 0, 1, 1, 1, 1, 0, 0), 10_000)
NAMES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,8}", fullmatch=True)


@st.composite
def measured(draw: st.DrawFn) -> Measured:
    levels = draw(st.lists(NAMES, min_size=1, max_size=4, unique=True))
    edges = draw(st.lists(st.integers(-(10**12), 10**12), min_size=len(levels) - 1, max_size=len(levels) - 1, unique=True).map(sorted))
    return Measured(
        draw(NAMES), draw(NAMES), tuple(levels), tuple(edges), draw(st.integers(0, 10**6)), draw(st.integers(0, len(levels) - 1))
    )


@st.composite
def policies(draw: st.DrawFn) -> Policy:
    dimensions = draw(st.lists(measured(), max_size=3, unique_by=lambda it: it.name))
    peers = draw(st.lists(NAMES, max_size=4, unique=True))
    then = draw(st.sampled_from([(), (THEN_CLOUD,)]))
    places = ("device", *then, "cloud", *(f"peer:{it}" for it in peers))
    size = len(places) * math.prod(len(it.levels) for it in dimensions)
    table = draw(st.lists(st.integers(0, len(places) - 1), min_size=size, max_size=size))
    return Policy(RELEASE, draw(NAMES | st.just("*")), places, tuple(dimensions), tuple(table), draw(st.integers(1, 86_400_000)))


@settings(deadline=None, max_examples=60)
@given(policies())
def test_reading_what_was_written_gives_the_same_policy(policy: Policy) -> None:
    assert from_json(policy.to_json(), RELEASE) == policy


@settings(deadline=None, max_examples=60)
@given(policies(), st.data())
def test_every_level_leads_to_a_place_of_the_policy(policy: Policy, data: st.DataObject) -> None:
    levels = policy.unmeasured
    place = data.draw(st.integers(0, len(policy.places) - 1))
    for _ in range(4):
        levels = policy.levels(levels, {it.name: data.draw(st.floats()) for it in policy.dimensions})
        place = policy.next_place(place, levels)
        assert policy.places[place]


@settings(deadline=None, max_examples=150)
@given(st.binary(max_size=200) | st.text(max_size=100).map(lambda it: it.encode("utf-8", "surrogatepass")))
def test_hostile_bytes_are_the_one_error_and_nothing_else(content: bytes) -> None:
    with pytest.raises(FormatError):
        from_json(content, RELEASE)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@settings(deadline=None, max_examples=150)
@given(st.sampled_from(sorted(json.loads(POLICY.to_json()))), JSON)
def test_any_value_in_place_of_a_field_is_the_one_error_or_a_policy(name: str, value: Any) -> None:
    document = json.loads(POLICY.to_json())
    content = json.dumps({**document, name: value}, sort_keys=True, separators=(",", ":")).encode()
    try:
        policy = from_json(content, RELEASE)
    except FormatError:
        return
    assert policy.to_json() == content


@settings(deadline=None, max_examples=150)
@given(st.integers(0, len(POLICY.to_json()) - 1), st.integers(0, 255))
def test_a_changed_byte_is_the_one_error_or_another_policy(position: int, byte: int) -> None:
    content = bytearray(POLICY.to_json())
    content[position] = byte
    try:
        policy = from_json(bytes(content), RELEASE)
    except FormatError:
        return
    assert policy.to_json() == bytes(content)


def test_a_policy_for_another_release_is_refused() -> None:
    with pytest.raises(FormatError, match=r"made for sha256:aaaa.*, not for 'sha256:bbbb"):
        from_json(POLICY.to_json(), "sha256:" + "b" * 64)


def test_a_policy_that_says_when_to_pass_on_is_of_a_format_that_earlier_agents_refuse(monkeypatch: pytest.MonkeyPatch) -> None:
    assert json.loads(POLICY.to_json())["format"] == 1  # which they take as ever
    said = replace(POLICY, places=("device", THEN_CLOUD))
    content = said.to_json()
    assert from_json(content, RELEASE) == said
    monkeypatch.setattr(format_, "FORMAT_OF_THEN_CLOUD", 1)  # what an earlier one knows
    with pytest.raises(FormatError, match=r"^format: found 2"):
        from_json(content, RELEASE)


@pytest.mark.parametrize(("places", "number"), [(["device", "cloud"], 2), (["device", THEN_CLOUD], 1)])
def test_a_format_that_is_not_that_of_the_places_is_refused(places: list[str], number: int) -> None:
    document = {**json.loads(POLICY.to_json()), "places": places, "format": number}
    with pytest.raises(FormatError, match=f"^format: found {number}, expected {3 - number} with places device, "):
        from_json(json.dumps(document, sort_keys=True, separators=(",", ":")).encode(), RELEASE)


@settings(deadline=None, max_examples=20)
@given(policies())
def test_what_is_unsure_is_passed_on_in_one_place_or_as_if_there_were_no_policy(policy: Policy) -> None:
    passing = [place for place in policy.places if policy.passes_on(place)]
    assert passing == ([THEN_CLOUD] if THEN_CLOUD in policy.places else [*policy.places])


WIDE: dict[str, Any] = {"band": 0, "edges": [*range(31)], "levels": [f"l{it}" for it in range(32)], "unit": "ms", "unmeasured": 0}
BROKEN: dict[str, tuple[dict[str, Any], str]] = {
    "another way to write it": ({}, "one way"),
    "a table too short": ({"table": "01"}, "expected 12"),
    "a place that is not there": ({"table": "0101001111" + "02"}, "place 2 of 2"),
    "a sign that is none": ({"table": "010100111100"[:-1] + "!"}, "place 2 of 2"),
    "a place twice": ({"places": ["cloud", "cloud"]}, "twice"),
    "a place of no kind": ({"places": ["device", "moon"]}, "expected device, device_then_cloud, cloud"),
    "too many cells": ({"dimensions": [{**WIDE, "name": name} for name in "abc"]}, "32768 cells"),
    "edges that fall": ({"dimensions": [{**json.loads(POLICY.to_json())["dimensions"][0], "edges": [2, 1]}]}, "rise"),
    "true as a number": ({"step_ms": True}, "step_ms"),
}


@pytest.mark.parametrize("which", BROKEN)
def test_what_is_broken_is_said(which: str) -> None:
    change, said = BROKEN[which]
    document = {**json.loads(POLICY.to_json()), **change}
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), indent=None if change else 1)
    with pytest.raises(FormatError, match=said):
        from_json(text.encode(), RELEASE)


def test_a_document_beyond_its_bound_is_refused_unread() -> None:
    with pytest.raises(FormatError, match="at most"):
        from_json(b"[" * (format_.MOST_DOCUMENT_BYTES + 1), RELEASE)


def test_a_value_within_the_band_leaves_the_level_as_it_is() -> None:
    noisy = [95.0, 105.0, 98.0, 109.0]
    level, sharp = 0, replace(NETWORK, band=0)
    moves = [level := NETWORK.level(level, value) for value in noisy]
    assert moves == [0, 0, 0, 0]
    flapping, at = [], 0
    for value in noisy:
        at = sharp.level(at, value)
        flapping.append(at)
    assert flapping == [0, 1, 0, 1]  # what the band is for
    assert NETWORK.level(0, 110.0) == 1
    assert NETWORK.level(1, 95.0) == 1
    assert NETWORK.level(1, 89.0) == 0


def test_what_was_not_measured_stays_and_a_round_trip_without_end_is_a_cut() -> None:
    assert POLICY.unmeasured == (2, 0)
    assert POLICY.levels((1, 0), {"load": math.nan}) == (1, 0)
    assert POLICY.levels((0, 0), {"network": math.inf, "load": 3}) == (2, 1)


@given(measured(), st.integers(0, 3), st.floats(allow_nan=False))
def test_a_value_far_beyond_every_edge_is_of_the_last_level(dimension: Measured, before: int, value: float) -> None:
    before = min(before, len(dimension.levels) - 1)
    assert dimension.level(before, math.inf) == len(dimension.levels) - 1
    assert dimension.level(before, -math.inf) == 0
    found = dimension.level(before, value)
    assert dimension.level(found, value) == found  # the same number twice moves nothing
