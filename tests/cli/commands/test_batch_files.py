"""The files of a batch job: what cannot be read, written or asked for is refused with its reason."""

import numpy as np
import pytest
from tests.cli.batch_scorer import ONE, TWO, tensor

from isthmus.cli.commands.batch.files import Answers, open_examples, open_partial
from isthmus.errors import InputError, PlatformError


@pytest.mark.parametrize(
    ("arrays", "signature", "message"),
    [
        (np.zeros((5, 4), np.float32), ONE, r"--input.x: has shape \(5, 4\); expected \('any number', 3\)"),
        (np.zeros((0, 3), np.float32), ONE, "has no rows"),
        (np.array([["a"] * 3]), ONE, "holds <U1"),
        (np.array([[{}] * 3]), ONE, "cannot be read"),
        (np.zeros((5, 3), np.float32), TWO, "the model has 2 inputs; expected a .npz file with k, x"),
        ({"x": np.zeros((5, 3)), "k": np.zeros(4, int)}, TWO, "numbers of rows differ: k has 4, x has 5"),
        ({"x": np.zeros((5, 3)), "z": np.zeros(5)}, TWO, r"--input.k: is missing[^\0]*--input.z: the model has no such input"),
        (np.zeros((5, 3), np.float32), {**ONE, "inputs": {"x": tensor(1, 3)}}, "any number of examples"),
        (np.zeros((5, 3), np.float32), {**ONE, "inputs": {"x": tensor(-1, dtype="object")}}, "DT_STRING"),
    ],
)  # fmt: skip
def test_examples_that_the_model_cannot_take_are_refused(tmp_path, arrays, signature, message):
    file = tmp_path / ("x.npz" if isinstance(arrays, dict) else "x.npy")
    np.savez(file, **arrays) if isinstance(arrays, dict) else np.save(file, arrays)
    with pytest.raises(InputError, match=message):
        open_examples(file, signature, tmp_path)


@pytest.mark.parametrize(("name", "outputs", "message"), [
    ("y.npy", TWO["outputs"], "the model has 2 outputs: k2, y; expected a .npz file"),
    ("y.npz", {"s": tensor(-1, dtype="object")}, "'s' is DT_STRING"),
])  # fmt: skip
def test_outputs_that_no_file_can_hold_are_refused(examples, tmp_path, name, outputs, message):
    found = open_examples(examples(5)[0], ONE, tmp_path)
    with pytest.raises(InputError, match=message):
        Answers(tmp_path / name, tmp_path, found, {"outputs": outputs}, "", resume=False)


@pytest.mark.parametrize("answer", [{"outputs": [[1, 2]]}, {"outputs": 3.0}, {"outputs": [["a", "b"], ["c", "d"]]}, {"predictions": []}])
def test_an_answer_that_cannot_be_right_is_not_written(examples, tmp_path, answer):
    answers = Answers(tmp_path / "y.npy", tmp_path, open_examples(examples(5)[0], ONE, tmp_path), ONE, "", resume=False)
    answers.write((0, 2), {"outputs": [[1, 2], [3, 4]]})
    with pytest.raises(PlatformError, match="rows 2 to 3"):
        answers.write((2, 4), answer)


def test_two_jobs_do_not_write_the_same_output(tmp_path):
    output = tmp_path / "y.npy"
    with (
        open_partial(output, resume=False),
        pytest.raises(InputError, match="another job is writing"),
        open_partial(output, resume=True),
    ):
        pass
