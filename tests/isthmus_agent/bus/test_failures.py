"""What may go wrong between a device and its group's broker, as a person is told of it."""

import ssl

import pytest

from isthmus_agent.bus.failures import UnreachableFailure, UntrustedFailure, unreachable


@pytest.mark.parametrize(
    ("code", "fix"),
    [(9, "set this device's clock"), (10, "set this device's clock"), (18, "name the authority"), (62, "name the authority")],
)
def test_a_certificate_that_does_not_hold_now_may_be_a_matter_of_the_clock(code, fix):
    error = ssl.SSLCertVerificationError(1, "certificate verify failed")
    error.verify_code, error.verify_message = code, "it does not hold"
    found = unreachable(error)
    assert isinstance(found, UntrustedFailure)
    assert "it does not hold. Fix: " in str(found)
    assert fix in str(found)


def test_what_is_no_matter_of_certificates_is_a_broker_away():
    assert isinstance(unreachable(ConnectionRefusedError(111, "Connection refused")), UnreachableFailure)
