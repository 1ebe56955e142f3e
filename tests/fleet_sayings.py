"""What tests tell fleets: small assignments, and changes for `publish`."""

import hashlib
from dataclasses import replace

from isthmus.repository.publish import Change
from isthmus_agent.formats.assignment import WHOLE_SHARE, Assignment, Before, Wave
from isthmus_agent.formats.contents import Variant

FLEET = "cameras"
OPENED_SECONDS = 1_800_000_000
ONE, TWO, THREE = b"the first bundle", b"the second bundle", b"the third bundle"


def path_of(content: bytes) -> str:
    """The target path of a bundle."""
    return f"{FLEET}/{hashlib.sha256(content).hexdigest()[:12]}.bundle"


def telling(content: bytes) -> Change:
    """A release for everybody, in two waves of which the first is open."""

    def change(told: Assignment | None, number: int) -> Assignment:
        variant = Variant("*", f"sha256:{hashlib.sha256(content).hexdigest()}", path_of(content), len(content))
        before = Before(told.number, told.variants) if told else None
        waves = (Wave("canary", WHOLE_SHARE // 4), Wave("rest", WHOLE_SHARE))
        return Assignment(FLEET, number, "00" * 8, (variant,), waves, 1, before=before, opened_seconds=(OPENED_SECONDS,))

    return change


def overstated(number: int) -> Change:
    """What is told already, under a number of the caller's."""

    def change(told: Assignment | None, _: int) -> Assignment:
        assert told is not None
        return replace(told, number=number)

    return change
