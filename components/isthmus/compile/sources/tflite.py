"""A ready .tflite file as a source. Runs in the worker, as the interpreter can end its process.

What comes out of the release answers to the signature serving_default, like every other edge variant: a file without
signatures gets one over its first graph, and operators that carry only the deprecated code get the code that tools read today.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from isthmus.compile.memory import check_memory
from isthmus.compile.sources.load import Arrays, SourceModel, check_shapes, first_line
from isthmus.compile.sources.source import SERVING_SIGNATURE, Source, signature_problems
from isthmus.errors import Problem, SourceError
from isthmus.release.manifest import TensorSpec
from isthmus.tflite.verify import Contents, DamagedFileError, verify

_PREFIX = f"{SERVING_SIGNATURE}_"


def load_tflite(source: Source, where: str) -> SourceModel:
    """The model of a .tflite file, through the interpreter. Raises SourceError."""
    from ai_edge_litert.interpreter import Interpreter

    data = ready_model(source, where)
    try:
        interpreter = Interpreter(model_content=data, num_threads=1)
        interpreter.allocate_tensors()
        runner = interpreter.get_signature_runner(SERVING_SIGNATURE)
    except (ValueError, RuntimeError) as error:
        custom = verify(data).custom_operators
        text = f"the edge interpreter cannot run {source.name!r}: {first_line(error)}" + (
            f" (own operators: {', '.join(custom)})" if custom else ""
        )
        raise SourceError([Problem(where, text, "operators that TFLite has", "convert the model again")]) from error
    inputs = tuple(_describe(name, detail) for name, detail in sorted(runner.get_input_details().items()))
    outputs = tuple(_describe(name, detail) for name, detail in sorted(runner.get_output_details().items()))
    if not inputs or not outputs:
        raise SourceError([Problem(where, f"{source.name!r} has no {'inputs' if not inputs else 'outputs'}", "at least one of each")])
    check_shapes(inputs, where)

    def run(arrays: Arrays) -> dict[str, NDArray[Any]]:
        try:
            return {name: np.asarray(value) for name, value in runner(**arrays).items()}
        except (ValueError, RuntimeError) as error:
            raise SourceError([Problem(where, f"the edge interpreter fails on {source.name!r}: {first_line(error)}")]) from error

    return SourceModel(inputs, outputs, run)


def _describe(name: str, detail: dict[str, Any]) -> TensorSpec:
    shape = detail["shape_signature"] if len(detail["shape_signature"]) else detail["shape"]
    return TensorSpec(
        name, "string" if detail["dtype"] in (np.bytes_, np.object_) else np.dtype(detail["dtype"]).name, tuple(map(int, shape))
    )


def ready_model(source: Source, where: str) -> bytes:
    """The file as a device can use it: the user's own bytes where nothing is missing in them. Raises SourceError."""
    try:
        check_memory(source.path.stat().st_size, source.name, where)
        data = source.path.read_bytes()
        contents = verify(data)
    except (OSError, DamagedFileError) as error:
        raise SourceError([Problem(where, f"{source.name!r} is not a sound .tflite file: {error}", "a whole .tflite file")]) from error
    problems = signature_problems(source.signature, contents.signatures, source.name, where, needed=bool(contents.signatures))
    if problems:
        raise SourceError(problems)
    usual = source.signature in (None, SERVING_SIGNATURE) and SERVING_SIGNATURE in contents.signatures
    return data if usual and not contents.old_codes else _completed(data, contents, source.signature)


def _completed(data: bytes, contents: Contents, signature: str | None) -> bytes:
    from ai_edge_litert.tools import flatbuffer_utils

    model = flatbuffer_utils.read_model_from_bytearray(data)
    for code in model.operatorCodes or []:
        code.builtinCode = max(code.builtinCode, code.deprecatedBuiltinCode)
    chosen = signature or (
        SERVING_SIGNATURE if SERVING_SIGNATURE in contents.signatures else contents.signatures[0] if contents.signatures else ""
    )
    if chosen:
        kept = [one for one in model.signatureDefs if _key(one) == chosen or _key(one) != SERVING_SIGNATURE]
        for one in kept:
            one.signatureKey = SERVING_SIGNATURE if _key(one) == chosen else one.signatureKey
        model.signatureDefs = kept
    else:
        model.signatureDefs = [_new_signature(model.subgraphs[0])]
    return bytes(flatbuffer_utils.convert_object_to_bytearray(model))


def _key(signature: Any) -> str:
    return bytes(signature.signatureKey or b"").decode()


def _new_signature(graph: Any) -> Any:
    from ai_edge_litert import schema_py_generated as schema

    signature = schema.SignatureDefT()
    signature.signatureKey, signature.subgraphIndex = SERVING_SIGNATURE, 0
    signature.inputs, signature.outputs = (
        _named(graph, list(tensors), kind) for tensors, kind in ((graph.inputs, "input"), (graph.outputs, "output"))
    )
    return signature


def _named(graph: Any, tensors: Sequence[int], kind: str) -> list[Any]:
    """Inputs or outputs by the names of their tensors, without what TensorFlow puts around them; by number where these don't do."""
    from ai_edge_litert import schema_py_generated as schema

    names = [bytes(graph.tensors[index].name or b"").decode().removeprefix(_PREFIX).partition(":")[0] for index in tensors]
    if "" in names or len(set(names)) != len(names):
        names = [f"{kind}_{index}" for index in range(len(tensors))]
    found = []
    for name, index in zip(names, tensors, strict=True):
        entry = schema.TensorMapT()
        entry.name, entry.tensorIndex = name, index
        found.append(entry)
    return found
