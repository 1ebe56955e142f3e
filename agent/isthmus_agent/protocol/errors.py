"""Refusals of the REST API and the replies they become."""

import json
from dataclasses import dataclass
from http import HTTPStatus

JSON_TYPE = "application/json"
DEFAULT_TYPE = "text/html; charset=ISO-8859-1"
PAGE_TYPE = "text/html"


@dataclass(frozen=True)
class Reply:
    """One HTTP reply. body: as sent, UTF-8 where it is text. last: the connection ends with it."""

    status: int
    body: bytes
    content_type: str = JSON_TYPE
    last: bool = False


class RestError(Exception):
    """A request that is refused.

    Args:
        status: HTTP status code.
        message: the `error` text of the reply; the status's own name where it is empty.
        code: a gRPC status code's name.
    """

    def __init__(self, status: int, message: str, code: str = "INVALID_ARGUMENT") -> None:
        message = message or phrase(status)
        super().__init__(message)
        self.status = status
        self.message = message
        self.code = code

    def __reduce__(self) -> tuple[type, tuple[int, str, str]]:
        """As a plain RestError, whatever its class is: other processes read large requests, and their refusals come back pickled."""
        return RestError, (self.status, self.message, self.code)

    @property
    def reply(self) -> Reply:
        """`{"error": message}` with the error's status."""
        text = '{\n    "error": ' + json.dumps(self.message, ensure_ascii=False) + "\n}"
        return Reply(self.status, text.encode("utf-8", "replace"))


class PageError(RestError):
    """What is answered with a page, not with JSON, and ends the connection."""

    @property
    def reply(self) -> Reply:
        name = phrase(self.status)
        page = f"<HTML><HEAD>\n<TITLE>{self.status} {name}</TITLE>\n</HEAD><BODY>\n<H1>{name}</H1>\n</BODY></HTML>\n"
        return Reply(self.status, page.encode(), PAGE_TYPE, last=True)


class UnknownPathError(PageError):
    """A path outside the API."""

    def __init__(self, path: str) -> None:
        super().__init__(404, f"Not Found: {path}")


class MalformedPathError(PageError):
    """A path that is no URL."""

    def __init__(self, path: str) -> None:
        super().__init__(400, f"no URL: {path}")


class UnsupportedMethodError(RestError):
    """OPTIONS without an origin: refused with an empty page."""

    def __init__(self) -> None:
        super().__init__(400, "OPTIONS is not supported", "FAILED_PRECONDITION")

    @property
    def reply(self) -> Reply:
        return Reply(400, b"", DEFAULT_TYPE)


def invalid(message: str) -> RestError:
    """The error of a request that cannot be right: 400."""
    return RestError(400, message)


def unimplemented(message: str) -> RestError:
    """The error of what this API cannot express: 501."""
    return RestError(501, message, "UNIMPLEMENTED")


def phrase(status: int) -> str:
    """A status code's name in HTTP."""
    return _PHRASES.get(status) or HTTPStatus(status).phrase


_PHRASES = {499: "Client Closed Request"}
