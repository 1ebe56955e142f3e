"""What can go wrong with a request to a Kubernetes API server."""

from collections.abc import Mapping
from typing import Any, Final

from isthmus.errors import PlatformError

# An overloaded server, one without a leader, a webhook that is just coming up, and a proxy before a server that restarts.
_LATER: Final = frozenset({429, 500, 502, 503, 504})


class UnreachableApiError(PlatformError):
    """The API server does not answer. said: why, in a few words. passes: whether asking again may help."""

    def __init__(self, message: str, said: str, *, passes: bool = True) -> None:
        super().__init__(message)
        self.said = said
        self.passes = passes


class UnreachablePodError(PlatformError):
    """The API server answers, but cannot reach the Pod that was to be asked through it."""


class ApiError(PlatformError):
    """The API server refuses a request.

    status: of HTTP. said: its own words. reason: such as `AlreadyExists`. causes: what exactly is wrong, {reason, message, field} each.
    """

    def __init__(self, message: str, status: int, said: str, content: Mapping[str, Any] | None = None) -> None:
        """content: its object of kind Status, where it sent one."""
        super().__init__(message)
        self.status = status
        self.said = said
        self.reason = str((content or {}).get("reason") or "")
        self.causes: list[Mapping[str, Any]] = list(((content or {}).get("details") or {}).get("causes") or ())

    @property
    def passes(self) -> bool:
        """Whether asking again may help."""
        return self.status in _LATER


class ConflictError(ApiError):
    """Somebody else changed the object since it was read, made it first, or owns a field of it."""
