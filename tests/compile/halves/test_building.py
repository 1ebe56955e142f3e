"""Halves in a release: heads that the interpreter runs, tails that servers run, and the same answers."""

from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter
from tests import halved

from isthmus.compile.halves.translating import FEATURES
from isthmus.errors import SourceError
from isthmus.partition.wanted import Wanted
from isthmus.release.manifest import EDGE, SERVING, Release
from isthmus_agent.features import WireFormat
from isthmus_agent.formats.halves import from_figures

pytestmark = pytest.mark.slow

SLOW = Wanted(speed_factors=(100.0,), round_trip_ms=1.0)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Release:
    return halved.whole_release(tmp_path_factory.mktemp("whole"))


@pytest.fixture(scope="module")
def split(whole: Release, tmp_path_factory: pytest.TempPathFactory) -> Release:
    return halved.split_release(whole, tmp_path_factory.mktemp("split") / "release", Wanted(2, (100.0,), round_trip_ms=1.0))


def test_both_halves_answer_as_the_whole_does(split: Release) -> None:
    import tensorflow as tf

    assert split.record.halves is not None
    ways = from_figures(split.record.halves, split.digest).ways
    assert {it.head for it in ways} == {None, "head_2"}
    interpreter = Interpreter(str(split.path(split.manifest.variant(EDGE).files[0])))
    loaded = tf.saved_model.load(str(split.directory / "serving/1"))
    session = tf.compat.v1.Session(graph=tf.Graph())
    with session.graph.as_default():
        signatures = tf.compat.v1.saved_model.load(session, ["serve"], str(split.directory / "serving/1")).signature_def
    assert list(loaded.signatures) == ["serving_default"]
    for way in ways:
        wire = WireFormat.of(way)
        for row in halved.inputs()[:3]:
            given = {halved.INPUT: row[None]}
            features = interpreter.get_signature_runner(way.head)(**given) if way.head else given
            tail = signatures[way.tail]
            sent = {tail.inputs[FEATURES].name: [wire.encode(features)]}
            found = session.run(tail.outputs[halved.OUTPUT].name, sent)
            step = max((it.affine.scale for it in wire.tensors if it.affine), default=0.0)
            assert np.abs(found - halved.answers(row[None])).max() <= step / 2 + 1e-5
    whole = interpreter.get_signature_runner("serving_default")(x=halved.inputs()[:1])[halved.OUTPUT]
    assert np.abs(whole - halved.answers(halved.inputs()[:1])).max() < 1e-5


def test_the_release_is_another_one_and_all_its_files_are_what_the_manifest_says(whole: Release, split: Release) -> None:
    assert whole.digest != split.digest
    for file in split.manifest.files:
        assert (split.directory / file.path).stat().st_size == file.size_bytes
    names = [Path(it.path).name for it in split.manifest.variant(SERVING).files]
    assert "saved_model.pb" in names
    assert "fingerprint.pb" not in names


def test_the_same_cut_of_the_same_release_is_the_same_release(whole: Release, split: Release, tmp_path: Path) -> None:
    again = halved.split_release(whole, tmp_path / "release", Wanted(2, (100.0,), round_trip_ms=1.0))
    assert again.digest == split.digest


def test_a_device_that_is_faster_than_any_way_leaves_the_release_as_it_is(whole: Release, tmp_path: Path) -> None:
    found = halved.split_release(whole, tmp_path / "release", Wanted(speed_factors=(0.01,)))
    assert (found.digest, found.record.halves) == (whole.digest, None)


def test_a_cut_that_there_is_not_is_refused_with_those_that_there_are(whole: Release, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"no cut behind layer 7 of 3; expected one of 1, 2"):
        halved.split_release(whole, tmp_path / "release", Wanted(7))


def test_an_operator_that_servers_have_not_is_named(whole: Release, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("isthmus.compile.halves.choosing.missing_operators", lambda _: ("DENSIFY",))
    with pytest.raises(SourceError, match="it has no DENSIFY"):
        halved.split_release(whole, tmp_path / "release", SLOW)


def test_a_tail_that_answers_otherwise_is_left_out(whole: Release, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = {"TANH": lambda it: it.tf.zeros_like(it.inputs[0]), "LOGISTIC": lambda it: 1 - it.tf.sigmoid(it.inputs[0])}
    monkeypatch.setattr("isthmus.compile.halves.translating.OPERATIONS", {**_operations(), **wrong})
    with pytest.raises(SourceError, match="no tail answers in TensorFlow as it does on a device"):
        halved.split_release(whole, tmp_path / "release", SLOW)


def _operations() -> dict:
    from isthmus.compile.halves.operators import OPERATIONS

    return dict(OPERATIONS)


@pytest.mark.parametrize("labels", [True, False])
def test_without_evaluation_data_answers_must_be_the_wholes(whole: Release, tmp_path: Path, labels: bool) -> None:
    found = halved.split_release(whole, tmp_path / "release", SLOW, labels=labels)
    assert found.record.halves is not None
    assert labels or all(it.scale_bits is None for way in from_figures(found.record.halves, "").ways for it in way.tensors)
