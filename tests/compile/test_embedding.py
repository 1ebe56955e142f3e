"""What a layer makes of an input is what the whole file makes of it on its way."""

import numpy as np
import pytest
from tests.compile.test_answering import release
from tests.isthmus_agent import tiny_model

from isthmus.compile.answering import edge_embeddings
from isthmus.compile.embedding import embedded
from isthmus.errors import SourceError

VIEWS = {"door": np.random.default_rng(1).normal(size=(5, 4)), "file": np.random.default_rng(2).normal(size=(5, 4))}


def test_a_layer_that_no_cut_lies_behind_is_refused_with_those_that_are_there():
    with pytest.raises(SourceError, match="layer 9 cannot be an embedding; expected a layer behind which one tensor of numbers crosses"):
        embedded(tiny_model.tflite(), 9, tiny_model.CLASSES, "MODEL")


@pytest.mark.slow  # starts the interpreter's process
def test_a_named_layer_makes_of_each_view_what_it_makes_in_the_whole_file(tmp_path):
    found = edge_embeddings(release(tmp_path), VIEWS, 1, "MODEL", "--views")
    assert (found.layer, found.name) == (1, "FULLY_CONNECTED")
    for name, rows in VIEWS.items():
        assert found.values[name] == pytest.approx(rows @ tiny_model.WEIGHTS.T, abs=1e-5)


@pytest.mark.slow
def test_where_no_layer_but_the_answer_is_there_it_says_so(tmp_path):
    with pytest.raises(SourceError, match="MODEL: no layer can be an embedding"):
        edge_embeddings(release(tmp_path), VIEWS, None, "MODEL", "--views")


@pytest.mark.slow
def test_a_file_that_is_damaged_is_one_message(tmp_path):
    with pytest.raises(SourceError, match="the edge interpreter"):
        edge_embeddings(release(tmp_path, content=b"no model"), VIEWS, None, "MODEL", "--views")
