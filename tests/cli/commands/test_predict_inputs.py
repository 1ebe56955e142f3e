import json

import numpy as np
import pytest
from PIL import Image

from isthmus.cli.commands.predict.inputs import load_request
from isthmus.errors import InputError


def test_a_single_example_in_npy_becomes_a_batch_of_one(tmp_path, signature):
    np.save(tmp_path / "x.npy", np.ones((2, 2, 1), np.float32))
    assert np.shape(load_request(tmp_path / "x.npy", signature)["instances"]) == (1, 2, 2, 1)


def test_a_batch_in_npy_stays_one(tmp_path, signature):
    np.save(tmp_path / "x.npy", np.ones((5, 2, 2, 1), np.float32))
    assert np.shape(load_request(tmp_path / "x.npy", signature)["instances"]) == (5, 2, 2, 1)


def test_an_array_of_the_wrong_shape_is_refused_with_the_right_one(tmp_path, signature):
    np.save(tmp_path / "x.npy", np.ones((3, 3)))
    with pytest.raises(InputError, match=r"has shape \(3, 3\); expected input 'image' of shape \(-1, 2, 2, 1\)"):
        load_request(tmp_path / "x.npy", signature)


def test_an_image_is_resized_and_scaled_to_what_the_model_takes(tmp_path, signature):
    Image.fromarray(np.full((8, 8, 3), 255, np.uint8)).save(tmp_path / "x.png")
    assert load_request(tmp_path / "x.png", signature) == {"instances": [[[[1.0], [1.0]], [[1.0], [1.0]]]]}


def test_a_whole_predict_request_is_sent_as_it_is(tmp_path, signature):
    body = {"signature_name": "other", "inputs": {"image": [1]}}
    (tmp_path / "x.json").write_text(json.dumps(body))
    assert load_request(tmp_path / "x.json", signature) == body


def test_a_bare_json_value_is_taken_as_the_instances(tmp_path, signature):
    (tmp_path / "x.json").write_text("[[1, 2]]")
    assert load_request(tmp_path / "x.json", signature) == {"instances": [[1, 2]]}


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("x.json", b"{", "is not JSON"),
        ("x.npy", b"nothing", "is not a .npy file"),
        ("x.png", b"nothing", "is not an image"),
        ("x.txt", b"nothing", "is of no known format"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(tmp_path, signature, name, content, said):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=said):
        load_request(tmp_path / name, signature)


def test_a_missing_file_is_named(tmp_path, signature):
    with pytest.raises(InputError, match="there is no file"):
        load_request(tmp_path / "gone.npy", signature)


def test_pickled_arrays_are_not_loaded(tmp_path, signature):
    np.save(tmp_path / "x.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(InputError, match=r"is not a \.npy file"):
        load_request(tmp_path / "x.npy", signature)
