"""Where things lie in a store. Apart from what stores them, which takes a while to import."""

from isthmus.digest import Digest


def release_folder(prefix: str, digest: str) -> str:
    """Where a release lies in a store. prefix: of all keys; empty, or ends with `/`. Raises ValueError for what is no digest."""
    return f"{prefix}releases/{Digest(digest).hex}/"
