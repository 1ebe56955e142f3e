"""Which call a method and a path mean."""

import re
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import unquote

from isthmus_agent.protocol.errors import MalformedPathError, RestError, UnknownPathError, UnsupportedMethodError, invalid

_WHICH = r"(?:/versions/(?P<version>[0-9]+)|/labels/(?P<label>[^/:]+))?"
_PATTERNS = {
    "POST": re.compile(rf"/v1/models/(?P<model>[^/:]+){_WHICH}:(?P<call>classify|regress|predict)", re.IGNORECASE),
    "GET": re.compile(rf"/v1/models(?:/(?P<model>[^/:]+))?{_WHICH}(?:/(?P<call>metadata))?", re.IGNORECASE),
}
_PREFIX = "/v1/"
_CALLS = frozenset({"classify", "regress", "predict"})
_MAX_VERSION = 2**63 - 1
_PCHAR = r"[A-Za-z0-9\-._~:@!$&'()*+,;=/]|%[0-9A-Fa-f]{2}"
_WELL_FORMED = re.compile(rf"(?:[A-Za-z][A-Za-z0-9+.\-]*://[^/?#]*)?(?P<rest>(?:{_PCHAR})*(?:\?(?:{_PCHAR}|\?)*)?(?:\#(?:{_PCHAR}|\?)*)?)")


@dataclass(frozen=True)
class Route:
    """call: predict, classify, regress, status or metadata. version and label: at most one is set."""

    call: str
    model: str
    version: int | None = None
    label: str | None = None


@lru_cache(maxsize=1024)  # a server sees the same few paths all the time
def parse_path(method: str, target: str) -> Route:
    """The route of a request line.

    Args:
        method: GET, POST, … in capitals.
        target: as in the request line. What follows `?` is part of the path, as TensorFlow Serving has it:
            `GET /v1/models/m?a=b` asks for a model named `m?a=b`.

    Raises:
        RestError: 404 outside `/v1/`, 400 for what is malformed inside it.
    """
    path = path_of(target)
    if not is_api_path(path):
        raise UnknownPathError(path)
    if method == "OPTIONS":
        raise UnsupportedMethodError
    pattern = _PATTERNS.get(method)
    match = pattern.fullmatch(path) if pattern else None
    if match is None:
        raise invalid(f"Malformed request: {method} {path}")
    model, version, label, call = match["model"], match["version"], match["label"], match["call"]
    if version is not None and int(version[:20]) > _MAX_VERSION:
        raise invalid(f"Failed to convert version: {version} to numeric.")
    if model is None:
        raise RestError(400, "Missing model name in request.")
    if method == "POST" and call not in _CALLS:  # found whatever its case is, and then not known
        raise invalid(f"Malformed request: {method} {path}")
    return Route(
        call=call if method == "POST" or call == "metadata" else "status",
        model=unquote(model),
        version=None if version is None else int(version),
        label=None if label is None else unquote(label),
    )


def path_of(target: str) -> str:
    """Path, query and fragment of a request line's target, which may name a scheme and a host before them.

    Raises:
        MalformedPathError: a character that no URL has.
    """
    match = _WELL_FORMED.fullmatch(target)
    if match is None:
        raise MalformedPathError(target)
    return match["rest"]


def is_api_path(path: str) -> bool:
    """Whether path belongs to the API at all."""
    return path[: len(_PREFIX)].lower() == _PREFIX
