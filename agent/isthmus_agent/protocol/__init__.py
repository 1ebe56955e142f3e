"""TensorFlow Serving's REST wire format: pure functions, shared by whoever serves or calls a model.

A server reads a request with `parse_path` and `parse_predict`, runs the model, and answers with `render_predict`,
`render_status` or `render_metadata`; every refusal is a `RestError`, which knows its own reply.
"""

from isthmus_agent.protocol.description import OK, Signature, TensorInfo, VersionStatus, render_metadata, render_status, signature_json
from isthmus_agent.protocol.errors import Reply, RestError
from isthmus_agent.protocol.paths import Route, parse_path
from isthmus_agent.protocol.request import DEFAULT_SIGNATURE, PredictRequest, find_signature, parse_predict
from isthmus_agent.protocol.response import render_predict

__all__ = [
    "DEFAULT_SIGNATURE",
    "OK",
    "PredictRequest",
    "Reply",
    "RestError",
    "Route",
    "Signature",
    "TensorInfo",
    "VersionStatus",
    "find_signature",
    "parse_path",
    "parse_predict",
    "render_metadata",
    "render_predict",
    "render_status",
    "signature_json",
]
