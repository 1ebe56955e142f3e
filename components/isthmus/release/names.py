"""What things of a fleet may be called, and where things lie in a store. Apart from what signs and stores, which takes a while to
import."""

import re

from isthmus.digest import Digest

DEVICE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


def release_folder(prefix: str, digest: str) -> str:
    """Where a release lies in a store. prefix: of all keys; empty, or ends with `/`. Raises ValueError for what is no digest."""
    return f"{prefix}releases/{Digest(digest).hex}/"


def bundle_folder(prefix: str, digest: str) -> str:
    """Where a release's signed bundle lies in a store. As `release_folder`."""
    return f"{prefix}bundles/{Digest(digest).hex}/"
