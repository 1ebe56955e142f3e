"""What a cause amounts to. This table is the policy: the rest of the core asks it.

- TRANSPORT: the way to the store. Tried again, never counts.
- DEVICE: this device, now. It is blocked and tries again; inconclusive for the release.
- UNFIT: the release. Final for this release on this device; what counts against it.
"""

from enum import Enum
from typing import Final

from isthmus_agent.formats.report import Reason


class Failure(Enum):
    """The class of a failure."""

    TRANSPORT = "transport"
    DEVICE = "device"
    UNFIT = "unfit"


FAILURES: Final[dict[Reason, Failure]] = {
    Reason.UNREACHABLE: Failure.TRANSPORT,
    Reason.REFUSED_BY_STORE: Failure.TRANSPORT,  # 401, 403, 5xx; also a PUT that is refused
    Reason.NOT_THE_STORE: Failure.TRANSPORT,  # a captive portal's page with status 200
    Reason.TOO_SLOW: Failure.TRANSPORT,
    Reason.WRONG_BYTES: Failure.TRANSPORT,  # not what was signed: flipped on the way
    Reason.WRONG_RANGE: Failure.TRANSPORT,  # an ignored or misread Range
    Reason.ODD_ANSWER: Failure.TRANSPORT,  # headers missing, doubled, or nonsense
    Reason.MISSING_OBJECT: Failure.TRANSPORT,
    Reason.UNTRUSTED_METADATA: Failure.TRANSPORT,
    Reason.REPLAYED: Failure.TRANSPORT,
    Reason.CONFLICTING_ASSIGNMENT: Failure.TRANSPORT,
    Reason.DISK_FULL: Failure.DEVICE,
    Reason.DISK_READ_ONLY: Failure.DEVICE,
    Reason.DISK_FAULT: Failure.DEVICE,
    Reason.CLOCK: Failure.DEVICE,
    Reason.OUT_OF_MEMORY: Failure.DEVICE,
    Reason.NO_VARIANT: Failure.DEVICE,
    Reason.DAMAGED_SLOT: Failure.DEVICE,  # it was whole once
    Reason.DELTA_UNUSABLE: Failure.DEVICE,  # the whole bundle is fetched instead
    Reason.NO_INTERPRETER: Failure.DEVICE,
    Reason.HELD_BY_OPERATOR: Failure.DEVICE,
    Reason.STATE_LOST: Failure.DEVICE,
    Reason.SERVER_FAULT: Failure.DEVICE,  # the server did not start for a reason that is not the model's
    Reason.CONTENT_KEY: Failure.DEVICE,  # the content is sealed with a key that this device was not given
    Reason.BUNDLE_INVALID: Failure.UNFIT,  # exactly what was signed, and yet no bundle
    Reason.SELF_TEST_FAILED: Failure.UNFIT,
    Reason.SELF_TEST_CRASHED: Failure.UNFIT,
    Reason.SELF_TEST_HUNG: Failure.UNFIT,
    Reason.CRASHED: Failure.UNFIT,
    Reason.HUNG: Failure.UNFIT,
    Reason.TOO_SLOW_IN_SERVICE: Failure.UNFIT,
    Reason.TOO_MUCH_MEMORY: Failure.UNFIT,
    Reason.PREDICTIONS_MOVED: Failure.UNFIT,
    Reason.GOLDEN_PROBE_FAILED: Failure.UNFIT,
    Reason.RESTARTED_TOO_OFTEN: Failure.UNFIT,
}


TOLD: Final = frozenset({Reason.REPLAYED, Reason.CONFLICTING_ASSIGNMENT})
"""Of a look that failed: somebody plays back, or makes up, what the operator has to know of."""


def failure_of(reason: Reason) -> Failure:
    """The class of a reason. One without a place in the table says nothing against the release."""
    return FAILURES.get(reason, Failure.DEVICE)
