"""The edge variant: TFLite, its weights stored as a recipe says. Runs in the worker."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from isthmus.compile.build.export import SIGNATURE
from isthmus.compile.recipes import SERVERS_ALONE
from isthmus.errors import Problem, SourceError
from isthmus.release.manifest import Layer

MAX_FLOAT_SHARE = 0.5
"""Of the weights' bytes that may stay float32: quantisers skip what they do not know without a word."""


@dataclass(frozen=True)
class Compressed:
    """data: a .tflite file. layers: its quantised weights, read back from it; empty for float32 and float16."""

    data: bytes
    layers: tuple[Layer, ...] = ()


def float_model(saved_model: Path, where: str) -> bytes:
    """The .tflite file of a SavedModel's serving_default signature, weights as they are.

    Raises:
        SourceError: TFLite has no operators for it.
    """
    import tensorflow as tf

    converter = tf.lite.TFLiteConverter.from_saved_model(str(saved_model), signature_keys=[SIGNATURE])
    try:
        return bytes(converter.convert())
    except (tf.errors.ResourceExhaustedError, OSError):
        raise
    except Exception as error:
        raise SourceError([_not_convertible(str(error), where)]) from error


def _not_convertible(text: str, where: str) -> Problem:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    operators = next((line for line in lines if line.startswith(("TF Select ops:", "Custom ops:", "Flex ops:"))), "")
    what = f"devices have no kernels for its operations ({operators})" if operators else (lines[0][:300] if lines else "no reason given")
    fix = f"replace these layers, or {SERVERS_ALONE}"
    return Problem(where, f"the model cannot be converted for the edge: {what}", "operations that TFLite has", fix)


def compress(plain: bytes, storage: str, calibration: Mapping[str, NDArray[Any]] | None, where: str) -> Compressed:
    """A float .tflite file with its weights stored as `storage` says.

    The result depends on the arguments alone, to the byte.

    Args:
        plain: the float file.
        calibration: for int8-static: inputs by name, [examples, …] each.

    Raises:
        SourceError: a damaged file, one that is quantised already or has sparse weights, weights that are not finite, calibration data
            that does not fit, or a model on which the storage did not take.
    """
    if storage == "float32":
        return Compressed(plain)
    from isthmus.compile.quantise import compact, litert, optimal
    from isthmus.compile.quantise.flatbuffer import read, write

    original, prepared = read(plain, where), read(plain, where)
    _check_float(original, where)
    names = compact.prepare(prepared)
    optimal.check_finite(prepared, names, where)
    quantised = read(litert.quantise(write(prepared), storage, calibration, where), where)
    _check_taken(*optimal.unquantised(quantised, prepared), storage, where)
    found = optimal.weights(quantised, prepared, names)
    if storage != "float16":
        if not found:
            raise SourceError([Problem(where, f"{storage} found no weights in this model", "layers with weights", "use recipe float32")])
        optimal.optimise(quantised, prepared, found)
    compact.finish(quantised, original)
    data = write(quantised)
    written = read(data, where)
    places = {id(tensor): index for graph in quantised.subgraphs for index, tensor in enumerate(graph.tensors)}
    layers = [
        optimal.layer(written, written.subgraphs[weight.graph].tensors[places[id(weight.tensor)]], weight.name, weight.values)
        for weight in found
    ]
    return Compressed(data, tuple(layers))


def _check_float(model: Any, where: str) -> None:
    scaled = (t for graph in model.subgraphs for t in graph.tensors if t.quantization is not None and t.quantization.scale is not None)
    if next(scaled, None) is not None:
        raise SourceError(
            [Problem(where, "the .tflite file is quantised already", "one with float32 weights", "use recipe float32 to ship it as it is")]
        )
    # Quantisers take a sparse weight's operator for one without weights, and leave it as it is without a word.
    sparse = [tensor for graph in model.subgraphs for tensor in graph.tensors if tensor.sparsity is not None]
    if sparse:
        names = ", ".join((tensor.name or b"").decode(errors="replace") for tensor in sparse[:3])
        what = f"the .tflite file stores {len(sparse)} of its weights sparse ({names})"
        fix = "convert it again without sparsity, or use recipe float32 to ship it as it is"
        raise SourceError([Problem(where, what, "weights that are stored in full", fix)])


def _check_taken(total: int, left: int, operators: list[str], storage: str, where: str) -> None:
    if left > MAX_FLOAT_SHARE * total:
        what = (
            f"{storage} did not take on this model: {left / total:.0%} of its weights stayed float32 ({', '.join(operators[:3])} weights)"
        )
        raise SourceError([Problem(where, what, f"at most {MAX_FLOAT_SHARE:.0%}", "use recipe float32")])
