"""Manifests and records: what they say survives the way to a file and back."""

import json
from dataclasses import asdict, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isthmus.errors import IntegrityError
from isthmus.release.confidences import Calibration, Confidences, Estimate, Group
from isthmus.release.manifest import (
    EDGE,
    SERVING,
    Candidate,
    FileEntry,
    Layer,
    Manifest,
    Record,
    TensorSpec,
    Timing,
    Variant,
)
from isthmus_agent.formats.scores import PROBABILITIES

numbers = st.floats(0, 1e9, allow_nan=False)
names = st.text(min_size=1, max_size=8)
counts = st.integers(0, 1 << 40)
shapes = st.lists(st.integers(-1, 64), max_size=4).map(tuple)
timings = st.builds(Timing, numbers, numbers, numbers, counts, numbers)
layers = st.builds(Layer, names, shapes, st.sampled_from([4, 8, 16, 32]), numbers, numbers)
matrices = st.lists(st.lists(counts, min_size=2, max_size=2).map(tuple), max_size=2).map(tuple)
candidates = st.builds(
    Candidate,
    recipe=names,
    size_bytes=counts,
    accuracy=st.none() | numbers,
    operators=st.lists(names, max_size=3).map(tuple),
    layers=st.lists(layers, max_size=2).map(tuple),
    confusion=matrices,
    problem=st.text(max_size=8),
)
estimates = st.builds(Estimate, numbers, numbers, numbers)
groups = st.builds(Group, numbers, numbers, counts, counts, counts, counts)
confidences = st.builds(Confidences, counts, numbers, estimates, estimates, st.lists(groups, max_size=3).map(tuple), counts, counts)
records = st.builds(
    Record,
    machine_class=names,
    measured_at=names,
    serving=st.none() | timings,
    edge=st.none() | timings,
    candidates=st.lists(candidates, max_size=3).map(tuple),
    reason=names,
    metric=names,
    source_confusion=matrices,
    confidences=st.none() | confidences,
)

SPEC = TensorSpec("x", "float32", (-1, 4))
ENTRY = FileEntry("golden.json", 3, "0" * 64)
MANIFEST = Manifest("digits", 1, "int8", "serving_default", (SPEC,), (SPEC,), (), ENTRY, 0.1, 0.99, 450, (("keras", "3"),))
OLD_RECORD = {
    "machine_class": "x86_64 2 cores",
    "measured_at": "2026-11-23T00:00:00+00:00",
    "serving": {"mean_ms": 2.0, "p50_ms": 2.0, "p95_ms": 3.0, "requests": 300},
    "edge": {"mean_ms": 1.0, "p50_ms": 1.0, "p95_ms": 2.0, "requests": 300},
}


@given(records)
def test_a_record_comes_back_from_its_bytes(record: Record) -> None:
    assert Record.from_bytes(record.to_bytes()) == record


@given(candidates)
def test_a_candidate_comes_back_from_json(candidate: Candidate) -> None:
    assert Candidate.from_json(json.loads(json.dumps(asdict(candidate)))) == candidate


@given(st.builds(Variant, st.sampled_from([SERVING, EDGE]), names, st.just((ENTRY,)), st.none() | numbers, numbers), shapes)
def test_a_manifest_comes_back_from_its_bytes_with_its_digest(variant: Variant, shape: tuple[int, ...]) -> None:
    manifest = replace(MANIFEST, variants=(variant,), inputs=(TensorSpec("x", "string", None), TensorSpec("y", "int64", shape)))
    assert Manifest.from_bytes(manifest.to_bytes()) == manifest
    assert Manifest.from_bytes(manifest.to_bytes()).digest == manifest.digest


def test_the_digest_of_a_manifest_is_what_it_always_was() -> None:
    """A field that is added to it would give every release in every store another digest."""
    assert MANIFEST.digest == "sha256:f2b941a7a67004705c1003a5faef8d88b2eed03d1aeb501650fababd526fc7dd"


def test_a_calibration_is_part_of_what_the_digest_is_of() -> None:
    found = [replace(MANIFEST, calibration=Calibration(PROBABILITIES, temperature, 1e-9)) for temperature in (1.5, 1.51)]
    assert len({MANIFEST.digest, *(it.digest for it in found)}) == 3
    assert Manifest.from_bytes(found[0].to_bytes()) == found[0]


@pytest.mark.parametrize("said", [{"scores": "margins", "temperature": 1, "floor": 0}, {"temperature": 1}, [], None, "x"])
def test_a_manifest_with_a_calibration_that_is_none_is_refused(said: object) -> None:
    with pytest.raises(IntegrityError, match="not a release manifest"):
        Manifest.from_bytes(json.dumps({**json.loads(MANIFEST.to_bytes()), "calibration": said}).encode())


def test_a_record_of_an_earlier_version_still_reads() -> None:
    record = Record.from_bytes(json.dumps(OLD_RECORD).encode())
    assert record.candidates == ()
    assert (record.metric, record.timing(EDGE).scv) == ("accuracy", 1.0)
    assert record.service_rate_per_second == 500


def test_a_release_without_a_serving_variant_has_no_service_rate() -> None:
    record = Record.from_bytes(json.dumps({**OLD_RECORD, "serving": None}).encode())
    assert record.timing(EDGE).mean_ms == 1.0
    with pytest.raises(IntegrityError, match="no serving variant"):
        _ = record.service_rate_per_second


@pytest.mark.parametrize(
    "broken",
    [
        b"{",
        b"[]",
        b"{}",
        json.dumps({**OLD_RECORD, "edge": 7}).encode(),
        json.dumps({**OLD_RECORD, "unheard_of": 1}).encode(),
        json.dumps({**OLD_RECORD, "candidates": [{"accuracy": 1.0}]}).encode(),
        json.dumps({**OLD_RECORD, "candidates": [7]}).encode(),
        json.dumps({**OLD_RECORD, "source_confusion": [1]}).encode(),
    ],
)
def test_what_is_no_record_is_refused(broken: bytes) -> None:
    with pytest.raises(IntegrityError, match="not a release record"):
        Record.from_bytes(broken)


@pytest.mark.parametrize("path", ["", "/etc/passwd", "../up", "edge/../../up", "back\\slash"])
def test_a_manifest_cannot_name_a_file_outside_the_release(path: str) -> None:
    with pytest.raises(IntegrityError, match="outside the release"):
        FileEntry(path, 1, "0" * 64)


def test_a_release_without_an_edge_variant_has_no_time_of_one() -> None:
    record = Record.from_bytes(json.dumps({**OLD_RECORD, "edge": None}).encode())
    assert record.service_rate_per_second == 500
    with pytest.raises(IntegrityError, match="no edge variant"):
        record.timing(EDGE)
    manifest = replace(MANIFEST, variants=(Variant(SERVING, "float32", (), None, 0.0),))
    assert (manifest.has(SERVING), manifest.has(EDGE)) == (True, False)
    with pytest.raises(IntegrityError, match="has no edge variant"):
        manifest.variant(EDGE)
