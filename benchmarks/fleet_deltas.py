"""Deltas of fine-tuned models against bsdiff4, hdiffpatch and zstd: `python benchmarks/fleet_deltas.py [--large MIB]`.

    tuned       truly fine-tuned: a network of 170,000 weights trained on half of scikit-learn's digits and then for a while on all of them,
                both quantised to int8 with a scale a channel
    8, 26, 76 % the first of these, with rounded normal noise on its weights (synthetic: scales and biases stay) that changes this share
    digits 26 % as before, on the int8 variant of models/digits, where this machine's cache of releases has one
    float32     the network before quantisation, with the tuned one (no target; bits of floats change nearly all)

`bound` is the order-0 entropy of the weights' differences alone. Each delta of ours is applied, and must make the new file.
"""

import argparse
import hashlib
import io
import itertools
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import bsdiff4
import flatbuffers
import hdiffpatch
import numpy as np
import zstandard
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from sklearn.datasets import load_digits

from isthmus.release import deltas
from isthmus.release.cache import default_cache_directory
from isthmus.release.coding import entropy_bytes
from isthmus.tflite.constants import constants
from isthmus_agent.formats import delta

LAYERS = (64, 320, 416, 32, 10)
SHARES = (0.08, 0.26, 0.76)
INT8, FLOAT32 = schema.TensorType.INT8, schema.TensorType.FLOAT32
Weights = list[NDArray[np.float32]]


@dataclass(frozen=True)
class Pair:
    """A file and the one that follows. change: differences of the weights, as bytes; empty where they are no bytes."""

    name: str
    old: bytes
    new: bytes
    change: bytes = b""


