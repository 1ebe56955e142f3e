"""Constants and scales are found where they lie."""

import numpy as np
import pytest
from tests.tflite.writing import FLOAT32, INT4, INT8, Tensor, tflite

from isthmus.tflite.constants import constants
from isthmus.tflite.verify import DamagedFileError


def test_constants_and_scales_are_found_with_their_places():
    weights, halves, bias = bytes(range(60)), b"\x12\x34\x05", np.arange(4, dtype="<f4").tobytes()
    file = tflite(
        [
            Tensor(INT8, (3, 20), weights, scales=[0.5, 0.25, 0.125]),
            Tensor(INT4, (5,), halves),
            Tensor(FLOAT32, (4,), bias, name="bias"),
        ]
    )
    found = constants(file)
    assert [(c.name, c.part, c.shape, c.bits) for c in found] == [
        ("", "data", (3, 20), 8),
        ("", "scale", (3,), 32),
        ("", "data", (5,), 4),
        ("bias", "data", (4,), 32),
    ]
    contents = [file[c.start : c.start + c.size_bytes] for c in found]
    assert contents == [weights, np.array([0.5, 0.25, 0.125], "<f4").tobytes(), halves, bias]


def test_what_follows_a_file_does_not_disturb():
    file = tflite([Tensor(INT8, (20,), bytes(20))])
    assert constants(file + b"a bundle's other parts") == constants(file)


def test_a_damaged_file_is_refused():
    with pytest.raises(DamagedFileError):
        constants(tflite([Tensor(INT8, (20,), bytes(20))])[:-30])
