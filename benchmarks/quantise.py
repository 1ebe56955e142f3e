"""The quantiser against litert-quantizer and TFLiteConverter: `python benchmarks/quantise.py [--weights N] [--model FILE.tflite …]`.

Three tables: the solver's time on N weights of several distributions, on one core; the squared error of the weights in the
models of models/ and in every other float file named, against litert-quantizer's algorithms with the same codes and against a
dense search over scales that shares nothing with the solver; and size, error, accuracy and time of whole files of each model.

Algorithms that turn the weights before they quantise (HADAMARD) write operators that the interpreter aborts on: they are
not run. GPTQ and OSCAR look at activations too, and weigh errors by them; the table has their plain error.
"""

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # before numpy: one core is what is promised

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from isthmus.compile.build.edge import Compressed, compress, float_model
from isthmus.compile.build.evaluation import Evaluation, load_evaluation
from isthmus.compile.build.export import SIGNATURE, export_keras
from isthmus.compile.quantise import flatbuffer
from isthmus.compile.quantise.optimal import squared_error
from isthmus.compile.quantise.scales import best_scales, min_max_scales
from isthmus.compile.sources.load import describe_keras
from isthmus.errors import IsthmusError

MODELS = Path(__file__).parents[1] / "models"
NAMES = ("digits", "commands", "lectures")
CALIBRATION_EXAMPLES = 256
CHANNEL_WEIGHTS = 4000
BITS = (8, 4)
ALGORITHMS = ("min_max_uniform_quantize", "OCTAV", "MSE", "GPTQ", "OSCAR")
RUNS = 200


