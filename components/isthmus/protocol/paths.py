"""Which call a method and a path mean."""

import re
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import unquote

from isthmus.protocol.errors import RestError, UnknownPathError, UnsupportedMethodError, invalid

_WHICH = r"(?:/versions/(?P<version>[0-9]+)|/labels/(?P<label>[^/:]+))?"
_PATTERNS = {
    "POST": re.compile(rf"/v1/models/(?P<model>[^/:]+){_WHICH}:(?P<call>classify|regress|predict)", re.IGNORECASE),
    "GET": re.compile(rf"/v1/models(?:/(?P<model>[^/:]+))?{_WHICH}(?:/(?P<call>metadata))?", re.IGNORECASE),
}
_MAX_VERSION = 2**63 - 1


@dataclass(frozen=True)
class Route:
    """call: predict, classify, regress, status or metadata. version and label: at most one is set."""

    call: str
    model: str
    version: int | None = None
    label: str | None = None


@lru_cache(maxsize=1024)  # a server sees the same few paths all the time
def parse_path(method: str, path: str) -> Route:
    """The route of a request line.

    Args:
        method: GET, POST, … in capitals.
        path: as in the request line; a query is ignored.

    Raises:
        RestError: 404 outside `/v1/`, 400 for what is malformed inside it.
    """
    path = path.partition("?")[0]
    if path[:4].lower() != "/v1/":
        raise UnknownPathError(path)
    if method == "OPTIONS":
        raise UnsupportedMethodError
    pattern = _PATTERNS.get(method)
    match = pattern.fullmatch(path) if pattern else None
    if match is None:
        raise invalid(f"Malformed request: {method} {path}")
    model, version, label, call = match["model"], match["version"], match["label"], match["call"]
    if model is None:
        raise RestError(400, "Missing model name in request.")
    if version is not None and int(version[:20]) > _MAX_VERSION:
        raise invalid(f"Failed to convert version: {version} to numeric.")
    return Route(
        call=call.lower() if call else "status",
        model=unquote(model),
        version=None if version is None else int(version),
        label=None if label is None else unquote(label),
    )
