"""A head that was learned elsewhere is a source like any other."""

import importlib.util

import numpy as np
import pytest

from isthmus.compile import check_request
from isthmus.compile.heads import RECIPES, written

KERNEL, BIAS = np.arange(12.0).reshape(4, 3), np.array([0.5, 0, -0.5])
EXAMPLES, LABELS = np.eye(4), np.array([0, 1, 2, 2])


def test_what_is_written_can_be_compiled_as_far_as_files_tell(tmp_path):
    request = written(tmp_path, KERNEL, BIAS, EXAMPLES, LABELS)
    for recipe in RECIPES:
        assert check_request(request.__class__(**{**vars(request), "recipe": recipe}), "") == []


def test_its_numbers_are_part_of_what_the_release_depends_on(tmp_path):
    source, problems = written(tmp_path, KERNEL, BIAS, EXAMPLES, LABELS).find("")
    assert not problems
    assert "group_head/numbers.npz" in dict(source.files)


@pytest.mark.slow
def test_the_model_is_the_softmax_of_these_numbers(tmp_path):
    pytest.importorskip("keras")
    written(tmp_path, KERNEL, BIAS, EXAMPLES, LABELS)
    spec = importlib.util.spec_from_file_location("group_head", tmp_path / "group_head" / "__init__.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    powers = np.exp(EXAMPLES @ KERNEL + BIAS)
    assert np.asarray(module.head()(EXAMPLES)) == pytest.approx(powers / powers.sum(axis=1, keepdims=True), abs=1e-5)
