"""The two halves of a file together are the whole, bit for bit, at every cut."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.graphs import Node, graph_file
from tests.tflite.converted import DIGITS, FILES

from isthmus.compile.halves.surgery import split
from isthmus.errors import SourceError
from isthmus.partition.cuts import find_cuts
from isthmus.tflite.verify import verify

Answers = dict[str, np.ndarray]


def _run(data: bytes, inputs: Answers) -> Answers:
    interpreter = Interpreter(model_content=data, num_threads=1)
    return dict(interpreter.get_signature_runner("serving_default")(**inputs))


def _check_every_cut(data: bytes, inputs: Answers) -> int:
    whole = _run(data, inputs)
    cuts = find_cuts(data).cuts
    for cut in cuts:
        halves = split(data, cut, "m")
        verify(halves.head)
        verify(halves.tail)
        made = _run(halves.head, {name: inputs[name] for name in halves.head_inputs})
        assert set(made) == set(halves.sent)
        found = _run(halves.tail, {**made, **{name: inputs[name] for name in halves.passed}})
        assert {name: value.tobytes() for name, value in found.items()} == {name: value.tobytes() for name, value in whole.items()}
    return len(cuts)


@st.composite
def graphs(draw: Any) -> bytes:
    """Chains with skips, two inputs and a constant, all of it read by what comes last."""
    known, unread, nodes = ["x", "z", "one"], {"x", "z"}, []
    for number in range(draw(st.integers(2, 8))):
        operator = draw(st.sampled_from(["TANH", "LOGISTIC", "ADD", "MUL"]))
        inputs = tuple(draw(st.sampled_from(known)) for _ in range(2 if operator in ("ADD", "MUL") else 1))
        nodes.append(Node(operator, inputs, f"t{number}"))
        unread = (unread - set(inputs)) | {f"t{number}"}
        known.append(f"t{number}")
    last = nodes[-1].output
    for number, name in enumerate(sorted(unread - {last})):
        nodes.append(Node("ADD", (last, name), f"s{number}"))
        last = f"s{number}"
    constants = {"one": np.linspace(-1, 1, 4, dtype=np.float32)[None]}
    return graph_file(nodes, inputs=("x", "z"), outputs=[last], constants=constants)


@settings(max_examples=60, deadline=None)
@given(graphs(), st.integers(0, 2**32 - 1))
@pytest.mark.slow
def test_head_and_tail_are_the_whole_at_every_cut(data: bytes, seed: int) -> None:
    random = np.random.default_rng(seed)
    _check_every_cut(data, {name: random.standard_normal((1, 4), np.float32) for name in ("x", "z")})


def test_an_input_that_is_called_like_a_feature_keeps_its_name() -> None:
    nodes = [Node("TANH", ("feature_0",), "a"), Node("ADD", ("a", "feature_0"), "y")]
    data = graph_file(nodes, inputs=["feature_0"], outputs=["y"])
    assert _check_every_cut(data, {"feature_0": np.ones((1, 4), np.float32)}) == 1


def test_a_half_leaves_out_the_constants_of_the_other() -> None:
    nodes = [Node("ADD", ("x", "large"), "a"), Node("TANH", ("a",), "y")]
    data = graph_file(nodes, outputs=["y"], constants={"large": np.ones((1, 4000), np.float32)}, width=4000)
    halves = split(data, find_cuts(data).cuts[0], "m")
    assert len(halves.tail) < 2000
    assert len(halves.head) > 16_000


def test_a_file_without_a_signature_is_refused() -> None:
    data = graph_file([Node("TANH", ("x",), "a"), Node("TANH", ("a",), "y")], outputs=["y"])
    with pytest.raises(SourceError, match="no signature"):
        split(data.replace(b"serving_default", b"serving_default".upper()), find_cuts(data).cuts[0], "m")


@pytest.mark.slow
@pytest.mark.parametrize("file", ["digits.tflite", "quantised.tflite"])
def test_a_trained_network_is_cut_at_every_layer(once: Callable[..., tuple[Path, Any]], file: str) -> None:
    folder, _ = once(*FILES)
    images = np.load(DIGITS / "evaluation.npz")["x"]
    data = (folder / file).read_bytes()
    details = Interpreter(model_content=data).get_signature_runner("serving_default").get_input_details()
    ((name, detail),) = details.items()
    for image in images[:8].astype(detail["dtype"]):
        assert _check_every_cut(data, {name: image[None]}) >= 5
