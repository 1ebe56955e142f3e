"""Deltas make the new file, know tensors, and are never larger than what others make."""

import hashlib
import io
import zlib
from collections.abc import Callable

import bsdiff4
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from tests.tflite.writing import FLOAT32, INT4, INT8, INT16, INT32, Tensor, tflite

from isthmus.release import deltas
from isthmus.release.coding import entropy_bytes
from isthmus_agent.formats import delta

pytestmark = pytest.mark.slow

CHANGED_SHARES = [0.08, 0.26, 0.76]


def applied(old: bytes, patch: bytes, new: bytes) -> bytes:
    made = io.BytesIO()
    digest = f"sha256:{hashlib.sha256(new).hexdigest()}"
    delta.apply(io.BytesIO(old), io.BytesIO(patch), made, digest=digest, most_bytes=len(new))
    return made.getvalue()


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_any_file_is_made_of_any_other(data):
    old = data.draw(st.binary(max_size=600))
    cut = data.draw(st.tuples(st.integers(0, 600), st.integers(0, 600)).map(sorted))
    new = data.draw(st.sampled_from([old, b""])) + data.draw(st.binary(max_size=300)) + old[slice(*cut)]
    patch = deltas.make(old, new)
    assert applied(old, patch, new) == new
    assert len(patch) <= len(bsdiff4.diff(old, new))


TENSORS = st.lists(
    st.tuples(st.sampled_from([(INT8, 1), (INT4, 1), (INT16, 2), (INT32, 4), (FLOAT32, 4)]), st.integers(1, 200), st.booleans()), max_size=6
)


@pytest.mark.slow
@settings(deadline=None, max_examples=40)
@given(TENSORS, TENSORS, st.integers(0, 2**32 - 1), st.booleans())
def test_any_model_is_made_of_any_other(before, after, seed, alike):
    """alike: of tensors of the same shapes, changed a little."""
    draw = np.random.default_rng(seed)

    def model(tensors: list[tuple[tuple[int, int], int, bool]], contents: list[bytes]) -> bytes:
        return tflite(
            [
                Tensor(kind, (count * 2 if kind == INT4 else count,), content, [0.1] if scaled else ())
                for ((kind, _), count, scaled), content in zip(tensors, contents, strict=True)
            ]
        )

    contents = [draw.bytes(count * width) for (_, width), count, _ in before]
    old = model(before, contents)
    if alike:
        changed = [bytes(byte + (draw.random() < 0.3) & 0xFF for byte in content) for content in contents]
        new = model(before, changed)
    else:
        new = model(after, [draw.bytes(count * width) for (_, width), count, _ in after])
    assert applied(old, deltas.make(old, new), new) == new


def network(draw: np.random.Generator, weights: list[NDArray[np.int8]], scales: list[NDArray[np.float32]]) -> bytes:
    biases = [draw.integers(-5000, 5000, len(each)).astype("<i4") for each in weights]
    return tflite(
        [
            tensor
            for each, scale, bias in zip(weights, scales, biases, strict=True)
            for tensor in (Tensor(INT8, each.shape, each.tobytes(), scale), Tensor(INT32, bias.shape, bias.tobytes()))
        ]
    )


@pytest.fixture(scope="module", params=CHANGED_SHARES)
def tuned(request: pytest.FixtureRequest) -> tuple[float, bytes, bytes, float]:
    """A model of about 170,000 weights and one in which a share of them changed by rounded noise: share, files, entropy of the change."""
    draw = np.random.default_rng(7)
    shapes = [(32, 9), (64, 288), (64, 576), (128, 600), (128, 290)]
    weights = [np.clip(np.round(draw.normal(size=shape) * 38), -127, 127).astype(np.int8) for shape in shapes]
    scales = [draw.uniform(0.001, 0.01, shape[0]).astype(np.float32) for shape in shapes]
    noise = [draw.normal(size=shape) for shape in shapes]
    deviation = 0.5 / np.quantile(np.abs(np.concatenate([each.ravel() for each in noise])), 1 - request.param)
    after = [np.clip(each + np.round(change * deviation), -127, 127).astype(np.int8) for each, change in zip(weights, noise, strict=True)]
    change = b"".join((new - old).tobytes() for new, old in zip(after, weights, strict=True))
    return (
        request.param,
        network(np.random.default_rng(1), weights, scales),
        network(np.random.default_rng(1), after, scales),
        entropy_bytes(change),
    )


@pytest.mark.slow
def test_a_tuned_model_costs_little_more_than_the_entropy_of_its_change(tuned):
    share, old, new, bound_bytes = tuned
    patch = deltas.make(old, new)
    assert applied(old, patch, new) == new
    assert len(patch) <= 1.05 * bound_bytes
    assert len(patch) < len(bsdiff4.diff(old, new))
    full_bytes = min(len(zlib.compress(new, 9)), len(deltas.make(b"", new)))
    assert full_bytes / len(patch) >= {0.08: 12, 0.26: 5.5, 0.76: 2.4}[share]


def test_scales_and_biases_that_all_change_are_coded_apart_from_the_weights():
    draw = np.random.default_rng(3)
    weights = [np.clip(np.round(draw.normal(size=(128, 300)) * 38), -127, 127).astype(np.int8)]
    scales = [draw.uniform(0.001, 0.01, 128).astype(np.float32)]
    old = network(np.random.default_rng(1), weights, scales)
    new = network(np.random.default_rng(2), weights, [scales[0] * np.float32(1.0001)])
    assert len(deltas.make(old, new)) < 128 * (4 + 2) + 100  # 13 bits of each bias are new, and few of each scale


def test_tensors_of_another_shape_and_order_are_no_worse_than_without_tensors():
    draw = np.random.default_rng(3)
    parts = [draw.bytes(4000) for _ in range(3)]
    old = tflite([Tensor(INT8, (40, 100), part) for part in parts])
    new = tflite([Tensor(INT8, (4000,), parts[2]), Tensor(INT8, (40, 100), parts[1]), Tensor(INT8, (40, 100), parts[0])])
    assert len(deltas.make(old, new)) < len(bsdiff4.diff(old, new)) < 1000


def test_the_same_files_make_the_same_delta_of_a_few_bytes():
    file = tflite([Tensor(INT8, (100, 100), np.random.default_rng(1).bytes(10_000))])
    assert deltas.make(file, file) == deltas.make(file, file)
    assert len(deltas.make(file, file)) < 30


@pytest.mark.parametrize("change", [lambda raw: raw, lambda raw: raw[: delta.FRAME_BYTES + 3], lambda raw: raw[5:] + raw[:77] + raw[:5]])
def test_files_of_more_than_a_frame(change: Callable[[bytes], bytes]):
    old = np.random.default_rng(1).bytes(3 * delta.FRAME_BYTES + 11)
    new = change(old)
    assert applied(old, deltas.make(old, new), new) == new


@pytest.mark.slow
def test_a_tensor_that_is_cut_by_frames_is_summed_by_whole_elements():
    draw = np.random.default_rng(1)
    before = draw.normal(size=400_000).astype("<f4")
    after = (before * (1 + 1e-6 * draw.integers(0, 3, before.size))).astype("<f4")
    old, new = (tflite([Tensor(INT8, (3,), b"abc"), Tensor(FLOAT32, each.shape, each.tobytes())]) for each in (before, after))
    patch = deltas.make(old, new)
    assert applied(old, patch, new) == new
    assert len(patch) < len(new) / 8
