"""What may go wrong between a device and its group's broker, by what has to change for the next try to go well.

As between a device and its repository (`manager.failures`): none is final, all are tried again, and each is said once.
"""

import ssl
from typing import Final

_CREDENTIALS: Final = frozenset({"Bad user name or password", "Not authorized", "Client identifier not valid", "Banned"})
_VERSION: Final = "Unsupported protocol version"
_CLOCK_CODES: Final = frozenset({9, 10})
"""OpenSSL's, of a certificate that does not hold yet, or no more: by this device's clock."""


class BusFailure(Exception):  # noqa: N818 - a failure's class is what reports call it
    """The root of them. failure: the class of failure, as the core and reports call it. is_patient: nothing changes by trying at once."""

    failure = "transport"
    is_patient = False


class UnreachableFailure(BusFailure):
    """The broker is away, or something on the way to it."""


class RefusedFailure(BusFailure):
    """The broker does not take this device's name and password, or not both together."""

    is_patient = True


class UntrustedFailure(BusFailure):
    """Who answers has no certificate that this device trusts, or none for that name."""

    is_patient = True


class OldFailure(BusFailure):
    """The broker does not speak this version of MQTT: the next try is with the other one."""


class DeviceFailure(BusFailure):
    """This device itself: no `paho-mqtt`, no readable certificate."""

    failure = "device"
    is_patient = True


def refused(name: str) -> BusFailure:
    """By a reason code's name, as both versions of MQTT have them in paho-mqtt."""
    if name == _VERSION:
        return OldFailure(f"the broker answers: {name}")
    if name in _CREDENTIALS:
        return RefusedFailure(f"the broker answers: {name}. Fix: look at this device's line in the broker's password and ACL files")
    return UnreachableFailure(f"the broker answers: {name}")


def unreachable(error: OSError) -> BusFailure:
    """Where no connection comes about."""
    if isinstance(error, ssl.SSLCertVerificationError):
        fix = "name the authority that signed the broker's certificate (ca_file), or the broker as its certificate does"
        if error.verify_code in _CLOCK_CODES:
            fix = "set this device's clock, or renew the broker's certificate"
        return UntrustedFailure(f"the broker's certificate is not trusted: {error.verify_message}. Fix: {fix}")
    return UnreachableFailure(f"no connection to the broker: {error.strerror or error}")
