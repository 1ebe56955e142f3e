"""What may go wrong between a device and its repository, by what has to change for the next try to go well.

None of these is final for a release and none counts against one: all are tried again.
"""

import errno

from isthmus_agent.formats.report import Reason

_DISK = {errno.ENOSPC: Reason.DISK_FULL, errno.EDQUOT: Reason.DISK_FULL, errno.EROFS: Reason.DISK_READ_ONLY}
STORED = (200, 201, 204)
_STATUS = {404: Reason.MISSING_OBJECT, 416: Reason.WRONG_RANGE}


class RepositoryFailure(Exception):  # noqa: N818 - a failure's class is what the core calls it
    """The root of them. failure: the class of failure, as the core and reports call it. reason: what reports say."""

    failure = "transport"
    reason = Reason.UNREACHABLE

    def __init__(self, text: str, reason: Reason | None = None) -> None:
        super().__init__(text)
        if reason is not None:
            self.reason = reason


class TransportFailure(RepositoryFailure):
    """The network or something on the way: no answer, a portal's page, a flipped bit, a trickle."""


class SlowFailure(TransportFailure):
    """Bytes come too slowly, or the deadline is over."""

    reason = Reason.TOO_SLOW


class UntrustedFailure(RepositoryFailure):
    """What was answered is well-formed, and not what this device trusts: a wrong signature, an older version, another fleet's."""

    reason = Reason.UNTRUSTED_METADATA


class ReplayFailure(UntrustedFailure):
    """It is older than what this device has accepted before."""

    reason = Reason.REPLAYED


class ExpiredFailure(UntrustedFailure):
    """It was not signed anew in time: somebody holds newer metadata back, the publisher sleeps, or the time is wrong."""


class DeviceFailure(RepositoryFailure):
    """This device itself: disk full, read-only, damaged."""

    failure = "device"
    reason = Reason.DISK_FAULT


def refused(status: int) -> TransportFailure:
    """An answer that is none of those that were hoped for."""
    return TransportFailure(f"the store answers {status}", _STATUS.get(status, Reason.REFUSED_BY_STORE))


def check_stored(status: int) -> None:
    """What a PUT is answered with where the store has taken it. Raises TransportFailure for anything else."""
    if status not in STORED:
        raise refused(status)


def disk_reason(error: OSError) -> Reason:
    """What is wrong with this device's disk."""
    return _DISK.get(error.errno or 0, Reason.DISK_FAULT)


def reason_of(failure: RepositoryFailure) -> Reason:
    """What reports say of a failure."""
    cause = failure.__cause__
    if isinstance(failure, DeviceFailure) and isinstance(cause, OSError):
        return disk_reason(cause)
    return failure.reason
