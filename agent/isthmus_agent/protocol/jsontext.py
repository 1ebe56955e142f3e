"""JSON as TensorFlow Serving reads it and as its error texts show it.

Read: NaN, Inf and Infinity are numbers, a byte order mark and anything after the document are ignored, a number beyond a
double's range is an error, of members with one name the first counts. Invalid UTF-8 passes through (surrogateescape),
so that string tensors keep their bytes.
"""

import json
import math
import re
from collections.abc import Iterable, Iterator
from typing import Any

from isthmus_agent.protocol.errors import RestError, invalid
from isthmus_agent.protocol.floats import float64_text

_SHOWN_BYTES = 256  # no token is begun beyond this
_SHOWN_CHARACTERS = 4096
_INDENT = "    "
_WHITE_SPACE = " \t\n\r"
_TYPE_NAMES: dict[type, str] = {dict: "Object", list: "Array", str: "String", type(None): "Null"}
# The parser of the standard library knows Infinity only. A string is skipped as a whole.
_STRING_OR_INF = re.compile(r'"(?:[^"\\]|\\.)*"|Inf(?!inity)')
_ESCAPE = re.compile(
    r"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(?P<lone>u[dD][89a-fA-F])|.)"  # pairs, then halves, then the rest
)


class Members(dict[str, Any]):
    """An object in which a name comes more than once: the first value of each; `pairs` has all of them in their order."""

    pairs: list[tuple[str, Any]]


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    plain = dict(pairs)
    if len(plain) == len(pairs):
        return plain
    members = Members(reversed(pairs))
    members.pairs = pairs
    return members


_DECODER = json.JSONDecoder(object_pairs_hook=_object)


def pairs_of(value: dict[str, Any]) -> Iterable[tuple[str, Any]]:
    """All members of an object in their order."""
    return value.pairs if isinstance(value, Members) else value.items()


def parse(text: str) -> dict[str, Any]:
    """The JSON object at the start of text. Raises RestError (400) where there is none."""
    document = _decode(text, _DECODER)
    if not isinstance(document, dict):
        raise format_error(document, "Is not object")
    return document


def decode(body: bytes | bytearray) -> str:
    """body as text, without byte order mark and leading white space."""
    return str(body, "utf-8", "surrogateescape").removeprefix("\ufeff").lstrip(_WHITE_SPACE)


def reject_too_big_numbers(text: str) -> None:
    """Raises RestError (400) where text has a number that no double can hold. The parser itself would call it infinity."""
    _decode(text, json.JSONDecoder(parse_float=_finite_float))


def _decode(text: str, decoder: json.JSONDecoder) -> Any:
    if not text:
        raise invalid("JSON Parse error: The document is empty")
    try:
        document = _raw_decode(text, decoder)
    except json.JSONDecodeError as error:
        raise invalid(f"JSON Parse error: {error.msg}. at offset: {error.pos}") from None
    except RecursionError:
        raise invalid("JSON Parse error: The document is nested too deeply.") from None
    except ValueError as error:  # an integer of thousands of digits
        raise invalid(f"JSON Parse error: {error}") from None
    if "\\ud" in text or "\\uD" in text:
        _reject_lone_surrogates(text)
    return document


def _raw_decode(text: str, decoder: json.JSONDecoder) -> Any:
    try:
        return decoder.raw_decode(text)[0]
    except json.JSONDecodeError:
        if "Inf" not in text:
            raise
        return decoder.raw_decode(_STRING_OR_INF.sub(lambda match: "Infinity" if match[0] == "Inf" else match[0], text))[0]


def _reject_lone_surrogates(text: str) -> None:
    for match in _ESCAPE.finditer(text):
        if match["lone"]:
            raise invalid(f"JSON Parse error: The surrogate pair in string is invalid. at offset: {match.start()}")


def _finite_float(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise invalid("JSON Parse error: Number too big to be stored in double.")
    return value


def type_name(value: Any) -> str:
    """What error texts call the type of a JSON value."""
    if isinstance(value, bool):
        return str(value)
    if isinstance(value, dict):
        return "Object"
    return _TYPE_NAMES.get(type(value), "Number")


def show(value: Any) -> str:
    """A JSON value as error texts show it: objects over several lines, lists on one; what is long is cut off."""
    shown, size = [], 0
    for token in _tokens(value, "\n"):
        if size >= _SHOWN_BYTES:
            break
        shown.append(token[:_SHOWN_CHARACTERS])
        size += len(token.encode("utf-8", "replace"))
    return "".join(shown)


def _tokens(value: Any, newline: str) -> Iterator[str]:
    """The pieces that are written, or left out, as a whole."""
    if isinstance(value, dict):
        yield "{"
        comma, inner = "", newline + _INDENT
        for key, member in pairs_of(value):
            yield comma + inner + json.dumps(key, ensure_ascii=False)
            yield from _prefixed(": ", _tokens(member, inner))
            comma = ","
        yield newline + "}" if comma else "}"
    elif isinstance(value, list):
        yield "["
        comma = ""
        for element in value:
            yield from _prefixed(comma, _tokens(element, newline))
            comma = ", "
        yield "]"
    else:
        yield float64_text(value) if isinstance(value, float) else json.dumps(value, ensure_ascii=False)


def _prefixed(prefix: str, tokens: Iterator[str]) -> Iterator[str]:
    yield prefix + next(tokens)
    yield from tokens


def format_error(value: Any, reason: str) -> RestError:
    """The error of a JSON value that has the wrong form."""
    return invalid(f"JSON Value: {show(value)} {reason}")
