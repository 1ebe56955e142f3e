"""A loaded SavedModel that answers predictions.

It is run as TensorFlow Serving runs it: the graph in a session, each signature a callable from feeds to fetches. That
gives the same texts for what goes wrong in a kernel, serves TensorFlow 1 and 2 models alike, and costs a small part of
what calling a restored Python function does.
"""

import logging
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import tensorflow as tf
from google.protobuf import json_format
from tensorflow.core.framework import types_pb2
from tensorflow.core.protobuf import config_pb2
from tensorflow_serving.apis import prediction_log_pb2

from isthmus.server.errors import ModelLoadError, ServingError
from isthmus.server.steady import steady
from isthmus.server.tensors import Array
from isthmus_agent.protocol import DEFAULT_SIGNATURE, Signature, TensorInfo
from isthmus_agent.protocol.dtypes import dtype_name

_SERVE_TAG = "serve"
_WARMUP_FILE = Path("assets.extra") / "tf_serving_warmup_requests"
_MAX_WARMUP_REQUESTS = 1000
_CALLER_RUNS = -1
_BRIEF_SECONDS = 0.001
_LONG_SECONDS = 0.1
_MAX_WAIT_SECONDS = 0.02
_MAX_SHAPES = 256
_CODE_NAMES = {code.value[0]: code.name for code in grpc.StatusCode}  # TensorFlow's codes are gRPC's
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Parallelism:
    """intra_op: threads of one operation, 0 for one a core. inter_op: threads for independent operations, 0 for the caller's own."""

    intra_op: int = 0
    inter_op: int = 0


class Bundle:
    """One version of a model in memory. Safe to call from several threads.

    signatures: by name, with inputs and outputs. signature_defs: the same as protobuf messages; signatures_json: as JSON.
    defaults: arrays for inputs that may be left out, by signature and input.
    """

    def __init__(self, session: Any, meta_graph: Any, inter_op: int) -> None:
        self._session = session
        self._inter_op = inter_op
        self._ways: dict[tuple[str, ...], _Way] = {}
        self._lock = threading.Lock()
        self.signature_defs = dict(meta_graph.signature_def)
        self.signatures = {name: _signature(definition) for name, definition in self.signature_defs.items()}
        self.signatures_json = {name: _json(definition) for name, definition in self.signature_defs.items()}
        self.defaults = {
            name: {key: tf.make_ndarray(tensor) for key, tensor in definition.defaults.items()}
            for name, definition in self.signature_defs.items()
        }
        self._steady = {
            name: steady(meta_graph.graph_def, [info.tensor_name for info in signature.outputs.values()])
            for name, signature in self.signatures.items()
        }
        # Shapes of calls that were brief, by signature, where that tells how long the next one will take.
        self._brief: dict[str, set[tuple[Any, ...]]] = {name: set() for name in self.signatures}

    def run(self, signature_name: str, inputs: Mapping[str, Array], outputs: Sequence[str] = ()) -> dict[str, Array]:
        """The signature's outputs by name.

        Args:
            signature_name: one of `signatures`.
            inputs: an array for each of its inputs.
            outputs: which of them; empty: all.

        Raises:
            ServingError: TensorFlow's own code and message.
        """
        way = self._ways.get((signature_name, *outputs)) or self._make_way(signature_name, outputs)
        arrays = [inputs[name] for name in way.inputs]
        shapes = tuple([array.shape for array in arrays])
        brief = self._brief[signature_name]
        unknown = shapes not in brief and self._steady[signature_name]
        busy = time.thread_time() if unknown else 0.0
        began = time.perf_counter()
        try:
            values = way.call(*arrays)
        except tf.errors.OpError as error:
            raise ServingError(_code_name(error), str(error.message)) from None
        seconds = time.perf_counter() - began
        if unknown:
            _note(brief, shapes, time.thread_time() - busy, seconds)
        elif seconds > _LONG_SECONDS:
            brief.discard(shapes)
        return {name: _as_array(value) for name, value in zip(way.outputs, values, strict=True)}

    def is_brief(self, signature_name: str, inputs: Mapping[str, Array]) -> bool:
        """Whether this call will be so short that handing it to another thread would cost more than it takes."""
        return tuple([inputs[name].shape for name in self.signatures[signature_name].inputs]) in self._brief[signature_name]

    def _make_way(self, signature_name: str, outputs: Sequence[str]) -> "_Way":
        key = (signature_name, *outputs)
        with self._lock:
            if key not in self._ways:
                signature = self.signatures[signature_name]
                names = tuple(outputs) or tuple(signature.outputs)
                options = config_pb2.CallableOptions(
                    feed=[info.tensor_name for info in signature.inputs.values()],
                    fetch=[signature.outputs[name].tensor_name for name in names],
                )
                if not self._inter_op:
                    # Handing each operation to another thread costs more than most operations take.
                    options.run_options.inter_op_thread_pool = _CALLER_RUNS
                try:
                    # Session.make_callable with feeds goes through Session.run, 40 times slower for a small graph.
                    call = self._session._make_callable_from_options(options)
                except (tf.errors.OpError, ValueError) as error:
                    raise ServingError("FAILED_PRECONDITION", f"signature {signature_name} cannot be run: {error}") from None
                self._ways[key] = _Way(tuple(signature.inputs), names, call)
            return self._ways[key]


