"""Refusals of the REST API and the replies they become."""

import json
from dataclasses import dataclass

from isthmus.errors import IsthmusError

JSON_TYPE = "application/json"

_NOT_FOUND_PAGE = b"<HTML><HEAD>\n<TITLE>404 Not Found</TITLE>\n</HEAD><BODY>\n<H1>Not Found</H1>\n</BODY></HTML>\n"


@dataclass(frozen=True)
class Reply:
    """One HTTP reply. body: as sent, UTF-8 where it is text."""

    status: int
    body: bytes
    content_type: str = JSON_TYPE


class RestError(IsthmusError):
    """A request that is refused.

    Args:
        status: HTTP status code.
        message: the `error` text of the reply.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message

    @property
    def reply(self) -> Reply:
        """`{"error": message}` with the error's status."""
        text = '{\n    "error": ' + json.dumps(self.message, ensure_ascii=False) + "\n}"
        return Reply(self.status, text.encode("utf-8", "replace"))


class UnknownPathError(RestError):
    """A path outside the API: answered with a page, not with JSON."""

    def __init__(self, path: str) -> None:
        super().__init__(404, f"Not Found: {path}")

    @property
    def reply(self) -> Reply:
        return Reply(404, _NOT_FOUND_PAGE, "text/html")


class UnsupportedMethodError(RestError):
    """OPTIONS: refused with an empty page, as no cross-origin access is offered."""

    def __init__(self) -> None:
        super().__init__(400, "OPTIONS is not supported")

    @property
    def reply(self) -> Reply:
        return Reply(400, b"", "text/html; charset=ISO-8859-1")


def invalid(message: str) -> RestError:
    """The error of a request that cannot be right: 400."""
    return RestError(400, message)
