"""What devices of this machine were given when they were enrolled. Previews read it, so nothing of the repository is imported."""

import hashlib
from pathlib import Path

from isthmus.errors import PlatformError
from isthmus_agent.formats.enrolment import Enrolment
from isthmus_agent.formats.sealed_contents import content_key
from isthmus_agent.manager.enrolment import FILE, enrolled


def enrolment_in(folder: Path) -> Enrolment:
    """What a device was given. Raises PlatformError where it was given nothing."""
    found = enrolled(folder)
    if found is None:
        raise PlatformError(f"the device in {folder} is not enrolled any more. Fix: `pulumi up` again")
    return found


def mark_of(folder: Path) -> str:
    """Another text whenever a device was enrolled anew; empty where it is not, or was before devices were given a content key."""
    # The file, since what a device is given may be the same again; which token gave it never is.
    found = enrolled(folder)
    return "" if found is None or found.content_key is None else hashlib.sha256((folder / FILE).read_bytes()).hexdigest()[:16]


def is_of_another_secret(folder: Path, secret: bytes, fleet: str) -> bool:
    """Whether what a device was given does not follow from the fleet's secret. Not, where it was given nothing."""
    found = enrolled(folder)
    return found is not None and found.content_key != content_key(secret, fleet)
