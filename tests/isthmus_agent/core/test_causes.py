"""What each cause amounts to: the cases that ended updates for good before, and whose fault they are."""

import pytest

from isthmus_agent.core.causes import FAILURES, Failure, failure_of
from isthmus_agent.formats.report import Reason


@pytest.mark.parametrize(
    ("cause", "reason", "failure"),
    [
        ("a captive portal's page with status 200", Reason.NOT_THE_STORE, Failure.TRANSPORT),
        ("bits flipped on the way", Reason.WRONG_BYTES, Failure.TRANSPORT),
        ("an ignored Range", Reason.WRONG_RANGE, Failure.TRANSPORT),
        ("503, or a PUT that is refused", Reason.REFUSED_BY_STORE, Failure.TRANSPORT),
        ("headers doubled, odd or missing", Reason.ODD_ANSWER, Failure.TRANSPORT),
        ("8 KiB/s", Reason.TOO_SLOW, Failure.TRANSPORT),
        ("metadata that nobody trusted signed", Reason.UNTRUSTED_METADATA, Failure.TRANSPORT),
        ("an old assignment that is played back", Reason.REPLAYED, Failure.TRANSPORT),
        ("a full disk", Reason.DISK_FULL, Failure.DEVICE),
        ("a disk that is only read", Reason.DISK_READ_ONLY, Failure.DEVICE),
        ("no time of day", Reason.CLOCK, Failure.DEVICE),
        ("no memory for a second server", Reason.OUT_OF_MEMORY, Failure.DEVICE),
        ("a slot that rotted", Reason.DAMAGED_SLOT, Failure.DEVICE),
        ("somebody at the device wants the old model", Reason.HELD_BY_OPERATOR, Failure.DEVICE),
        ("what was signed is no bundle", Reason.BUNDLE_INVALID, Failure.UNFIT),
        ("golden vectors missed", Reason.SELF_TEST_FAILED, Failure.UNFIT),
        ("a crash on the golden vectors", Reason.SELF_TEST_CRASHED, Failure.UNFIT),
        ("a WHILE without end", Reason.HUNG, Failure.UNFIT),
        ("a limit of the probation broken", Reason.TOO_SLOW_IN_SERVICE, Failure.UNFIT),
    ],
)
def test_a_cause_is_of_the_class_of_whoever_can_mend_it(cause, reason, failure):
    assert failure_of(reason) is failure, cause


def test_every_reason_has_a_class():
    assert FAILURES.keys() == set(Reason) - {Reason.NONE}


def test_only_what_a_release_did_is_against_it():
    """The codes of the three classes lie apart, so that a new one that is misplaced is seen."""
    for reason, failure in FAILURES.items():
        assert failure is (Failure.TRANSPORT if reason < 20 else Failure.DEVICE if reason < 40 else Failure.UNFIT)
