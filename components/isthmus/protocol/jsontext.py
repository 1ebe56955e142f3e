"""JSON as TensorFlow Serving reads it and as its error texts show it.

Read: NaN and Infinity are numbers, a byte order mark and anything after the document are ignored, a number beyond a
double's range is an error. Invalid UTF-8 passes through (surrogateescape), so that string tensors keep their bytes.
"""

import json
import math
from typing import Any

from isthmus.protocol.errors import invalid
from isthmus.protocol.floats import float64_text

_SHOWN_CHARACTERS = 4096
_DECODER = json.JSONDecoder()
_TYPE_NAMES: dict[type, str] = {dict: "Object", list: "Array", str: "String", type(None): "Null"}


def parse(text: str) -> dict[str, Any]:
    """The JSON object at the start of text. Raises RestError (400) where there is none."""
    document = _decode(text, _DECODER)
    if not isinstance(document, dict):
        raise format_error(document, "Is not object")
    return document


def decode(body: bytes) -> str:
    """body as text, without byte order mark and leading white space."""
    return body.decode("utf-8", "surrogateescape").removeprefix("\ufeff").lstrip()


def reject_too_big_numbers(text: str) -> None:
    """Raises RestError (400) where text has a number that no double can hold. The parser itself would call it infinity."""
    _decode(text, json.JSONDecoder(parse_float=_finite_float))


def _decode(text: str, decoder: json.JSONDecoder) -> Any:
    if not text:
        raise invalid("JSON Parse error: The document is empty")
    try:
        return decoder.raw_decode(text)[0]
    except json.JSONDecodeError as error:
        raise invalid(f"JSON Parse error: {error.msg}. at offset: {error.pos}") from None
    except RecursionError:
        raise invalid("JSON Parse error: The document is nested too deeply.") from None
    except ValueError as error:  # an integer of thousands of digits
        raise invalid(f"JSON Parse error: {error}") from None


def _finite_float(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise invalid("JSON Parse error: Number too big to be stored in double.")
    return value


def type_name(value: Any) -> str:
    """What error texts call the type of a JSON value."""
    if isinstance(value, bool):
        return str(value)
    return _TYPE_NAMES.get(type(value), "Number")


def show(value: Any) -> str:
    """A JSON value as error texts show it: objects over several lines, lists on one; long ones are cut."""
    text = _show(value, "\n")
    return text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + "..."


def _show(value: Any, newline: str) -> str:
    if isinstance(value, dict):
        if not value:
            return "{}"
        inner = newline + "    "
        members = (f"{json.dumps(key, ensure_ascii=False)}: {_show(member, inner)}" for key, member in value.items())
        return "{" + inner + ("," + inner).join(members) + newline + "}"
    if isinstance(value, list):
        return "[" + ", ".join(_show(element, newline) for element in value) + "]"
    if isinstance(value, float):
        return float64_text(value)
    return json.dumps(value, ensure_ascii=False)


def format_error(value: Any, reason: str) -> Exception:
    """The error of a JSON value that has the wrong form."""
    return invalid(f"JSON Value: {show(value)} {reason}")
