"""Why a call or a model failed, with gRPC's code, which gives the HTTP status."""

from isthmus.errors import IsthmusError
from isthmus_agent.protocol import RestError

_HTTP_STATUS = {
    "CANCELLED": 499,
    "INVALID_ARGUMENT": 400,
    "FAILED_PRECONDITION": 400,
    "OUT_OF_RANGE": 400,
    "UNAUTHENTICATED": 401,
    "PERMISSION_DENIED": 403,
    "NOT_FOUND": 404,
    "ALREADY_EXISTS": 409,
    "ABORTED": 409,
    "RESOURCE_EXHAUSTED": 429,
    "UNIMPLEMENTED": 501,
    "UNAVAILABLE": 503,
    "DEADLINE_EXCEEDED": 504,
}


class ServingError(RestError):
    """A call that cannot be answered.

    Args:
        code: a gRPC status code's name, such as NOT_FOUND.
        message: for the client.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(_HTTP_STATUS.get(code, 500), message, code)


def invalid(message: str) -> ServingError:
    """The error of a call that cannot be right."""
    return ServingError("INVALID_ARGUMENT", message)


class ModelLoadError(IsthmusError):
    """A SavedModel cannot be loaded. code: a gRPC status code's name."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class StartError(IsthmusError):
    """The server cannot start: a flag, a configuration file, a model or a port."""
