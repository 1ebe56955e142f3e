"""The quantiser against litert-quantizer and TFLiteConverter: `python benchmarks/quantise.py [--weights N] [--model FILE.tflite …]`.

Three tables: the solver's time on N weights of several distributions, on one core; the squared error of the weights in digits
and in every other float file named, against litert-quantizer's algorithms with the same codes and against a dense search
over scales that shares nothing with the solver; and size, error, accuracy and time of whole files of digits.

Algorithms that turn the weights before they quantise (HADAMARD) write operators that the interpreter aborts on: they are
not run. GPTQ and OSCAR look at activations too, and weigh errors by them; the table has their plain error.
"""

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # before numpy: one core is what is promised

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from isthmus.compile.edge import compress, float_model
from isthmus.compile.export import SIGNATURE
from isthmus.compile.quantise import flatbuffer
from isthmus.compile.quantise.optimal import squared_error
from isthmus.compile.quantise.scales import best_scales, min_max_scales

DIGITS = Path(__file__).parents[1] / "models" / "digits"
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


def files(saved_model: Path, plain: bytes, data: dict[str, NDArray[Any]]) -> list[dict[str, Any]]:
    """Whole files of digits: ours, litert-quantizer's recipes, TFLiteConverter's Optimize.DEFAULT."""
    import tensorflow as tf
    from litert_quantizer import Quantizer, recipe

    def converter(full: bool) -> bytes:
        made = tf.lite.TFLiteConverter.from_saved_model(str(saved_model), signature_keys=[SIGNATURE])
        made.optimizations = [tf.lite.Optimize.DEFAULT]
        if full:
            made.representative_dataset = lambda: ((SIGNATURE, {"image": image[None]}) for image in data["x"][:256])
        return bytes(made.convert())

    def theirs(made: Any) -> bytes:
        quantizer = Quantizer(plain, made)
        ranges = None
        if quantizer.need_calibration:
            ranges = quantizer.calibrate({SIGNATURE: [{"image": image[None]} for image in data["x"][:256]]}, num_threads=1)
        return bytes(quantizer.quantize(ranges, enable_progress_bar=False, enable_progress_report=False).quantized_model)

    ways: dict[str, Callable[[], bytes]] = {
        "float32": lambda: plain,
        **{
            f"isthmus {storage}": lambda storage=storage: compress(plain, storage, {"image": data["x"]}, "digits").data
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
    rows = []
    for name, make in ways.items():
        start = time.perf_counter()
        made = make()
        seconds = time.perf_counter() - start
        right, difference, median_ms = _proof(made, plain, data)
        row = {"file": name, "bytes": len(made), "smaller": len(plain) / len(made), "accuracy": right, "largest difference": difference}
        rows.append({**row, "p50 ms": median_ms, "seconds to make": seconds})
    return rows


def _proof(file: bytes, plain: bytes, data: dict[str, NDArray[Any]]) -> tuple[float, float, float]:
    from ai_edge_litert.interpreter import Interpreter

    answers, times = [], []
    for content in (plain, file):
        runner = Interpreter(model_content=content, num_threads=1).get_signature_runner(SIGNATURE)
        detail = next(iter(runner.get_input_details().values()))
        scale, zero = detail["quantization"]
        given = data["x"] if detail["dtype"] == np.float32 else np.clip(np.rint(data["x"] / scale) + zero, -128, 127).astype(np.int8)
        answer = np.concatenate([next(iter(runner(image=image[None]).values())) for image in given])
        out_scale, out_zero = next(iter(runner.get_output_details().values()))["quantization"]
        answers.append(answer if answer.dtype == np.float32 else (answer.astype(np.float32) - out_zero) * out_scale)
        times = []
        for index in range(RUNS):
            start = time.perf_counter()
            runner(image=given[index : index + 1])
            times.append(time.perf_counter() - start)
    right = float((answers[1].argmax(axis=1) == data["y"]).mean())
    return right, float(np.abs(answers[1] - answers[0]).max()), float(np.median(times)) * 1000


def show(title: str, rows: list[dict[str, Any]]) -> None:
    table = Table(*rows[0], title=title)
    for row in rows:
        table.add_row(*(f"{value:.4g}" if isinstance(value, float) else str(value) for value in row.values()))
    Console(width=150).print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=int, default=10_000_000)
    parser.add_argument("--model", type=Path, action="append", default=[], help="another float .tflite file to compare weights on")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    found = {"solver": solver(options.weights)}
    show("The solver on one core", found["solver"])

    import keras

    with np.load(DIGITS / "evaluation.npz") as archive:
        data = {"x": archive["x"], "y": archive["y"]}
    with tempfile.TemporaryDirectory() as scratch:
        saved_model = Path(scratch) / "digits"
        keras.models.load_model(DIGITS / "model.keras").export(str(saved_model), verbose=False)
        plain = float_model(saved_model, "digits")
        found["weights"] = algorithms("digits", plain, {"image": data["x"]})
        for file in options.model:
            found["weights"] += algorithms(file.stem, file.read_bytes(), None)
        show("Squared error of the weights", found["weights"])
        found["files"] = files(saved_model, plain, data)
    show("Files of digits", found["files"])
    if options.json:
        options.json.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
