"""From arrays to the reply of a `:predict` call."""

import base64
import json
import math
from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from isthmus_agent.protocol.dtypes import STRING, json_type, tf_name
from isthmus_agent.protocol.errors import invalid
from isthmus_agent.protocol.floats import float_texts

Array = npt.NDArray[Any]

_BYTES_SUFFIX = "_bytes"


def render_predict(outputs: Mapping[str, Array], row: bool) -> bytes:
    """The reply's body.

    Args:
        outputs: arrays by output name; strings as object arrays of bytes. A single output is shown without its name.
            Strings of an output whose name ends in `_bytes` become `{"b64": …}`.
        row: `predictions`, one entry an example (the first dimension); else `outputs`, one entry an output.

    Raises:
        RestError: 400 where there is no output, or where the row form does not fit (a scalar, different batch sizes).
    """
    if not outputs:
        raise invalid("Cannot convert empty tensor map to JSON")
    text = _rows(outputs) if row else _columns(outputs)
    return text.encode("utf-8", "surrogateescape")


def _rows(outputs: Mapping[str, Array]) -> str:
    batch = -1
    for name, array in outputs.items():
        if array.ndim == 0:
            raise invalid(f"Tensor name: {name} has no shape information ")
        if batch not in (-1, len(array)):
            raise invalid(f"Tensor name: {name} has inconsistent batch size: {len(array)} expecting: {batch}")
        batch = len(array)
    columns = {name: _nest(_texts(name, array), array.shape[1:], batch) for name, array in outputs.items()}
    if len(columns) == 1:
        (rows,) = columns.values()
    else:
        keys = [json.dumps(name, ensure_ascii=False) for name in columns]
        rows = [
            "{" + ", ".join(f"{key}: {text}" for key, text in zip(keys, texts, strict=True)) + "}"
            for texts in zip(*columns.values(), strict=True)
        ]
    return '{\n    "predictions": [' + ", ".join(rows) + "\n    ]\n}"


def _columns(outputs: Mapping[str, Array]) -> str:
    columns = {name: _nest(_texts(name, array), array.shape, 1)[0] for name, array in outputs.items()}
    if len(columns) == 1:
        (value,) = columns.values()
    else:
        value = "{" + ", ".join(f"{json.dumps(name, ensure_ascii=False)}: {text}" for name, text in columns.items()) + "}"
    return '{\n    "outputs": ' + value + "\n}"


def _nest(texts: list[str], shape: tuple[int, ...], count: int) -> list[str]:
    """texts, in C order, as `count` nested lists of that shape."""
    for axis in range(len(shape) - 1, -1, -1):
        size = shape[axis]
        lists = count * math.prod(shape[:axis])
        texts = ["[" + ", ".join(texts[i * size : (i + 1) * size]) + "]" for i in range(lists)]
    return texts


def _texts(name: str, array: Array) -> list[str]:
    """The JSON of each element, in C order."""
    kind = array.dtype.kind
    refused = _without_json(array.dtype)
    if refused and array.size:
        raise invalid(f"Failed to write JSON value for tensor type: {refused}")
    if kind == "f":
        return float_texts(array)
    if kind in "iu":
        return [str(value) for value in array.ravel().tolist()]
    if kind == "b":
        return ["true" if value else "false" for value in array.ravel().tolist()]
    as_base64 = name.endswith(_BYTES_SUFFIX)
    return [_string_text(value, as_base64) for value in array.ravel().tolist()]


@cache  # asking numpy for a type's name takes longer than printing a few numbers
def _without_json(dtype: np.dtype[Any]) -> str:
    """TensorFlow's name of a type that JSON has no form for; empty where it has one."""
    name = STRING if dtype.kind in "OSU" else dtype.name
    return "" if json_type(name) else tf_name(name)


def _string_text(value: bytes | str, as_base64: bool) -> str:
    data = value.encode() if isinstance(value, str) else value
    if as_base64:
        return '{"b64": "' + base64.b64encode(data).decode() + '"}'
    return string_text(data)


def string_text(data: bytes) -> str:
    """A string as JSON; bytes that are no text stay as they are."""
    return json.dumps(data.decode("utf-8", "surrogateescape"), ensure_ascii=False)
