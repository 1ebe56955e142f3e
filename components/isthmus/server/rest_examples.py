"""`:classify` and `:regress`: from the body of a call to examples, and from results to the reply's body.

An example is an object of features; a feature is a value or a list of values of one kind. JSON's whole numbers and
booleans are int64, other numbers float, strings and `{"b64": …}` bytes.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from isthmus_agent.protocol import jsontext
from isthmus_agent.protocol.errors import RestError, invalid
from isthmus_agent.protocol.floats import float_texts
from isthmus_agent.protocol.request import asked_signature
from isthmus_agent.protocol.response import string_text
from isthmus_agent.protocol.values import decode_base64, encode, is_base64_object

FLOAT, INT64, BYTES = "float", "int64", "bytes"

_INT64_BITS = 64
_MIN_INT64 = -(2**63)


@dataclass
class Feature:
    """kind: FLOAT, INT64 or BYTES; empty where there is no value, which has any kind."""

    kind: str = ""
    values: list[Any] = field(default_factory=list)


Example = dict[str, Feature]


@dataclass(frozen=True)
class ExamplesRequest:
    """signature_name: empty for the default one. context: features that belong to each example; None: there is no context."""

    signature_name: str
    examples: list[Example]
    context: Example | None


def parse_examples(body: bytes | bytearray) -> ExamplesRequest:
    """Read the body of a `:classify` or `:regress` call. Raises RestError (400) with TensorFlow Serving's text."""
    document = jsontext.parse(jsontext.decode(body))
    name = asked_signature(document)
    context = _example(document["context"]) if "context" in document else None
    if "examples" not in document:
        raise jsontext.format_error(document, "When method is classify, key 'examples' is expected and was not found")
    examples = document["examples"]
    if not isinstance(examples, list):
        raise jsontext.format_error(document, "Expecting 'examples' value to be an list/array")
    if not examples:
        raise jsontext.format_error(document, "'examples' value is an empty array")
    return ExamplesRequest(name, [_example(example) for example in examples], context)


def _example(value: Any) -> Example:
    if not isinstance(value, dict):
        raise invalid(f"Example must be JSON object but got JSON {jsontext.type_name(value)}")
    features: Example = {}
    for name, content in jsontext.pairs_of(value):
        feature = Feature()
        for element in content if isinstance(content, list) else [content]:
            _add(element, name, feature)
        features[name] = feature
    return features


def _add(value: Any, name: str, feature: Feature) -> None:
    kind, read = _read(value, name)
    if feature.kind not in {"", kind}:
        raise invalid(f"Unexpected element type in feature: {name} expecting type: {feature.kind}")
    feature.kind = kind
    feature.values.append(decode_base64(value["b64"]) if read is None else read)


def _read(value: Any, name: str) -> tuple[str, Any]:
    """The kind of a value and the value; None for a base64 string, which is decoded once its kind is known to fit."""
    if isinstance(value, bool):
        return INT64, int(value)
    if isinstance(value, str):
        return BYTES, encode(value)
    if isinstance(value, int):
        if value.bit_length() > _INT64_BITS or value < _MIN_INT64:
            return FLOAT, _float(value)  # as every number that no integer type holds
        if value.bit_length() == _INT64_BITS and value > 0:
            raise invalid(f"Feature: {name} has uint64_t element. Only int64_t is supported.")
        return INT64, value
    if isinstance(value, float):
        return FLOAT, value
    if is_base64_object(value):
        return BYTES, None
    raise invalid(f"Feature: {name} has element with unexpected JSON type: {jsontext.type_name(value)}")


def _float(value: int) -> float:
    try:
        return float(value)
    except OverflowError:
        raise invalid("JSON Parse error: Number too big to be stored in double.") from None


def render_classifications(results: Sequence[Sequence[tuple[bytes, float]]]) -> bytes:
    """The reply to `:classify`. results: label and score (a float32's value) of each class, for each example."""
    if not results:
        raise RestError(400, "Cannot convert empty ClassificationResults to JSON")
    rows = []
    for classes in results:
        scores = float_texts(np.array([score for _, score in classes], np.float32))
        pairs = [f"[{string_text(label)}, {score}]" for (label, _), score in zip(classes, scores, strict=True)]
        rows.append("[" + ", ".join(pairs) + "]")
    return _results(", ".join(rows) + "\n    ")


def render_regressions(values: npt.NDArray[np.float32]) -> bytes:
    """The reply to `:regress`. values: one for each example."""
    if not len(values):
        raise RestError(400, "Cannot convert empty RegressionResults to JSON")
    return _results(", ".join(float_texts(values)))


def _results(text: str) -> bytes:
    return ('{\n    "results": [' + text + "]\n}").encode("utf-8", "surrogateescape")