@dataclass(frozen=True, slots=True)
class _Way:
    """From a signature's inputs to some of its outputs, by their names in the callable's order."""

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    call: Callable[..., list[Any]]


def _note(brief: set[tuple[Any, ...]], shapes: tuple[Any, ...], busy_seconds: float, seconds: float) -> None:
    """How long a call took: this thread's own time, which a busy machine does not stretch, and the clock's, within which other
    threads may have computed for it.
    """
    if busy_seconds < _BRIEF_SECONDS and seconds < _MAX_WAIT_SECONDS:
        if len(brief) >= _MAX_SHAPES:
            brief.clear()
        brief.add(shapes)


def load_bundle(directory: Path, *, parallelism: Parallelism, warmup: bool) -> Bundle:
    """Load the SavedModel in directory, run its initialisation, and replay its warm-up requests.

    Raises:
        ModelLoadError: it is missing, damaged, has no `serve` graph, or fails a warm-up request.
    """
    if not any((directory / name).is_file() for name in ("saved_model.pb", "saved_model.pbtxt")):
        raise ModelLoadError("NOT_FOUND", f"Could not find SavedModel .pb or .pbtxt at supplied export directory path: {directory}")
    config = tf.compat.v1.ConfigProto(
        intra_op_parallelism_threads=parallelism.intra_op, inter_op_parallelism_threads=parallelism.inter_op, use_per_session_threads=False
    )
    graph = tf.Graph()
    try:
        with graph.as_default():
            session = tf.compat.v1.Session(graph=graph, config=config)
            meta_graph = tf.compat.v1.saved_model.load(session, [_SERVE_TAG], os.fspath(directory))
    except tf.errors.OpError as error:
        raise ModelLoadError(_code_name(error), str(error.message)) from None
    except Exception as error:  # a damaged file shows as any of many types
        raise ModelLoadError("UNKNOWN", f"{type(error).__name__}: {error}") from None
    graph.finalize()
    bundle = Bundle(session, meta_graph, parallelism.inter_op)
    if warmup:
        _warm_up(bundle, directory / _WARMUP_FILE)
    return bundle


def _warm_up(bundle: Bundle, path: Path) -> None:
    if not path.is_file():
        return
    count = 0
    try:
        for record in tf.compat.v1.io.tf_record_iterator(os.fspath(path)):
            entry = prediction_log_pb2.PredictionLog.FromString(record)
            if not entry.HasField("predict_log"):
                continue
            request = entry.predict_log.request
            name = request.model_spec.signature_name or DEFAULT_SIGNATURE
            bundle.run(name, {key: tf.make_ndarray(tensor) for key, tensor in request.inputs.items()})
            count += 1
            if count >= _MAX_WARMUP_REQUESTS:
                break
    except Exception as error:
        raise ModelLoadError("FAILED_PRECONDITION", f"warm-up request {count} of {path} failed: {type(error).__name__}: {error}") from None
    _log.info("replayed %d warm-up requests of %s", count, path)


def _signature(definition: Any) -> Signature:
    return Signature(
        inputs={name: _tensor_info(definition.inputs[name]) for name in sorted(definition.inputs)},
        outputs={name: _tensor_info(definition.outputs[name]) for name in sorted(definition.outputs)},
        method_name=definition.method_name,
    )


def _json(definition: Any) -> dict[str, Any]:
    message: dict[str, Any] = json_format.MessageToDict(
        definition, always_print_fields_with_no_presence=True, preserving_proto_field_name=True
    )
    return message


def _tensor_info(info: Any) -> TensorInfo:
    shape = None if info.tensor_shape.unknown_rank else tuple(dim.size for dim in info.tensor_shape.dim)
    return TensorInfo(dtype_name(types_pb2.DataType.Name(info.dtype)), shape, info.name)


def _as_array(value: Any) -> Array:
    if isinstance(value, bytes):  # a scalar string: numpy's own bytes type would drop trailing zeros
        array = np.empty((), dtype=object)
        array[()] = value
        return array
    return np.asarray(value)


def _code_name(error: Any) -> str:
    return _CODE_NAMES.get(error.error_code, "UNKNOWN")
