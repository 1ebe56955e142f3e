"""What may go wrong between a device and its repository, by what has to change for the next try to go well.

None of these is final for a release and none counts against one: all are tried again.
"""


class RepositoryFailure(Exception):  # noqa: N818 - a failure's class is what the core calls it
    """The root of them. failure: the class of failure, as the core and reports call it."""

    failure = "transport"


class TransportFailure(RepositoryFailure):
    """The network or something on the way: no answer, a portal's page, a flipped bit, a trickle."""


class SlowFailure(TransportFailure):
    """Bytes come too slowly, or the deadline is over."""


class UntrustedFailure(RepositoryFailure):
    """What was answered is well-formed, and not what this device trusts: a wrong signature, an older version, another fleet's."""


class ReplayFailure(UntrustedFailure):
    """It is older than what this device has accepted before."""


class ExpiredFailure(UntrustedFailure):
    """It was not signed anew in time: somebody holds newer metadata back, the publisher sleeps, or the time is wrong."""


class DeviceFailure(RepositoryFailure):
    """This device itself: disk full, read-only, damaged."""

    failure = "device"
