"""What a preview measures of every cut: halves, what crosses, and what comes of it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.graphs import Node, graph_file

from isthmus.compile.halves.jobs import JOBS
from isthmus.compile.halves.measured import Measured
from isthmus.compile.halves.ways import CLOUD, LOCAL, Situation, plan
from isthmus.errors import SourceError

CHAIN = [Node("ADD", ("x", "one"), "a"), Node("TANH", ("a",), "b"), Node("LOGISTIC", ("b",), "y")]
ONE = {"one": np.array([[0, 1, 0, -1]], np.float32)}
HERE = Situation(round_trip_ms=1.0, speed_factor=10.0, cloud_speed_factor=1.0, max_loss=0.01, margin=0.05)


def _job(folder: Path, nodes: Sequence[Node], *, labels: bool = True, outputs: Sequence[str] = ("y",)) -> dict[str, Any]:
    (folder / "model.tflite").write_bytes(graph_file(nodes, outputs=list(outputs), constants=ONE))
    inputs = np.random.default_rng(0).standard_normal((40, 4)).astype(np.float32)
    np.savez(folder / "evaluation.npz", x=inputs, y=(inputs + ONE["one"]).argmax(axis=1))
    spec = {"dtype": "float32", "shape": [-1, 4]}
    return {
        "file": str(folder / "model.tflite"),
        "evaluation": str(folder / "evaluation.npz") if labels else None,
        "inputs": [{"name": "x", **spec}],
        "outputs": [{"name": name, **spec} for name in outputs],
        "where": "m.model",
    }


def _measured(folder: Path, **options: Any) -> Measured:
    job, said = _job(folder, CHAIN, **options), []
    cut = JOBS["cut"](job, said.append)
    measured = Measured.from_json(JOBS["time"]({**job, "measured": cut}, said.append))
    assert "cut 1 of 3: behind ADD" in said
    return measured


def test_every_cut_is_tried_in_every_form(tmp_path: Path) -> None:
    measured = _measured(tmp_path)
    assert [(cut.layers, cut.layer) for cut in measured.cuts] == [(0, "inputs"), (1, "ADD"), (2, "TANH")]
    assert (measured.accuracy, measured.examples, measured.refused) == (1.0, 40, {})
    for cut in measured.cuts:
        plain, deflated, quantised, _ = cut.forms
        assert (plain.sent_bytes, plain.largest_difference, plain.accuracy) == (16, 0, 1)
        assert (deflated.largest_difference, deflated.wire.deflate) == (0, True)
        assert (quantised.sent_bytes, quantised.wire.is_quantised) == (4, True)
        assert 0 < quantised.largest_difference < 0.02
        assert cut.tail_ms > 0
        assert (cut.head_ms > 0) == (cut.layers > 0)
    assert Measured.from_json(measured.to_json()) == measured


def test_the_cloud_alone_takes_what_the_whole_takes(tmp_path: Path) -> None:
    measured = _measured(tmp_path)
    assert measured.cuts[0].tail_ms == measured.whole_ms > 0


def test_without_evaluation_data_nothing_is_sent_in_eight_bits(tmp_path: Path) -> None:
    measured = _measured(tmp_path, labels=False)
    assert {offer.form.wire.is_quantised for offer in plan(measured, HERE).offers if offer.form} == {False}


def test_a_form_that_costs_too_much_accuracy_is_no_way(tmp_path: Path) -> None:
    measured = _measured(tmp_path)
    (cut, *_) = measured.cuts
    spoiled = [{**cut_json, "forms": [{**form, "accuracy": 0.9 if i > 1 else 1.0} for i, form in enumerate(cut_json["forms"])]}
               for cut_json in measured.to_json()["cuts"]]  # fmt: skip
    worse = Measured.from_json({**measured.to_json(), "cuts": spoiled})
    assert len(plan(measured, HERE).offers) == 1 + 3 * len(cut.forms)
    assert len(plan(worse, HERE).offers) == 1 + 3 * 2


def test_the_extremes_are_among_the_ways(tmp_path: Path) -> None:
    found = plan(_measured(tmp_path), HERE)
    assert [found.choice.ways[index].name for index in (*found.local, found.cloud[0])] == [LOCAL, f"{CLOUD}, as it is"]
    for bandwidth in (0.001, 0.1, 1, 10, 1000):
        best, local, cloud = found.latency_ms(bandwidth)
        assert best <= min(local, cloud)


@pytest.mark.parametrize(
    ("nodes", "outputs", "said"),
    [
        (CHAIN[:1], ["a"], "it has 1 layer"),
        (CHAIN, ["a", "y"], "an output is made before it"),
    ],
)
def test_a_cut_that_no_layer_allows_is_one_clear_error(nodes: list[Node], outputs: list[str], said: str, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="a cut that no layer allows") as error:
        JOBS["cut"](_job(tmp_path, nodes, labels=False, outputs=outputs), lambda _: None)
    assert said in str(error.value)
    assert len(error.value.problems) == 1


def test_a_damaged_file_is_an_error_of_the_source(tmp_path: Path) -> None:
    job = _job(tmp_path, CHAIN)
    Path(job["file"]).write_bytes(b"no model at all")
    with pytest.raises(SourceError, match="cannot be read"):
        JOBS["cut"](job, lambda _: None)