def trained(weights: Weights, x: NDArray[Any], y: NDArray[Any], *, epochs: int, rate: float, random: np.random.Generator) -> Weights:
    """A perceptron after some epochs of plain stochastic gradient descent."""
    weights = [each.copy() for each in weights]
    for _ in range(epochs):
        for batch in np.array_split(random.permutation(len(x)), len(x) // 32):
            outputs = [x[batch]]
            for each in weights:
                values = outputs[-1] @ each.T
                outputs.append(np.maximum(values, 0) if each is not weights[-1] else values)
            powers = np.exp(outputs[-1] - outputs[-1].max(1, keepdims=True))
            error = powers / powers.sum(1, keepdims=True)
            error[np.arange(len(batch)), y[batch]] -= 1
            for index in range(len(weights) - 1, -1, -1):
                step = error.T @ outputs[index] / len(batch)
                error = error @ weights[index] * (outputs[index] > 0)
                weights[index] -= rate * step
    return weights


def accuracy(weights: Weights, x: NDArray[Any], y: NDArray[Any]) -> float:
    for each in weights:
        x = np.maximum(x @ each.T, 0) if each is not weights[-1] else x @ each.T
    return float((x.argmax(1) == y).mean())


def quantised(weights: Weights) -> list[tuple[NDArray[np.int8], NDArray[np.float32]]]:
    scales = [(np.abs(each).max(1) / 127).astype(np.float32) for each in weights]
    return [(np.round(each / scale[:, None]).astype(np.int8), scale) for each, scale in zip(weights, scales, strict=True)]


def tflite(tensors: list[tuple[NDArray[Any], NDArray[np.float32] | None]]) -> bytes:
    """A file with these constants, which is what an update changes: no operators."""
    model, graph = schema.ModelT(), schema.SubGraphT()
    model.version, model.buffers, graph.tensors = 3, [schema.BufferT()], []
    for content, scale in tensors:
        tensor, buffer = schema.TensorT(), schema.BufferT()
        buffer.data = np.frombuffer(content.tobytes(), np.uint8)
        model.buffers.append(buffer)
        tensor.type, tensor.shape, tensor.buffer = (
            INT8 if content.dtype == np.int8 else FLOAT32,
            list(content.shape),
            len(model.buffers) - 1,
        )
        if scale is not None:
            tensor.quantization = schema.QuantizationParametersT()
            tensor.quantization.scale, tensor.quantization.quantizedDimension = scale, 0
            tensor.quantization.zeroPoint = np.zeros(len(scale), np.int64)
        graph.tensors.append(tensor)
    graph.inputs, graph.outputs, model.subgraphs = [], list(range(len(tensors))), [graph]
    builder = flatbuffers.Builder(1 << 16)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def noisy(name: str, file: bytes, share: float) -> Pair:
    """A file and the same with rounded noise on its int8 constants, of which this share changes."""
    new, random, changes = bytearray(file), np.random.default_rng(7), []
    for constant in (c for c in constants(file) if c.part == "data" and c.type == INT8):
        end = constant.start + constant.size_bytes
        before = np.frombuffer(file[constant.start : end], np.int8).astype(np.int16)
        draws = random.normal(size=before.size)
        noise = np.round(draws * 0.5 / np.quantile(np.abs(draws), 1 - share)) if before.size > 100 else np.zeros(before.size)
        after = np.clip(before + noise, -127, 127).astype(np.int8)
        new[constant.start : end] = after.tobytes()
        changes.append((after - before.astype(np.int8)).tobytes())
    return Pair(name, file, bytes(new), b"".join(changes))


def pairs() -> tuple[list[Pair], str]:
    random = np.random.default_rng(0)
    images, labels = load_digits(return_X_y=True)
    x, y = (images / 16).astype(np.float32), labels
    start = [(random.normal(size=(b, a)) * np.sqrt(2 / a)).astype(np.float32) for a, b in itertools.pairwise(LAYERS)]
    first = trained(start, x[:900], y[:900], epochs=30, rate=0.05, random=random)
    tuned = trained(first, x, y, epochs=3, rate=0.01, random=random)
    before, after = quantised(first), quantised(tuned)
    old, new = tflite(list(before)), tflite(list(after))
    change = b"".join((b[0] - a[0]).tobytes() for a, b in zip(before, after, strict=True))
    changed = np.mean(np.frombuffer(change, np.uint8) != 0)
    scores = f"{accuracy(first, x, y):.3f} before, {accuracy(tuned, x, y):.3f} after"
    note = f"tuned: {changed:.0%} of {len(change):,} weights changed; accuracy {scores}"
    found = [Pair("tuned", old, new, change), *(noisy(f"{share:.0%}", old, share) for share in SHARES)]
    for file in sorted(default_cache_directory().glob("entries/*/edge/model.tflite"))[:1]:
        found.append(noisy("digits 26%", file.read_bytes(), 0.26))
    found.append(Pair("float32", *(tflite([(each, None) for each in weights]) for weights in (first, tuned))))
    return found, note


def zstd_bytes(old: bytes, new: bytes) -> int:
    """`zstd --patch-from`: the old file as a raw dictionary, at the highest level with long distances."""
    window_log = max(10, (len(old) + len(new)).bit_length())
    parameters = zstandard.ZstdCompressionParameters.from_level(22, window_log=min(window_log, 31), enable_ldm=True)
    dictionary = zstandard.ZstdCompressionDict(old, dict_type=zstandard.DICT_TYPE_RAWCONTENT)
    return len(zstandard.ZstdCompressor(dict_data=dictionary, compression_params=parameters).compress(new))


def hdiffpatch_bytes(old: bytes, new: bytes) -> int:
    return min(len(hdiffpatch.diff(old, new, compression=each)) for each in ("zlib", "lzma2", "bzip2", "zstd"))


def timed(function: Callable[[], Any], runs: int = 1) -> tuple[Any, float]:
    """What a function returns, and the processor seconds that it took, the least of some runs."""
    least = float("inf")
    for _ in range(runs):
        start = time.process_time()
        found = function()
        least = min(least, time.process_time() - start)
    return found, least


def applied(pair: Pair, patch: bytes) -> None:
    made, digest = io.BytesIO(), f"sha256:{hashlib.sha256(pair.new).hexdigest()}"
    delta.apply(io.BytesIO(pair.old), io.BytesIO(patch), made, digest=digest, most_bytes=len(pair.new))
    if made.getvalue() != pair.new:
        raise SystemExit(f"{pair.name}: the delta makes another file")


def row(pair: Pair, others: bool = True) -> list[str]:
    patch, encode_seconds = timed(lambda: deltas.make(pair.old, pair.new))
    _, apply_seconds = timed(lambda: applied(pair, patch), 5)
    deflated, full = len(zlib.compress(pair.new, 9)), len(deltas.make(b"", pair.new))
    bound = entropy_bytes(pair.change)
    sizes = [len(bsdiff4.diff(pair.old, pair.new)), hdiffpatch_bytes(pair.old, pair.new), zstd_bytes(pair.old, pair.new)] if others else []
    return [
        pair.name,
        f"{deflated:,}",
        f"{full:,}",
        f"{len(patch):,}",
        f"{deflated / len(patch):.1f}×",
        *(f"{size:,}" for size in sizes),
        *[""] * (0 if others else 3),
        f"{bound:,.0f}" if bound else "",
        f"{len(patch) / bound:.3f}" if bound else "",
        f"{encode_seconds:.1f}",
        f"{apply_seconds * 1000:.0f}",
        f"{len(pair.new) / apply_seconds / 1e6:.0f}",
    ]


def main(large_mib: int) -> None:
    table = Table(
        "pair",
        "deflated",
        "full, ours",
        "delta",
        "smaller",
        "bsdiff4",
        "hdiffpatch",
        "zstd",
        "bound",
        "of bound",
        "make s",
        "apply ms",
        "MB/s",
    )
    found, note = pairs()
    for pair in found:
        table.add_row(*row(pair))
    if large_mib:
        weights = np.random.default_rng(3).normal(size=(large_mib, 1 << 20)) * 38
        file = tflite([(np.clip(np.round(each), -127, 127).astype(np.int8).reshape(1024, 1024), None) for each in weights])
        table.add_row(*row(noisy(f"{large_mib} MiB 26%", file, 0.26), others=False))
    console = Console(width=170)
    console.print(table)
    console.print(f"{note}. Sizes in bytes; `smaller`: than the deflated full file.")


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--large", type=int, default=0, metavar="MIB", help="also a model of so many MiB, without the other tools")
    main(arguments.parse_args().large)
