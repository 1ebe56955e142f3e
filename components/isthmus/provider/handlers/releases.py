"""Releases of this machine's cache, for the handlers that publish them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from isthmus.digest import is_digest
from isthmus.errors import InputError, Problem
from isthmus.plugin.values import UNKNOWN
from isthmus.provider.handlers.stores import access_problems, address_problems, prefix_problems
from isthmus_agent.formats.digests import EXPECTED

if TYPE_CHECKING:
    from isthmus.release.manifest import Release


def digest_problems(inputs: Mapping[str, Any], where: str = "digest") -> Sequence[Problem]:
    """What is wrong with `digest` as it is written. where: its path."""
    digest = inputs["digest"]
    if digest is UNKNOWN or is_digest(digest):
        return ()
    return [Problem(where, f"is {digest!r}", EXPECTED)]


def publishing_problems(inputs: Mapping[str, Any]) -> Sequence[Problem]:
    """What is wrong with the inputs of a resource that brings a release to a store; with `check_at_preview` the store is asked, too."""
    found = [*address_problems(inputs), *prefix_problems(inputs), *digest_problems(inputs)]
    if not found and inputs["check_at_preview"] is True:
        found += access_problems(inputs)
    return found


def find_release(inputs: Mapping[str, Any]) -> "Release":
    """The release that `digest` names in `cache_directory`. Raises InputError where it is not there, or damaged."""
    from isthmus.release.cache import ReleaseCache

    release = ReleaseCache(Path(inputs["cache_directory"])).find(inputs["digest"])
    if release is None:
        what = f"release {inputs['digest']} is not in {inputs['cache_directory']}, or is damaged there"
        raise InputError([Problem("digest", what, "a release of this machine", "preview again: that compiles it anew")])
    return release
