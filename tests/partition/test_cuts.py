"""Where a graph may be cut: few tensors cross, and all state stays before it."""

import itertools

import numpy as np
import pytest
from tests.graphs import Node, graph_file

from isthmus.partition.cuts import MOST_CUTS, MOST_FEATURES, find_cuts, inputs_of
from isthmus.tflite.verify import DamagedFileError

ONES = {"one": np.ones((1, 4), np.float32)}


def _chain(count: int) -> bytes:
    names = ["x", *(f"t{number}" for number in range(count))]
    return graph_file([Node("TANH", (a,), b) for a, b in itertools.pairwise(names)], outputs=names[-1:])


def test_a_chain_is_cut_between_all_of_its_layers() -> None:
    found = find_cuts(_chain(4))
    assert [(cut.layers, [feature.name for feature in cut.features]) for cut in found.cuts] == [(1, ["t0"]), (2, ["t1"]), (3, ["t2"])]
    assert [cut.size_bytes for cut in found.cuts] == [16, 16, 16]


def test_both_branches_cross_a_cut_through_them() -> None:
    nodes = [Node("TANH", ("x",), "a"), Node("LOGISTIC", ("x",), "b"), Node("ADD", ("a", "b"), "y")]
    first, second = find_cuts(graph_file(nodes, outputs=["y"])).cuts
    assert [(it.name, it.is_input) for it in first.features] == [("x", True), ("a", False)]
    assert [it.name for it in second.features] == ["a", "b"]


def test_no_more_than_a_few_tensors_cross() -> None:
    many = MOST_FEATURES + 1
    nodes = [Node("TANH", ("x",), f"t{number}") for number in range(many)]
    names = ["t0", *(f"s{number}" for number in range(1, many))]
    nodes += [Node("ADD", (names[number - 1], f"t{number}"), names[number]) for number in range(1, many)]
    found = find_cuts(graph_file(nodes, outputs=names[-1:]))
    assert many not in {cut.layers for cut in found.cuts}
    assert any("not 1 to 4 tensors" in reason for reason in found.refused)


def test_what_is_computed_of_constants_belongs_to_the_half_that_reads_it() -> None:
    nodes = [Node("TANH", ("one",), "c"), Node("TANH", ("x",), "a"), Node("ADD", ("a", "c"), "y")]
    (cut,) = find_cuts(graph_file(nodes, outputs=["y"], constants=ONES)).cuts
    assert (cut.head, cut.tail, [it.name for it in cut.features]) == ((1,), (0, 2), ["a"])


def test_an_operator_with_a_state_stays_on_the_device() -> None:
    nodes = [Node("TANH", ("x",), "a"), Node("ADD", ("a", "kept"), "b"), Node("TANH", ("b",), "y")]
    found = find_cuts(graph_file(nodes, outputs=["y"], variables=["kept"]))
    assert [cut.layers for cut in found.cuts] == [2]
    assert found.refused == {"an operator behind it keeps a state, which must stay on the device": 1}


def test_a_random_operator_stays_on_the_device() -> None:
    nodes = [Node("TANH", ("x",), "a"), Node("MULTINOMIAL", ("a",), "b"), Node("TANH", ("b",), "y")]
    assert [cut.layers for cut in find_cuts(graph_file(nodes, outputs=["y"])).cuts] == [2]


def test_an_output_that_is_made_early_allows_no_cut_behind_it() -> None:
    nodes = [Node("TANH", ("x",), "a"), Node("TANH", ("a",), "b"), Node("TANH", ("b",), "y")]
    found = find_cuts(graph_file(nodes, outputs=["a", "y"]))
    assert (found.cuts, found.refused) == ((), {"an output is made before it": 2})


def test_a_tensor_without_a_batch_does_not_cross() -> None:
    nodes = [Node("TANH", ("x",), "a"), Node("TANH", ("a",), "y")]
    found = find_cuts(graph_file(nodes, outputs=["y"], shapes={"a": (4,)}))
    assert (found.cuts, list(found.refused)) == ((), ["a tensor without a batch dimension crosses it"])


def test_text_does_not_cross() -> None:
    nodes = [Node("TANH", ("x",), "a"), Node("TANH", ("a",), "y")]
    found = find_cuts(graph_file(nodes, outputs=["y"], types={"a": 5}))
    assert list(found.refused) == ["what crosses has no form on the wire"]


def test_a_single_layer_has_no_cut() -> None:
    assert find_cuts(_chain(1)).cuts == ()


def test_a_long_network_has_so_many_cuts_and_no_more() -> None:
    found = find_cuts(_chain(MOST_CUTS + 9))
    assert len(found.cuts) == MOST_CUTS
    assert sum(found.refused.values()) == 8


def test_a_damaged_file_is_refused() -> None:
    with pytest.raises(DamagedFileError):
        find_cuts(_chain(3)[:-200])


def test_inputs_of_text_are_no_numbers() -> None:
    with pytest.raises(ValueError, match="text"):
        inputs_of(graph_file([Node("TANH", ("x",), "y")], outputs=["y"], types={"x": 5}))
