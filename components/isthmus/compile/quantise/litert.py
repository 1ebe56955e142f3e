"""What litert-quantizer does for us: which operators take which types, and the float16, dynamic, static and weight-only graphs.

Its scales are those of min-max; `optimal` replaces them.
"""

import contextlib
import io
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from isthmus.errors import Problem, SourceError

MOST_EXAMPLES = 256
"""Ranges of activations have settled long before; more would only take time."""
FOUR_BIT_OPERATORS = ("CONV_2D", "FULLY_CONNECTED", "EMBEDDING_LOOKUP")
"""Depthwise convolutions stay at 8 bits: with 4 their kernels do not load."""
Recipe = list[dict[str, Any]]


def _recipe(storage: str) -> Recipe:
    from litert_quantizer import qtyping
    from litert_quantizer.algorithm_manager import AlgorithmName
    from litert_quantizer.recipe_manager import RecipeManager

    everything = qtyping.TFLOperationName.ALL_SUPPORTED
    manager = RecipeManager()
    match storage:
        case "float16":
            manager.add_weight_only_config(".*", everything, 16, algorithm_key=AlgorithmName.FLOAT_CASTING)
        case "int8" | "int4":
            manager.add_dynamic_config(".*", everything, 8)
        case "int8-weights" | "int4-weights":
            manager.add_weight_only_config(".*", everything, 8)
        case "int8-static":
            manager.add_static_config(".*", everything, activation_num_bits=8, weight_num_bits=8)
            for end in ("INPUT", "OUTPUT"):  # these stay float: callers see the same types whatever the recipe
                manager.add_quantization_config(".*", qtyping.TFLOperationName(end), algorithm_key=AlgorithmName.NO_QUANTIZE)
    if storage.startswith("int4"):
        add = manager.add_dynamic_config if storage == "int4" else manager.add_weight_only_config
        for operator in FOUR_BIT_OPERATORS:
            add(".*", qtyping.TFLOperationName(operator), 4)
    return list(manager.get_quantization_recipe())


def quantise(plain: bytes, storage: str, calibration: Mapping[str, NDArray[Any]] | None, where: str) -> bytes:
    """The quantised file, with min-max scales. calibration: for int8-static, inputs by name, [examples, …] each.

    Raises:
        SourceError: the quantiser does not take the model, or the calibration data does not fit it.
    """
    from litert_quantizer import Quantizer

    quantizer = Quantizer(plain, _recipe(storage))
    try:
        with contextlib.redirect_stderr(io.StringIO()):  # its progress bars
            ranges = _ranges(plain, storage, calibration, where) if storage == "int8-static" else None
            done = quantizer.quantize(ranges, enable_progress_bar=False, enable_progress_report=False)
    except (ValueError, RuntimeError, KeyError, NotImplementedError, IndexError, TypeError) as error:
        what = f"{storage} does not work on this model: {str(error).strip()[:300]}"
        raise SourceError([Problem(where, what, fix=f"use recipe {'float32' if storage == 'float16' else 'float16'}")]) from error
    return bytes(done.quantized_model)


def _ranges(plain: bytes, storage: str, calibration: Mapping[str, NDArray[Any]] | None, where: str) -> Any:
    """The least and largest value of every activation."""
    from litert_quantizer.calibrator import Calibrator
    from litert_quantizer.recipe_manager import RecipeManager
    from litert_quantizer.utils.qsv_utils import min_max_update

    signature, examples = _examples(plain, calibration, where)
    manager = RecipeManager()
    manager.load_quantization_recipe(_recipe(storage))
    calibrator = Calibrator(plain, num_threads=1, qsv_update_func=min_max_update)
    calibrator.calibrate({signature: examples}, manager)
    return calibrator.get_model_qsvs()


def _examples(plain: bytes, calibration: Mapping[str, NDArray[Any]] | None, where: str) -> tuple[str, list[dict[str, NDArray[Any]]]]:
    """The first signature's key, and what to run it on, one example at a time."""
    from ai_edge_litert.interpreter import Interpreter

    if not calibration:
        what = "int8-static needs calibration data, and there is none"
        raise SourceError([Problem(where, what, "evaluation.npz or calibration.npz with examples", "add it, or use recipe int8")])
    interpreter = Interpreter(model_content=plain, num_threads=1)
    signature = next(iter(interpreter.get_signature_list()))
    inputs = interpreter.get_signature_runner(signature).get_input_details()
    problems = []
    if set(inputs) != set(calibration):
        problems.append(Problem(where, f"calibration data for inputs {sorted(calibration)}", f"one array for each of {sorted(inputs)}"))
    elif len({len(values) for values in calibration.values()}) != 1 or not len(next(iter(calibration.values()))):
        problems.append(Problem(where, "calibration data with unequal numbers of examples, or none", "as many of each input"))
    else:
        for name, detail in inputs.items():
            shape, values = tuple(int(size) for size in detail["shape_signature"][1:]), np.asarray(calibration[name])
            if len(shape) != values.ndim - 1 or any(size not in (-1, have) for size, have in zip(shape, values.shape[1:], strict=True)):
                what = f"calibration data of shape {list(values.shape)} for input {name}"
                problems.append(Problem(where, what, f"[examples, {', '.join(map(str, shape))}]".replace("-1", "any")))
            elif not np.can_cast(values.dtype, detail["dtype"], "same_kind"):
                what = f"calibration data of type {values.dtype} for input {name}"
                problems.append(Problem(where, what, np.dtype(detail["dtype"]).name))
            elif values.dtype.kind == "f" and not np.isfinite(values).all():
                problems.append(Problem(where, f"calibration data for input {name} with NaN or infinite values", "finite numbers"))
    if problems:
        raise SourceError(problems)
    count = len(next(iter(calibration.values())))
    chosen = np.unique(np.linspace(0, count - 1, min(count, MOST_EXAMPLES)).astype(int))
    return signature, [
        {name: np.asarray(calibration[name][index : index + 1], detail["dtype"]) for name, detail in inputs.items()} for index in chosen
    ]
