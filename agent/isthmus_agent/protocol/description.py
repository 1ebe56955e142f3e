"""What a model is and how its versions are: the status and metadata calls."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from isthmus_agent.protocol.dtypes import enum_name

PREDICT_METHOD = "tensorflow/serving/predict"
OK = "OK"


@dataclass(frozen=True)
class TensorInfo:
    """One input or output of a signature.

    dtype: numpy's name, "string", or TensorFlow's enum name where JSON has no form for the type.
    shape: -1 where any size is accepted; None where the rank is unknown.
    tensor_name: the tensor's name in the graph; empty where there is no graph.
    """

    dtype: str
    shape: tuple[int, ...] | None
    tensor_name: str = ""


@dataclass(frozen=True)
class Signature:
    """One way to call a model, with inputs and outputs by name."""

    inputs: Mapping[str, TensorInfo]
    outputs: Mapping[str, TensorInfo]
    method_name: str = PREDICT_METHOD
    input_names: frozenset[str] = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "input_names", frozenset(self.inputs))


@dataclass(frozen=True)
class VersionStatus:
    """state: START, LOADING, AVAILABLE, UNLOADING or END. error_code: OK, or a gRPC code's name."""

    version: int
    state: str
    error_code: str = OK
    error_message: str = ""


def render_status(versions: Sequence[VersionStatus]) -> bytes:
    """The reply to `GET /v1/models/NAME`; versions in the order to show (newest first)."""
    entries = [
        {
            "version": str(status.version),
            "state": status.state,
            "status": {"error_code": status.error_code, "error_message": status.error_message},
        }
        for status in versions
    ]
    return _dump({"model_version_status": entries})


def render_metadata(model: str, version: int, signatures: Mapping[str, Any]) -> bytes:
    """The reply to `GET /v1/models/NAME/metadata`.

    Args:
        signatures: by name, each in protobuf's JSON form, as `signature_json` gives it.
    """
    return _dump(
        {
            "model_spec": {"name": model, "version": str(version), "signature_name": ""},
            "metadata": {"signature_def": {"signature_def": dict(signatures)}},
        }
    )


def signature_json(signature: Signature) -> dict[str, Any]:
    """A signature in protobuf's JSON form. 64 bit numbers are strings there."""
    return {
        "inputs": {key: _tensor_json(info) for key, info in signature.inputs.items()},
        "outputs": {key: _tensor_json(info) for key, info in signature.outputs.items()},
        "method_name": signature.method_name,
        "defaults": {},
    }


def _tensor_json(info: TensorInfo) -> dict[str, Any]:
    return {
        "name": info.tensor_name,
        "dtype": enum_name(info.dtype),
        "tensor_shape": {"dim": [{"size": str(size), "name": ""} for size in info.shape or ()], "unknown_rank": info.shape is None},
    }


def _dump(value: Any) -> bytes:
    return (json.dumps(value, indent=1, ensure_ascii=False) + "\n").encode()