def solver(weights: int) -> list[dict[str, Any]]:
    """CPU seconds of `best_scales`, and its error as a share of min-max's."""
    random = np.random.default_rng(0)
    shape = (max(1, weights // CHANNEL_WEIGHTS), CHANNEL_WEIGHTS)
    draws: dict[str, Callable[..., NDArray[np.float64]]] = {
        "normal": random.standard_normal,
        "uniform": lambda size: random.uniform(-1, 1, size),
        "Laplace": lambda size: random.laplace(size=size),
    }
    rows = []
    for name, draw in draws.items():
        drawn = draw(shape).astype(np.float32)
        for bits in BITS:
            levels = flatbuffer.LEVELS[bits]
            start, cpu = time.perf_counter(), time.process_time()
            scales = best_scales(drawn, levels)
            cpu, wall = time.process_time() - cpu, time.perf_counter() - start
            share = squared_error(drawn, scales, levels) / squared_error(drawn, min_max_scales(drawn, levels), levels)
            rows.append({"weights": f"{drawn.size:.0e} {name}", "bits": bits, "cpu s": cpu, "wall s": wall, "error / min-max": share})
    return rows


def dense(rows: NDArray[np.float32], levels: int) -> float:
    """The least error that a grid of scales finds, refined around its best."""
    total = 0.0
    for row in rows[np.abs(rows).max(axis=1) > 0].astype(np.float64):
        scales = np.abs(row).max() / levels * np.geomspace(0.3, 2.1, 1500)
        for _ in range(2):
            errors = np.array([np.square(row - s * np.clip(np.rint(row / s), -levels, levels)).sum() for s in scales])
            best = scales[errors.argmin()]
            scales = best * np.geomspace(0.99, 1.01, 200)
        total += float(errors.min())
    return total


def algorithms(name: str, plain: bytes, calibration: dict[str, NDArray[Any]] | None) -> list[dict[str, Any]]:
    """Σ(w − ŵ)² over the tensors that both write with the same codes, as a share of min-max's."""
    model = flatbuffer.read(plain, name)
    floats = {tensor.name: tensor for tensor in model.subgraphs[0].tensors if tensor.type == flatbuffer.FLOAT32}
    rows = []
    for bits in BITS:
        ours = {layer.name: layer for layer in compress(plain, f"int{bits}", None, name).layers if layer.bits == bits}
        dense_error, least = 0.0, sum(layer.min_max_error for layer in ours.values())
        for algorithm in ALGORITHMS:
            held = _algorithm(flatbuffer.write(model), bits, algorithm, calibration)
            errors = {}
            for tensor in held.subgraphs[0].tensors if held else ():
                if flatbuffer.BITS.get(tensor.type) == bits and tensor.name.decode() in ours:
                    axis = flatbuffer.scale_axis(tensor)
                    weights, codes = (
                        flatbuffer.by_channel(values, axis)
                        for values in (flatbuffer.floats(model, floats[tensor.name]), flatbuffer.codes(held, tensor))
                    )
                    levels = flatbuffer.LEVELS[bits]
                    errors[tensor.name.decode()] = squared_error(
                        weights, np.asarray(tensor.quantization.scale), levels, codes.clip(-levels)
                    )
                    dense_error += dense(weights, levels) if algorithm == ALGORITHMS[0] and len(plain) < 1e6 else np.nan
            if not errors:
                continue  # it needs activations, or takes none of these operators
            both = [ours[layer] for layer in errors]
            rows.append(
                {
                    "model": name,
                    "bits": bits,
                    "against": algorithm,
                    "tensors": len(both),
                    "theirs / min-max": sum(errors.values()) / (sum(layer.min_max_error for layer in both)),
                    "ours / min-max": sum(layer.squared_error for layer in both) / (sum(layer.min_max_error for layer in both)),
                    "tensors where ours is not lower": sum(errors[layer.name] * (1 + 1e-6) < layer.squared_error for layer in both),
                }
            )
            if algorithm == ALGORITHMS[0] and np.isfinite(dense_error):
                mine = sum(layer.squared_error for layer in both)
                rows.append(
                    {**rows[-1], "against": "dense search", "theirs / min-max": dense_error / least, "ours / min-max": mine / least}
                )
    return rows


def _algorithm(plain: bytes, bits: int, algorithm: str, calibration: dict[str, NDArray[Any]] | None) -> Any | None:
    """The file of one of litert-quantizer's algorithms; None where it does not take the model."""
    from litert_quantizer import Quantizer, recipe

    quantizer = Quantizer(plain, (recipe.dynamic_wi8_afp32 if bits == 8 else recipe.dynamic_wi4_afp32)(algorithm))
    ranges = None
    if quantizer.need_calibration:
        if calibration is None:
            return None
        count = min(64, len(next(iter(calibration.values()))))
        ranges = quantizer.calibrate(
            {SIGNATURE: [{name: values[i : i + 1] for name, values in calibration.items()} for i in range(count)]}, num_threads=1
        )
    try:
        return flatbuffer.read(
            bytes(quantizer.quantize(ranges, enable_progress_bar=False, enable_progress_report=False).quantized_model), algorithm
        )
    except (ValueError, RuntimeError, KeyError, TypeError, NotImplementedError):
        return None


@dataclass(frozen=True)
class Subject:
    """A model of models/. plain: its float .tflite file."""

    name: str
    saved_model: Path
    plain: bytes
    evaluation: Evaluation

    @property
    def calibration(self) -> list[dict[str, NDArray[Any]]]:
        """Inputs one by one. Of the evaluation data, which is fair here: nobody is judged by it who was not calibrated on it."""
        return list(self.evaluation.singles())[:CALIBRATION_EXAMPLES]


def subject(name: str, scratch: Path) -> Subject:
    import keras

    folder, saved_model = MODELS / name, scratch / name
    model = describe_keras(keras.models.load_model(folder / "model.keras"), name, name)
    export_keras(model, saved_model, name)
    evaluation = load_evaluation(folder / "evaluation.npz", model.described.inputs, model.described.outputs, name)
    return Subject(name, saved_model, float_model(saved_model, name), evaluation)


def files(it: Subject) -> list[dict[str, Any]]:
    """Whole files: ours, litert-quantizer's recipes, TFLiteConverter's Optimize.DEFAULT."""
    import tensorflow as tf
    from litert_quantizer import Quantizer, recipe

    def converter(full: bool) -> bytes:
        made = tf.lite.TFLiteConverter.from_saved_model(str(it.saved_model), signature_keys=[SIGNATURE])
        made.optimizations = [tf.lite.Optimize.DEFAULT]
        if full:
            made.representative_dataset = lambda: ((SIGNATURE, inputs) for inputs in it.calibration)
        return bytes(made.convert())

    def theirs(made: Any) -> bytes:
        quantizer = Quantizer(it.plain, made)
        ranges = quantizer.calibrate({SIGNATURE: it.calibration}, num_threads=1) if quantizer.need_calibration else None
        return bytes(quantizer.quantize(ranges, enable_progress_bar=False, enable_progress_report=False).quantized_model)

    ways: dict[str, Callable[[], bytes | Compressed]] = {
        "float32": lambda: it.plain,
        **{
            f"isthmus {storage}": lambda storage=storage: compress(it.plain, storage, it.evaluation.inputs, it.name)
            for storage in ("float16", "int8", "int8-weights", "int8-static", "int4", "int4-weights")
        },
        "litert dynamic_wi8_afp32": lambda: theirs(recipe.dynamic_wi8_afp32()),
        "litert weight_only_wi8_afp32": lambda: theirs(recipe.weight_only_wi8_afp32()),
        "litert static_wi8_ai8": lambda: theirs(recipe.static_wi8_ai8()),
        "litert dynamic_wi4_afp32": lambda: theirs(recipe.dynamic_wi4_afp32()),
        "litert weight_only_wi4_afp32": lambda: theirs(recipe.weight_only_wi4_afp32()),
        "TFLiteConverter DEFAULT": lambda: converter(False),
        "TFLiteConverter DEFAULT, calibrated": lambda: converter(True),
    }
    wanted, _ = _answers(it.plain, it)
    rows = []
    for name, make in ways.items():
        row: dict[str, Any] = {"model": it.name, "file": name}
        start = time.perf_counter()
        try:
            made = make()
            seconds = time.perf_counter() - start
            file = made.data if isinstance(made, Compressed) else made
            row.update({"bytes": len(file), "smaller": len(it.plain) / len(file), "weight error / min-max": _weight_error(it.plain, made)})
            found, median_ms = _answers(file, it)
        except (ValueError, RuntimeError, KeyError, TypeError, IsthmusError) as error:
            row.update({"file": f"{name}: {str(error).strip().splitlines()[0][:40]}"})
            rows.append(row)
            continue
        difference = max(float(np.abs(found[output] - wanted[output]).max()) for output in wanted)
        row.update({it.evaluation.metric: it.evaluation.score(found), "largest difference": difference})
        rows.append({**row, "p50 ms": median_ms, "seconds to make": seconds})
    return rows


def _weight_error(plain: bytes, made: bytes | Compressed) -> float | None:
    """Σ(w − ŵ)² of the weights in 8 or 4 bits, as a share of what scales that just cover the largest leave; None where there are none."""
    if isinstance(made, Compressed):
        return sum(it.squared_error for it in made.layers) / sum(it.min_max_error for it in made.layers) if made.layers else None
    model, held = flatbuffer.read(plain, "plain"), flatbuffer.read(made, "made")
    floats = {tensor.name: tensor for tensor in model.subgraphs[0].tensors if tensor.type == flatbuffer.FLOAT32}
    error = least = 0.0
    for tensor in held.subgraphs[0].tensors:
        original, bits = floats.get(tensor.name), flatbuffer.BITS.get(tensor.type)
        if original is None or bits is None or not flatbuffer.constant(model, original):
            continue
        axis, levels = flatbuffer.scale_axis(tensor), flatbuffer.LEVELS[bits]
        weights, codes = (
            flatbuffer.by_channel(values, axis) for values in (flatbuffer.floats(model, original), flatbuffer.codes(held, tensor))
        )
        error += squared_error(weights, np.asarray(tensor.quantization.scale), levels, codes)
        least += squared_error(weights, min_max_scales(weights, levels), levels)
    return error / least if least else None


def _answers(file: bytes, it: Subject) -> tuple[dict[str, NDArray[Any]], float]:
    """Outputs by name as floats, and the median time of a run in ms."""
    from ai_edge_litert.interpreter import Interpreter

    runner = Interpreter(model_content=file, num_threads=1).get_signature_runner(SIGNATURE)
    takes, gives = runner.get_input_details(), runner.get_output_details()

    def given(name: str, values: NDArray[Any]) -> NDArray[Any]:
        scale, zero = takes[name]["quantization"]
        integer = takes[name]["dtype"] == np.int8 and values.dtype != np.int8
        return np.clip(np.rint(values / scale) + zero, -128, 127).astype(np.int8) if integer else values

    def taken(name: str, values: NDArray[Any]) -> NDArray[Any]:
        scale, zero = gives[name]["quantization"]
        return (values.astype(np.float32) - zero) * scale if values.dtype == np.int8 else values

    examples = [{name: given(name, values) for name, values in inputs.items()} for inputs in it.evaluation.singles()]
    found = it.evaluation.answers(
        lambda inputs: {n: taken(n, v) for n, v in runner(**{m: given(m, w) for m, w in inputs.items()}).items()}, it.name
    )
    times = []
    for index in range(RUNS):
        start = time.perf_counter()
        runner(**examples[index % len(examples)])
        times.append(time.perf_counter() - start)
    return found, float(np.median(times)) * 1000


def show(title: str, rows: list[dict[str, Any]]) -> None:
    table = Table(*rows[0], title=title)
    for row in rows:
        table.add_row(*("–" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value) for value in row.values()))
    Console(width=150).print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=int, default=10_000_000)
    parser.add_argument("--model", type=Path, action="append", default=[], help="another float .tflite file to compare weights on")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    found = {"solver": solver(options.weights)}
    show("The solver on one core", found["solver"])

    with tempfile.TemporaryDirectory() as scratch:
        subjects = [subject(name, Path(scratch)) for name in NAMES]
        found["weights"] = [row for it in subjects for row in algorithms(it.name, it.plain, it.evaluation.inputs)]
        for file in options.model:
            found["weights"] += algorithms(file.stem, file.read_bytes(), None)
        show("Squared error of the weights", found["weights"])
        found["files"] = []
        for it in subjects:
            rows = files(it)
            show(f"Files of {it.name}", rows)
            found["files"] += rows
    if options.json:
        options.json.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
